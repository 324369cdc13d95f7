//! The faults of the first engine, each with the tests that it would fail, and their whole kinds.
//!
//! Each test names its fault by the number that the list of the rebuilt engine's faults gives it. Tests that
//! can abort the process (two panics at once, an overflow of the stack) run in a process of their own.

pub(crate) mod tools;

mod clocks;
mod contexts;
mod drops;
mod endings;
mod fair;
mod foreign;
mod growth;
mod late;
mod memory;
mod records;
mod shutdown;
mod sources;
