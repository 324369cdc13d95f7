//! A future that is polled after it has completed panics, and says what it is. It neither hangs nor answers twice.

use crate::executor::Executor;
use failfast::{Context, Group};
use std::convert::Infallible;
use std::future::{Future, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task;

/// What the second poll of a future says that is ready at the first.
fn second_poll(future: impl Future) -> String {
    let mut future = Box::pin(future);
    let mut cx = task::Context::from_waker(task::Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_ready());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        future.as_mut().poll(&mut cx).is_ready()
    }));
    let payload = panicked.expect_err("it panics");
    match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => *payload.downcast::<String>().expect("a text"),
    }
}

#[test]
fn run() {
    let ctx = Context::background();
    assert!(second_poll(ctx.run(ready(()))).contains("`run` was polled after it had completed"));
}

#[test]
fn shield() {
    let ctx = Context::background();
    assert!(second_poll(ctx.shield(ready(()))).contains("polled after it had completed"));
}

#[test]
fn fork() {
    let executor = Executor::new();
    let group = Group::<()>::new(executor.spawner());
    let fork = group.fork("profile", ready(Ok::<_, Infallible>(1)));
    executor.run();
    assert_eq!(
        second_poll(fork),
        "a fork was polled after it had given its answer"
    );
}
