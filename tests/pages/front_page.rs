//! The front page is short, and its picture is what the library draws.

use crate::sources::{read, root};
use failfast::clock::ManualClock;
use failfast::observe::Recorder;
use failfast::{BoxError, Context, InPlaceGroup};
use futures::FutureExt as _;
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
async fn service(ctx: Context, millis: u64, error: Option<&str>) -> Result<(), BoxError> {
    for _ in 0..3 {
        ctx.sleep(Duration::from_micros(millis * 1_000 / 3)).await?;
    }
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// One service falls, and two others with it; in virtual time, so that it is the same picture each time.
fn domino() -> String {
    let (clock, recorder) = (ManualClock::new(), Recorder::new());
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_observer(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx.with_timeout(Duration::from_millis(90)));
    for (name, millis, error) in [
        ("profile", 50, Some("HTTP 500")),
        ("orders", 400, None),
        ("recommendations", 20, None),
        ("ads", 200, None),
    ] {
        group.spawn_named(name, service(group.context().clone(), millis, error));
    }
    let mut wait = pin!(group.wait());
    while wait.as_mut().now_or_never().is_none() {
        clock.advance_to_next();
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
