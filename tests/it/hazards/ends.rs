//! Ends that come at once, or one after the other.

use super::*;

/// Hazard 17.
#[test]
fn own_timeout_and_callers_end_are_distinguished() {
    watched(|| {
        let stuck = |_: Context, (): ()| pending::<Result<(), Infallible>>();
        let all = Aggregator::in_place()
            .with_name("dashboard")
            .with_timeout(2 * SECOND)
            .source("one", stuck);
        let (clock, ctx) = manual();
        for (callers, own) in [(None, true), (Some(SECOND), false), (Some(HOUR), true)] {
            let caller = callers.map_or(ctx.clone(), |timeout| ctx.with_timeout(timeout));
            let mut waiting = Box::pin(all.aggregate(&caller, ()));
            assert!(poll_once(waiting.as_mut()).is_pending());
            clock.advance(2 * SECOND);
            let error = block_on(waiting).unwrap_err();
            assert!(error.is_deadline_exceeded() && error.is_timeout());
            assert_eq!(
                error.to_string().contains("dashboard's timeout of 2s"),
                own,
                "{error}"
            );
        }
        let (caller, canceller) = ctx.with_cancel();
        let mut waiting = Box::pin(all.aggregate(&caller, ()));
        assert!(poll_once(waiting.as_mut()).is_pending());
        canceller.cancel();
        let error = block_on(waiting).unwrap_err();
        assert!(error.is_canceled() && !error.is_timeout(), "{error}");
    });
}

/// Hazard 30: the group is cancelled by its owner; during the grace, the caller's deadline passes.
#[test]
fn outer_deadline_during_the_grace_of_an_own_cancel() {
    watched(|| {
        let (clock, ctx) = manual();
        let outer = ctx.with_timeout(SECOND);
        let executor = Executor::new();
        let (group, _) = Group::<()>::with_context(&outer, executor.spawner());
        let group = group.with_grace(10 * SECOND);
        group.spawn(pending::<Result<_, Infallible>>());
        executor.run();
        group.cancel_with("own");
        let mut run = Polled::new(outer.run(group.wait()));
        assert!(run.is_pending());
        clock.advance(SECOND);
        assert!(run.is_woken(), "the outer deadline is lost");
        assert!(run.ready().unwrap_err().is_deadline_exceeded());
        assert!(outer.err().unwrap().is_deadline_exceeded());
    });
}

/// Hazard 30: an inner group that fails and is caught does not swallow the outer end.
#[test]
fn outer_deadline_and_own_failure_in_one_moment() {
    watched(|| {
        for failure_first in [false, true] {
            let (clock, ctx) = manual();
            let outer = ctx.with_timeout(SECOND);
            let group = InPlaceGroup::<()>::new(&outer);
            let time = clock.clone();
            group.spawn(async move {
                yields(1).await;
                if failure_first {
                    return Err("own");
                }
                time.advance(SECOND);
                Err("own")
            });
            let told = block_on(group.wait()).unwrap_err();
            if failure_first {
                assert_eq!(told.to_string(), "task 0: own");
                assert!(!outer.is_done());
                clock.advance(SECOND);
            } else {
                // The deadline was first: it is the error, and the failure is among its others.
                assert_eq!(told.kind(), ErrorKind::DeadlineExceeded);
                assert_eq!(told.others().len(), 1);
            }
            assert!(outer.err().unwrap().is_deadline_exceeded());
        }
    });
}

/// Hazard 30: a task that makes inner groups in a loop, each of which fails, still ends with the outer one.
#[test]
fn loop_of_failing_inner_groups_ends_with_the_outer_one() {
    watched(|| {
        let (outer, ctx) = Group::<()>::with_context(&Context::background(), smol::spawn);
        let rounds = Count::default();
        let count = rounds.clone();
        outer.spawn_named("looper", async move {
            loop {
                count.add();
                let inner = InPlaceGroup::<()>::new(&ctx);
                inner.spawn(async { Err("inner") });
                drop(inner.wait().await);
                yields(1).await;
            }
            #[allow(unreachable_code)]
            Ok::<_, Infallible>(())
        });
        let seen = rounds.clone();
        outer.spawn_named("outer", async move {
            while seen.get() < 3 {
                yields(1).await;
            }
            Err("outer down")
        });
        assert_eq!(
            block_on(outer.wait()).unwrap_err().to_string(),
            "outer: outer down"
        );
    });
}

/// Hazard 31: races and links over one signal that lives long.
#[test]
fn a_hundred_thousand_composites_leave_nothing() {
    apart(|| {
        let (server, _canceller) = Context::background().with_cancel();
        let mut odd = false;
        let mut round = |_: usize| {
            odd = !odd;
            let (request, canceller) = Context::background().with_cancel();
            let linked = Context::linked([server.clone(), request]);
            let callback = linked.on_done(|| {});
            let race = futures::future::select(linked.done(), server.done());
            assert!(poll_once(Box::pin(race).as_mut()).is_pending());
            if odd {
                canceller.cancel();
            }
            drop(callback);
        };
        (0..1_000).for_each(&mut round);
        let before = held();
        (0..100_000).for_each(&mut round);
        let left = held() - before;
        assert!(left <= 4_096, "{left} bytes");
    });
}
