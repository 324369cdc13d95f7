//! Nothing: the package is its test, `tests/runtimes/main.rs`.
