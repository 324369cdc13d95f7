//! Fail-fast fan-out for any async runtime.
#![forbid(unsafe_code)]

mod clock;
mod sync;

pub use clock::{Clock, ManualClock, Sleep, SystemClock, TimerError};
