//! What a fault shows, and what can be taken out of it.

use crate::support::{Act, Failure, Hand, Script, manual, ms};
use failfast::policy::{Backoff, Fault, FaultKind, Retry};
use failfast::{BoxError, Context, ContextError, Error, InPlaceGroup, Source, SourceExt};
use std::error::Error as StdError;
use std::future::ready;

fn twice() -> Retry {
    Retry::times(1).with_backoff(Backoff::constant(ms(5)))
}

/// The fault of a source that fails twice.
fn failed_twice(error: impl Fn() -> BoxError + Send + Sync + Clone + 'static) -> Fault {
    let (clock, ctx) = manual();
    let source = move |_: Context, (): ()| ready(Err::<u32, _>(error()));
    let mut call = Hand::new(source.retry(twice()).fetch(ctx, ()));
    call.finish(&clock).unwrap_err()
}

/// The error of a group whose task failed with a fault.
fn of_a_group(fault: Fault) -> Error {
    let group = InPlaceGroup::<()>::new(&Context::background());
    group.spawn(ready(Err(fault)));
    futures::executor::block_on(group.wait()).unwrap_err()
}

#[test]
fn debug_shows_its_kind_its_error_and_its_attempts() {
    let fault = failed_twice(|| Failure(7).into());
    assert_eq!(
        format!("{fault:?}"),
        "Fault { kind: Failed, error: Failure(7), attempts: 2, stopped: Exhausted, .. }"
    );
    let tried = format!("{:?}", fault.history()[1]);
    assert_eq!(
        tried,
        "Tried { attempt: Attempt { number: 2, hedge: false }, after: 5ms, took: 0ns, \
         error: Some(Fault { kind: Failed, error: Failure(7), attempts: 1, .. }) }"
    );
    let (clock, ctx) = manual();
    let [first, second] = [1, 2].map(|number| Script::new(&clock, [Act::Fail(number, ms(0))]));
    let source = first.source().fallback(second.source());
    let fault = Hand::new(source.fetch(ctx, ())).finish(&clock).unwrap_err();
    assert_eq!(fault.others().len(), 1);
    assert!(
        format!("{fault:?}").contains("others: [Fault {"),
        "{fault:?}"
    );
}

#[test]
fn source_is_what_is_behind_the_error_that_it_displays() {
    let fault = failed_twice(|| std::io::Error::other(Failure(7)).into());
    assert_eq!(fault.to_string(), "failure 7 (2 attempts)");
    assert!(fault.source().is_none(), "all is displayed");
    #[derive(Clone, Debug, thiserror::Error)]
    #[error("refused")]
    struct Refused(#[source] Failure);
    let fault = failed_twice(|| Refused(Failure(7)).into());
    let source = fault.source().and_then(|source| source.downcast_ref());
    assert_eq!(source, Some(&Failure(7)));
}

#[test]
fn the_error_of_the_only_reference_is_moved_out_and_else_it_stays() {
    let fault = failed_twice(|| Failure(7).into());
    let kept = fault.clone();
    let error = of_a_group(fault).downcast::<Failure>().unwrap_err();
    drop(kept);
    assert_eq!(error.downcast::<Failure>().unwrap(), Failure(7));
}

#[test]
fn the_end_of_its_context_is_moved_out() {
    let (ctx, canceller) = Context::background().with_cancel();
    canceller.cancel_with("client went away");
    let source = |_: Context, (): ()| ready(Ok::<u32, BoxError>(5));
    let call = source.timeout(ms(9)).fetch(ctx, ());
    let fault = futures::executor::block_on(call).unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Ended(_)));
    drop(canceller);
    let ended = of_a_group(fault).downcast::<ContextError>().unwrap();
    assert_eq!(ended.to_string(), "context canceled: client went away");
}
