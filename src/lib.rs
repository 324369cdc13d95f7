//! Fail-fast fan-out for any async runtime.
#![forbid(unsafe_code)]
