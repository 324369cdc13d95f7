//! The drawing for terminals, to the letter.

use crate::support::{at_most, forever, manual, ms};
use failfast::clock::ManualClock;
use failfast::observe::Recorder;
use failfast::{Aggregator, BoxError, Context, InPlaceGroup};
use futures::executor::block_on;
use std::future::{Future, ready};
use std::task::{self, Poll, Waker};

/// Runs a future, and advances the time whenever it waits.
fn run<T>(clock: &ManualClock, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = task::Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        clock.advance(ms(1));
    }
    panic!("hangs");
}

fn after(
    delay: u64,
    error: Option<&'static str>,
) -> impl Fn(Context, ()) -> futures::future::BoxFuture<'static, Result<(), BoxError>> {
    move |ctx, ()| {
        Box::pin(async move {
            ctx.sleep(ms(delay)).await?;
            error.map_or(Ok(()), |error| Err(error.into()))
        })
    }
}

#[test]
fn failure_ends_the_sibling_in_the_same_column() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let dashboard = Aggregator::in_place()
        .with_name("dashboard")
        .source("profile", after(1000, Some("HTTP 500")))
        .source("orders", after(5000, None));
    assert!(run(&clock, dashboard.aggregate(&ctx, ())).is_err());
    let expected = "\
\x20timeline  0ms                           1000ms
dashboard  |----------------------------------x cancelled at 1000ms: profile: H…
profile    |==================================! failed at 1000ms: HTTP 500
orders     |==================================x cancelled at 1000ms
deadline                                      > 5000ms, not reached
";
    assert_eq!(recorder.timeline().to_string(), expected);
}

#[test]
fn deadline_is_a_mark_where_the_slow_one_was_cancelled() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx.with_timeout(ms(1000)));
    group.spawn_named("profile", after(2000, None)(group.context().clone(), ()));
    group.spawn_named("orders", after(500, None)(group.context().clone(), ()));
    assert!(run(&clock, group.wait()).is_err());
    let drawn = recorder.timeline().with_width(70).to_string();
    let rows: Vec<_> = drawn.lines().skip(2).collect();
    assert_eq!(
        rows,
        [
            "profile               |=================x cancelled at 1000ms",
            "orders                |========o finished at 500ms",
            "deadline                                ^ 1000ms",
        ],
        "{drawn}"
    );
    assert!(
        drawn.starts_with("            timeline  0ms          1000ms\ngroup timeline.rs:"),
        "{drawn}"
    );
    assert!(drawn.contains("x cancelled at 1000ms"), "{drawn}");
}

#[test]
fn time_in_the_queue_is_dotted() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx).with_limit(at_most(1));
    for name in ["first", "second"] {
        group.spawn_named(name, after(50, None)(group.context().clone(), ()));
    }
    // The second sleeps from its spawn on, so that it has nothing left to wait for.
    run(&clock, group.wait()).unwrap();
    let drawn = recorder.timeline().to_string();
    let row = |name| drawn.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row("first").contains("|====="), "{drawn}");
    assert!(row("second").contains("|....."), "{drawn}");
}

#[test]
fn nested_groups_stand_below_the_task_that_made_them() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let inner = Aggregator::in_place()
        .with_name("user")
        .source("name", after(10, None))
        .source("mail", after(20, None));
    let outer = Aggregator::in_place()
        .with_name("page")
        .source("user", inner.map(|_| ()))
        .source("ads", after(30, None));
    run(&clock, outer.aggregate(&ctx, ())).unwrap();
    let drawn = recorder.timeline().to_string();
    let labels: Vec<_> = drawn
        .lines()
        .map(|line| line.split('|').next().unwrap().trim_end())
        .collect();
    assert_eq!(
        labels[1..6],
        ["page", "user", "  user", "    name", "    mail"],
        "{drawn}"
    );
    assert!(labels[6].starts_with("ads"), "{drawn}");
}

#[test]
fn of_many_tasks_the_failure_is_shown_and_the_rest_is_counted() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx);
    for n in 0..10_000_u64 {
        let fails = (n == 7777).then_some("refused");
        group.spawn_named(
            format!("item {n}"),
            after(if fails.is_some() { 9 } else { n % 7 }, fails)(group.context().clone(), ()),
        );
    }
    assert!(run(&clock, group.wait()).is_err());
    let drawn = recorder.timeline().to_string();
    assert!(drawn.lines().count() < 60, "{drawn}");
    assert!(
        drawn
            .lines()
            .any(|line| line.starts_with("item 7777 ") && line.contains("! failed at")),
        "{drawn}"
    );
    assert!(
        drawn.contains("and 9951 more tasks: 8220 finished, 1731 cancelled; they took 0ms to "),
        "{drawn}"
    );
}

#[test]
fn task_that_was_never_started_and_one_that_runs_are_marked() {
    let recorder = Recorder::new();
    let ctx = Context::background().with_observer(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx).with_limit(at_most(1));
    group.spawn_named("runs", forever());
    group.spawn_named("queued", ready(Ok::<_, BoxError>(())));
    let mut wait = Box::pin(group.wait());
    assert!(
        wait.as_mut()
            .poll(&mut task::Context::from_waker(Waker::noop()))
            .is_pending()
    );
    let drawn = recorder.timeline().to_string();
    assert!(
        drawn.contains("> running") && drawn.contains("> open"),
        "{drawn}"
    );
    drop(wait);
    let drawn = recorder.timeline().to_string();
    assert!(drawn.contains("x never started"), "{drawn}");
}

#[test]
fn no_name_is_too_long_and_no_width_too_small() {
    let recorder = Recorder::new();
    let group = InPlaceGroup::<()>::new(&Context::background().with_observer(recorder.clone()));
    group.spawn_named("n".repeat(500), ready(Err::<(), _>("e".repeat(500))));
    group.spawn_named("\u{1b}[2J\u{7}bell", ready(Ok::<_, BoxError>(())));
    assert!(block_on(group.wait()).is_err());
    for width in [0, 1, 39, 40, 41, 79, 80, 81, 500] {
        let drawn = recorder.timeline().with_width(width).to_string();
        let longest = drawn
            .lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap();
        assert!(longest <= width.max(40), "{width}: {drawn}");
        assert!(!drawn.contains('\u{1b}') && !drawn.contains('\u{7}'));
        assert_eq!(
            drawn,
            format!("{:?}", recorder.timeline().with_width(width))
        );
    }
}

#[test]
fn only_three_deadlines_are_drawn() {
    let recorder = Recorder::new();
    let (_clock, ctx) = manual(recorder.clone());
    let groups: Vec<_> = (1..=5)
        .map(|n| InPlaceGroup::<()>::new(&ctx.with_timeout(ms(n))))
        .collect();
    let drawn = recorder.timeline().to_string();
    assert_eq!(drawn.matches("not reached").count(), 3, "{drawn}");
    assert!(drawn.contains("and 2 later deadlines"), "{drawn}");
    drop(groups);
}

#[test]
fn any_width_is_drawn_and_none_is_exceeded() {
    const MOST: usize = 10_000;
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx);
    group.spawn_named("n".repeat(70_000), forever());
    clock.advance(ms(1));
    for width in [
        0,
        39,
        40,
        41,
        9_999,
        MOST,
        10_001,
        65_535,
        65_536,
        65_541,
        196_606,
        usize::MAX,
    ] {
        let drawn = recorder.timeline().with_width(width).to_string();
        let most = width.clamp(40, MOST);
        let longest = drawn.lines().map(|line| line.chars().count()).max();
        assert!(longest.is_some_and(|longest| longest <= most), "{width}");
        assert!(drawn.contains("nnnn"), "{width}");
    }
}

#[test]
fn recording_that_spans_ages_is_drawn() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx);
    (0..101).for_each(|_| group.spawn(forever()));
    clock.advance(std::time::Duration::from_secs(1 << 60));
    drop(group);
    assert!(recorder.timeline().to_string().contains("task 0"));
    let svg = recorder.to_svg();
    crate::picture::check(&svg);
    assert!(
        svg.contains("Not shown"),
        "there are more than it has rows for"
    );
}
