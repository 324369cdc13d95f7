//! Faults that the library once had, by subject: each test would fail, hang or abort if its fault came back.

mod aggregator;
mod clocks;
mod contexts;
mod endings;
mod forks;
mod groups;
mod in_place;
mod late;
mod memory;
mod ordered;
mod shutdown;
mod simulated;
mod spawn;
mod stop;
mod wakers;

use crate::executor::Polled;
use std::task::Poll;

/// Polls until it is ready; fails at once where it has not been woken.
fn finish<O>(polled: &mut Polled<'_, O>) -> O {
    loop {
        match polled.poll() {
            Poll::Ready(output) => return output,
            Poll::Pending => assert!(polled.is_woken(), "hangs: nothing is awake"),
        }
    }
}
