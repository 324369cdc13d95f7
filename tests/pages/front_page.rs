//! The front page is short, and its picture is what the library draws.

use crate::sources::{read, root};
use failfast::clock::ManualClock;
use failfast::observe::Recorder;
use failfast::{Aggregator, BoxError, Context};
use futures::future::{BoxFuture, FutureExt as _};
use std::fs;
use std::pin::pin;
use std::time::Duration;

const MOST_BYTES: usize = 8_192;

#[test]
fn front_page_is_short() {
    for page in ["README.md", "TESTING.md"] {
        let bytes = read(page).len();
        assert!(bytes <= MOST_BYTES, "{page} has {bytes} bytes");
    }
}

/// A service that takes so long, in three steps, and then may fail.
fn service(
    millis: u64,
    error: Option<&'static str>,
) -> impl Fn(Context, ()) -> BoxFuture<'static, Result<(), BoxError>> {
    let step = Duration::from_micros(millis * 1_000 / 3);
    move |ctx, ()| {
        let steps = async move {
            for _ in 0..3 {
                ctx.sleep(step).await?;
            }
            error.map_or(Ok(()), |error| Err(error.into()))
        };
        steps.boxed()
    }
}

/// One service falls, and two others with it; in virtual time, so that it is the same picture each time.
fn domino() -> String {
    let (clock, recorder) = (ManualClock::new(), Recorder::new());
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_observer(recorder.clone());
    let dashboard = Aggregator::in_place()
        .with_name("dashboard")
        .with_timeout(Duration::from_millis(90))
        .source("profile", service(48, Some("HTTP 500")))
        .source("orders", service(400, None))
        .source("recommendations", service(21, None))
        .source("ads", service(200, None));
    let mut answer = pin!(dashboard.aggregate(&ctx, ()));
    while answer.as_mut().now_or_never().is_none() {
        assert!(
            clock.advance_to_next(),
            "it waits for something else than time"
        );
    }
    recorder.to_svg()
}

/// To draw it anew: `FAILFAST_DRAW=1 cargo test --test pages picture`.
#[test]
fn picture_is_what_the_library_draws() {
    let drawn = domino();
    if std::env::var_os("FAILFAST_DRAW").is_some() {
        fs::write(root().join("docs/domino.svg"), &drawn).expect("it can be written");
    }
    assert_eq!(
        read("docs/domino.svg"),
        drawn,
        "docs/domino.svg is not current"
    );
}
