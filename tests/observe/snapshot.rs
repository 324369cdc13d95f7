//! "Why does it hang?": what a snapshot answers.

use crate::support::{at_most, forever, manual, ms};
use failfast::clock::ManualClock;
use failfast::observe::Recorder;
use failfast::{Aggregator, BoxError, Context, Group, InPlaceGroup};
use serde_json::{Value, json};
use std::future::Future;
use std::task::{self, Waker};

/// Polls once, which polls the tasks that were woken.
fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) {
    let polled = std::pin::Pin::new(future).poll(&mut task::Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

/// The drawing without the places in the source.
fn lines(drawn: &str) -> Vec<String> {
    let place = |word: &str| word.contains(".rs:");
    let clean = |line: &str| {
        let words = line
            .split(' ')
            .map(|word| if place(word) { "HERE" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    drawn.lines().map(clean).collect()
}

#[test]
fn it_shows_each_tasks_state_age_polls_end_and_parent() {
    let (clock, ctx) = manual(Recorder::new());
    let outer = InPlaceGroup::<()>::new(&ctx.with_timeout(ms(5000))).with_limit(at_most(2));
    let below = outer.context().clone();
    let handle = outer.handle();
    outer.spawn_named("page", async move {
        let inner = Aggregator::in_place()
            .with_name("user")
            .with_timeout(ms(60_000));
        let hangs = |_: Context, (): ()| forever();
        inner
            .source("settings", hangs)
            .aggregate(&below, ())
            .await?;
        Ok::<_, BoxError>(())
    });
    outer.spawn_named("ads", forever());
    outer.spawn_named("mail", forever());
    let mut wait = Box::pin(outer.wait());
    poll(&mut wait);
    clock.advance(ms(1000));
    let drawn = handle.snapshot().to_string();
    assert_eq!(
        lines(&drawn),
        [
            "group at HERE, ends in 4.0s, 2 of at most 2 running".replace("HERE,", "HERE"),
            "├─ page: running, polled 1 times, 1.0s old, last 1.0s ago, spawned at HERE".to_owned(),
            "├─ ads: running, polled 1 times, 1.0s old, last 1.0s ago, spawned at HERE".to_owned(),
            "├─ mail: queued, polled 0 times, 1.0s old, spawned at HERE".to_owned(),
            "└─ group at HERE (user), made by page, ends in 4.0s".to_owned(),
            "   └─ settings: running, polled 1 times, 1.0s old, last 1.0s ago, spawned at HERE"
                .to_owned(),
        ],
        "{drawn}"
    );
    let inner = handle.snapshot().groups().next().unwrap();
    assert_eq!(inner.name().unwrap(), "user");
    assert_eq!(inner.made_by().unwrap(), "page");
    assert_eq!(inner.deadline_in(), Some(ms(4000)));
    assert!(inner.cause().is_none());
    assert_eq!(inner.tasks()[0].number, 0);
}

#[test]
fn it_shows_that_nothing_ends_a_task_and_why_one_is_being_cancelled() {
    let group = InPlaceGroup::new(&Context::background()).with_grace(ms(60_000));
    group.spawn(forever());
    assert!(group.snapshot().to_string().contains(", no deadline\n"));
    let handle = group.handle();
    let mut wait = Box::pin(group.wait());
    poll(&mut wait);
    handle.cancel_with("shutting down");
    let snapshot = handle.snapshot();
    assert!(
        snapshot.to_string().contains(", ended: shutting down\n"),
        "{snapshot}"
    );
    assert_eq!(snapshot.cause().unwrap().to_string(), "shutting down");
}

#[test]
fn observed_groups_have_the_ages_of_their_tasks_from_the_start() {
    let (clock, ctx) = manual(Recorder::new());
    let group = InPlaceGroup::new(&ctx);
    group.spawn(forever());
    clock.advance(ms(10));
    assert_eq!(group.snapshot().tasks()[0].age, Some(ms(10)));
}

#[test]
fn maker_that_has_ended_or_is_another_groups_is_not_named() {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let outer = InPlaceGroup::<()>::new(&Context::background());
    let (keeps, below) = (kept.clone(), outer.context().clone());
    outer.spawn_named("maker", async move {
        let inner = Group::<()>::with_context(&below, smol::spawn).0;
        inner.spawn(forever());
        keeps.lock().unwrap().push(inner);
        Ok::<_, BoxError>(())
    });
    outer.spawn_named("other", forever());
    let other = InPlaceGroup::<()>::new(&Context::background());
    let (keeps, below) = (kept.clone(), outer.context().clone());
    other.spawn_named("stranger", async move {
        keeps
            .lock()
            .unwrap()
            .push(Group::<()>::with_context(&below, smol::spawn).0);
        Ok::<_, BoxError>(())
    });
    let handle = outer.handle();
    let mut wait = Box::pin(outer.wait());
    poll(&mut wait);
    futures::executor::block_on(other.wait()).unwrap();
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.groups().count(), 2, "{snapshot}");
    assert!(
        snapshot.groups().all(|group| group.made_by().is_none()),
        "{snapshot}"
    );
    kept.lock().unwrap().clear();
}

#[test]
fn json_has_the_same_answers() {
    let clock = ManualClock::new();
    let ctx = Context::background()
        .with_clock(clock.clone())
        .with_timeout(ms(5000));
    let group = InPlaceGroup::new(&ctx).with_limit(at_most(1));
    drop(group.snapshot()); // from now on times are taken
    group.spawn_named("a \"page\"", forever());
    group.spawn(forever());
    clock.advance(ms(1000));
    let json: Value = serde_json::from_str(&group.snapshot().to_json()).unwrap();
    assert_eq!(
        (&json["deadline_in_ns"], &json["running"], &json["limit"]),
        (&json!(4_000_000_000_u64), &json!(1), &json!(1))
    );
    let task = &json["tasks"][0];
    assert_eq!(
        (
            &task["number"],
            &task["name"],
            &task["state"],
            &task["age_ns"],
            &task["since_last_poll_ns"]
        ),
        (
            &json!(0),
            &json!("a \"page\""),
            &json!("running"),
            &json!(1_000_000_000),
            &Value::Null
        )
    );
    assert_eq!(json["tasks"][1]["state"], "queued");
    assert_eq!(json["groups"], json!([]));
}

/// Without recursion, and in proportion to what is alive.
#[test]
fn deep_trees_are_written_without_recursion() {
    let mut ctx = Context::background();
    let mut groups = Vec::new();
    for _ in 0..20_000 {
        let group = InPlaceGroup::<()>::new(&ctx);
        ctx = group.context().clone();
        groups.push(group);
    }
    let json = groups[0].snapshot().to_json();
    assert_eq!(json.matches('{').count(), 20_000);
    assert_eq!(json.matches('}').count(), 20_000);
    assert!(json.ends_with(&"]}".repeat(20_000)));
    while let Some(group) = groups.pop() {
        drop(group);
    }
}

#[test]
fn groups_beside_each_other_are_branches_of_one_tree() {
    let (_, ctx) = manual(Recorder::new());
    let outer = InPlaceGroup::<()>::new(&ctx);
    let first = InPlaceGroup::<()>::new(outer.context());
    let inner = InPlaceGroup::<()>::new(first.context());
    let second = InPlaceGroup::<()>::new(outer.context());
    first.spawn_named("one", forever());
    inner.spawn_named("one below", forever());
    second.spawn_named("two", forever());
    let snapshot = outer.snapshot();
    let drawn = lines(&snapshot.to_string());
    let heads: Vec<_> = drawn
        .iter()
        .map(|line| line.split([':', ',']).next().unwrap())
        .map(|line| line.trim_end_matches(" at HERE no deadline"))
        .collect();
    assert_eq!(
        heads,
        [
            "group",
            "├─ group",
            "│  └─ two",
            "└─ group",
            "   ├─ one",
            "   └─ group",
            "      └─ one below",
        ],
        "{snapshot}"
    );
    assert_eq!(format!("{snapshot:?}"), snapshot.to_string());
    let json: Value = serde_json::from_str(&snapshot.to_json()).unwrap();
    let tree = |group: &Value| (group["tasks"][0]["name"].clone(), group["groups"].clone());
    let (name, below) = tree(&json);
    assert!(name.is_null());
    assert_eq!(below.as_array().unwrap().len(), 2);
    let (two, nothing) = tree(&below[0]);
    let (one, under) = tree(&below[1]);
    assert_eq!((one, two), (json!("one"), json!("two")));
    assert_eq!(nothing, json!([]));
    assert_eq!(tree(&under[0]), (json!("one below"), json!([])));
}
