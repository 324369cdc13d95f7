//! What of forks and of the bodies of `run` a runtime could spoil.

use super::tools::{Census, Gate, at_most, why};
use super::{Place, Runtime};
use failfast::{BoxError, ErrorKind};
use futures::future::join;
use futures_lite::future::yield_now;
use std::convert::Infallible;
use std::future::pending;

/// §4: forks of two types, and a body that takes part.
pub async fn fork_and_run<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let profile = group.fork("profile", async {
        yield_now().await;
        Ok::<_, Infallible>("Name: Alice")
    });
    let orders = group.fork("orders", async { Ok::<_, Infallible>(5_u32) });
    let page = group.run(async { Ok(format!("{} | Order: {}", profile.await?, orders.await?)) });
    assert_eq!(page.await.unwrap(), "Name: Alice | Order: 5");
}

/// §4: `run` returns when every task is gone, after an early `Ok` too, and has polled them to their end.
pub async fn run_waits_for_the_tasks<R: Runtime>(place: R::Place) {
    let (group, census) = (place.group::<()>(&R::background()), Census::default());
    let ended = Gate::default();
    for _ in 0..10 {
        let (citizen, ended) = (census.citizen(), ended.clone());
        group.spawn(async move {
            let _citizen = citizen;
            yield_now().await;
            ended.open();
            Ok::<_, Infallible>(())
        });
    }
    assert_eq!(group.run(async { Ok(5) }).await.unwrap(), 5);
    assert_eq!((census.born(), census.live()), (10, 0));
    assert!(ended.is_open());
}

/// §4: a fork's failure is the group's, with its name, though the body returns an echo of it.
pub async fn fork_fails_and_the_body_echoes<R: Runtime>(place: R::Place) {
    let (group, census) = (place.group::<()>(&R::background()), Census::default());
    let ctx = group.context().clone();
    let citizen = census.citizen();
    let profile = group.fork("profile", async {
        yield_now().await;
        Err::<&str, _>(std::io::Error::other("down"))
    });
    let orders = group.fork("orders", async move {
        let _citizen = citizen;
        pending::<Result<u32, Infallible>>().await
    });
    let body = async {
        ctx.done().await;
        ctx.check()?; // the echo
        Ok((profile.await?, orders.await?))
    };
    let error = group.run(body).await.unwrap_err();
    assert_eq!(error.to_string(), "profile: down");
    assert_eq!(error.kind(), ErrorKind::Task);
    assert!(error.downcast_ref::<std::io::Error>().is_some());
    assert!(error.others().is_empty(), "{:?}", error.others());
    assert_eq!(census.live(), 0);
}

/// §4: a fork that failed returns its failure, and one that was ended by it returns that end.
pub async fn forks_return_how_they_ended<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let profile = group.fork("profile", async { Err::<u32, _>("down") });
    let orders = group.fork("orders", pending::<Result<u32, Infallible>>());
    let ready = group.fork("ready", async { Ok::<_, Infallible>(5) });
    group.wait().await.unwrap_err();
    assert_eq!(profile.await.unwrap_err().to_string(), "profile: down");
    let error = orders.await.unwrap_err();
    assert!(error.is_canceled(), "{error}");
    assert!(error.to_string().contains("profile: down"), "{error}");
    // It may have been skipped or have finished: never anything else.
    assert!(
        ready
            .await
            .map_or_else(|error| error.is_canceled(), |five| five == 5)
    );
}

/// §4: `Fork::cancel`: that one alone, and the group goes on; a finished one keeps its answer.
pub async fn fork_is_canceled_alone<R: Runtime>(place: R::Place) {
    let (group, census) = (place.group(&R::background()), Census::default());
    let (ctx, citizen) = (group.context().clone(), census.citizen());
    let slow = group.fork("slow", async move {
        let _citizen = citizen;
        pending::<Result<u32, Infallible>>().await
    });
    let quick = group.fork("quick", async { Ok::<_, Infallible>("kept") });
    let canceled = Gate::default();
    let waiting = canceled.wait();
    group.spawn(async move {
        waiting.await;
        Ok::<_, Infallible>(5)
    });
    let cancel = async {
        slow.cancel();
        let error = slow.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        assert!(!ctx.is_done());
        canceled.open();
    };
    let (outcome, ()) = join(group.wait(), cancel).await;
    assert_eq!(outcome.unwrap(), [5]);
    assert_eq!(census.live(), 0);
    assert_eq!(quick.await.unwrap(), "kept");
}

/// §4: a dropped fork goes on.
pub async fn dropped_fork_goes_on<R: Runtime>(place: R::Place) {
    let group = place.group::<()>(&R::background());
    let ended = Gate::default();
    let ending = ended.clone();
    drop(group.fork("orders", async move {
        yield_now().await;
        ending.open();
        Ok::<_, Infallible>(5)
    }));
    group.wait().await.unwrap();
    assert!(ended.is_open());
}

/// §4: at the limit, a task that awaits a fork of its own group gives up its place, as deep as it goes.
pub async fn fork_awaited_at_the_limit<R: Runtime>(place: R::Place) {
    let group = place.group(&R::background()).with_limit(at_most(1));
    let (outer, inner) = (group.handle(), group.handle());
    group.spawn(async move {
        let child = outer.fork("child", async move {
            let grandchild = inner.fork("grandchild", async {
                yield_now().await;
                Ok::<_, Infallible>("seven")
            });
            Ok::<_, BoxError>(grandchild.await?.len())
        });
        Ok::<_, BoxError>(child.await? + 1)
    });
    assert_eq!(group.wait().await.unwrap(), [6]);
}

/// §4: the body's failure is a task's failure, named `body`.
pub async fn body_fails<R: Runtime>(place: R::Place) {
    let (group, census) = (place.group::<()>(&R::background()), Census::default());
    let (running, ctx) = (Gate::default(), group.context().clone());
    let (opening, citizen) = (running.clone(), census.citizen());
    group.spawn(async move {
        let _citizen = citizen;
        opening.open();
        pending::<Result<_, Infallible>>().await
    });
    let body = async {
        running.wait().await;
        Err::<(), _>("no template".into())
    };
    let error = group.run(body).await.unwrap_err();
    assert_eq!(error.to_string(), "body: no template");
    assert_eq!(error.task().unwrap(), "body");
    assert_eq!(why(&ctx), "body: no template");
    assert_eq!(census.live(), 0);
}

/// §4: the body's panic is contained, as a task's.
pub async fn body_panics<R: Runtime>(place: R::Place) {
    let (group, census) = (place.group::<()>(&R::background()), Census::default());
    let citizen = census.citizen();
    group.spawn(async move {
        let _citizen = citizen;
        pending::<Result<_, Infallible>>().await
    });
    let body = async {
        yield_now().await;
        if true {
            std::panic::resume_unwind(Box::new("no ink"));
        }
        Ok(())
    };
    let error = group.run(body).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.to_string(), "body: panicked: no ink");
    assert_eq!(census.live(), 0);
}

/// §4: on the group's end the body is polled once more and dropped.
pub async fn body_ends_with_the_group<R: Runtime>(place: R::Place) {
    let (group, census) = (place.group::<()>(&R::background()), Census::default());
    let (ctx, citizen) = (group.context().clone(), census.citizen());
    let (saw, begun) = (Gate::default(), Gate::default());
    let opened = begun.clone();
    group.spawn_named("profile", async move {
        opened.wait().await; // what has not started when the group ends never does
        Err("down")
    });
    let body = async {
        let _citizen = citizen;
        begun.open();
        ctx.done().await;
        saw.open();
        pending::<Result<(), BoxError>>().await
    };
    let error = group.run(body).await.unwrap_err();
    assert_eq!(error.to_string(), "profile: down");
    assert!(saw.is_open(), "the body had its last word");
    assert_eq!(census.live(), 0);
}
