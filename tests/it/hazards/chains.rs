//! Hazard 34: `Display` with the source's text *and* `source()`.

use super::*;

/// The texts of an error and of its sources.
fn texts(error: &(dyn StdError + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| (*error).source())
        .map(ToString::to_string)
        .collect()
}

#[derive(Debug, thiserror::Error)]
#[error("loading the profile")]
struct Loading(#[source] std::io::Error);

/// Whether no text repeats the end of the one before it.
fn says_nothing_twice(error: &(dyn StdError + 'static)) {
    let texts = texts(error);
    for (n, text) in texts.iter().enumerate() {
        let said = texts[..n]
            .iter()
            .any(|before| before.contains(text.as_str()));
        assert!(!said, "{text:?} is said twice: {texts:?}");
    }
}

fn failed() -> Error {
    let group = InPlaceGroup::<()>::new(&Context::background());
    group.spawn_named("profile", async {
        Err(Loading(std::io::Error::other("connection refused")))
    });
    block_on(group.wait()).unwrap_err()
}

/// Hazard 34: of a failure, its cause, an echo, and each of them nested in a task of another group.
#[test]
fn each_text_stands_once_in_a_chain() {
    watched(|| {
        let error = failed();
        assert_eq!(
            texts(&error),
            ["profile: loading the profile", "connection refused"]
        );
        let outer = InPlaceGroup::<()>::new(&Context::background());
        let inner = failed();
        outer.spawn_named("page", async { Err(inner) });
        let nested = block_on(outer.wait()).unwrap_err();
        assert!(
            nested.downcast_ref::<Loading>().is_some()
                && nested.downcast_ref::<std::io::Error>().is_some()
        );
        let group = InPlaceGroup::<()>::new(&Context::background());
        let ctx = group.context().clone();
        group.spawn_named("profile", async {
            Err(Loading(std::io::Error::other("connection refused")))
        });
        assert!(block_on(group.wait()).is_err());
        let ended = ctx.check().unwrap_err();
        for error in [
            &error as &(dyn StdError + 'static),
            &nested,
            &ended,
            &ctx.cause().unwrap(),
        ] {
            says_nothing_twice(error);
        }
    });
}

/// Hazard 34: wrapped by errors that quote, and by errors that are transparent.
#[test]
fn wrapped_by_thiserror_no_text_is_there_twice() {
    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("page")]
        Page(#[from] Error),
        #[error(transparent)]
        Bare(ContextError),
    }
    watched(|| {
        says_nothing_twice(&Outer::from(failed()));
        let (ctx, canceller) = Context::background().with_cancel();
        canceller.cancel_with("shutting down");
        says_nothing_twice(&Outer::Bare(ctx.check().unwrap_err()));
    });
}
