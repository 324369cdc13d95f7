//! The least that can run a future: a loop that parks its thread.

use conformance::{Nowhere, Runtime};
use failfast::clock::Clock;
use failfast::{Context, InPlaceGroup};
use futures_timer::Delay;
use std::pin::pin;
use std::sync::Arc;
use std::task::{self, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

pub(crate) struct BlockOn;

impl Runtime for BlockOn {
    const NAME: &'static str = "a bare block_on, in place";

    type Place = Nowhere;
    type Sleep = Delay;

    fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
    where
        S: Future<Output = ()> + 'static,
    {
        block_on(scenario(Nowhere))
    }

    fn documented_group(ctx: Context) -> InPlaceGroup<'static, ()> {
        InPlaceGroup::new(&ctx)
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Delay::new(time)
    }

    fn clock() -> impl Clock {
        Delay::new
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut task::Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
