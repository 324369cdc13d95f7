//! Looking into a group.

use crate::executor::{Executor, Living, Polled, remote};
use failfast::clock::ManualClock;
use failfast::observe::TaskState;
use failfast::{Context, Group};
use std::convert::Infallible;
use std::future::pending;
use std::num::NonZeroUsize;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn never() -> Result<u32, Infallible> {
    pending().await
}

/// "Every live task's name, state, times polled, where it was spawned."
#[test]
fn live_tasks_are_shown_and_finished_ones_are_not() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner()).with_limit(NonZeroUsize::new(2).unwrap());
    let (finishes, task) = remote::<u32, Infallible>(&Living::default());
    group.spawn_named("quick", task);
    group.spawn_named("slow", never());
    group.spawn(never());
    executor.run();
    let states = || -> Vec<_> {
        let tasks = group.snapshot().tasks().to_vec().into_iter();
        tasks
            .map(|task| (task.name.to_string(), task.state, task.polls))
            .collect()
    };
    let (running, queued) = (TaskState::Running, TaskState::Queued);
    let shown = |name: &str, state, polls| (name.to_owned(), state, polls);
    assert_eq!(
        states(),
        [
            shown("quick", running, 1),
            shown("slow", running, 1),
            shown("task 2", queued, 0)
        ]
    );
    finishes.succeed(1);
    executor.run();
    assert_eq!(
        states(),
        [shown("slow", running, 1), shown("task 2", running, 1)]
    );
    assert!(
        group.snapshot().tasks()[0]
            .location
            .file()
            .ends_with("snapshot.rs")
    );
}

/// "Cancelling": from the end of the context until the task is gone.
#[test]
fn task_in_its_grace_is_cancelling() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner()).with_grace(SECOND);
    group.spawn(never());
    executor.run();
    group.cancel_with("enough");
    assert_eq!(group.snapshot().tasks()[0].state, TaskState::Cancelling);
}

/// "Age, time since last poll": from the first snapshot on.
#[test]
fn times_are_taken_from_the_first_snapshot_on() {
    let clock = ManualClock::new();
    let parent = Context::background().with_clock(clock.clone());
    let executor = Executor::new();
    let (group, _) = Group::with_context(&parent, executor.spawner());
    group.spawn_named("before", never());
    executor.run();
    assert_eq!(group.snapshot().tasks()[0].age, None);
    group.spawn_named("after", never());
    clock.advance(SECOND);
    executor.run();
    clock.advance(SECOND);
    let tasks = group.snapshot().tasks().to_vec();
    assert_eq!((tasks[0].age, tasks[0].since_last_poll), (None, None));
    assert_eq!(
        (tasks[1].age, tasks[1].since_last_poll),
        (Some(2 * SECOND), Some(SECOND))
    );
}

#[test]
fn times_of_a_task_are_not_those_of_the_one_before_in_its_place() {
    let clock = ManualClock::new();
    let parent = Context::background().with_clock(clock.clone());
    let executor = Executor::new();
    let (mut group, _) = Group::with_context(&parent, executor.spawner());
    drop(group.snapshot());
    group.spawn(async { Ok::<_, Infallible>(1) });
    executor.run();
    assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 1);
    clock.advance(SECOND);
    group.spawn(never());
    let task = group.snapshot().tasks()[0].clone();
    assert_eq!(
        (task.age, task.since_last_poll, task.polls),
        (Some(Duration::ZERO), None, 0)
    );
}

/// "Where it was spawned": the line of it.
#[test]
fn each_task_is_shown_where_it_was_spawned() {
    let group = Group::new(Executor::new().spawner());
    let line = line!();
    group.spawn(never());
    group.spawn(never());
    let lines: Vec<_> = group
        .snapshot()
        .tasks()
        .iter()
        .map(|task| task.location.line())
        .collect();
    assert_eq!(lines, [line + 1, line + 2]);
}

/// The limit is not for background tasks: they run beside it.
#[test]
fn background_task_at_a_full_limit_is_running() {
    let executor = Executor::new();
    let group = Group::new(executor.spawner()).with_limit(NonZeroUsize::MIN);
    group.spawn(never());
    group.spawn_background(async { never().await.map(drop) });
    executor.run();
    let tasks = group.snapshot().tasks().to_vec();
    let states: Vec<_> = tasks.iter().map(|task| (task.state, task.polls)).collect();
    assert_eq!(states, [(TaskState::Running, 1); 2]);
}

/// "`Display` draws the tree of nested groups", below contexts with deadlines of their own too.
#[test]
fn nested_groups_are_drawn_as_a_tree() {
    let executor = Executor::new();
    let (outer, ctx) = Group::with_context(&Context::background(), executor.spawner());
    outer.spawn_named("page", never());
    let (inner, _) = Group::with_context(&ctx.with_timeout(SECOND), executor.spawner());
    inner.spawn_named("query", never());
    let drawn = outer.snapshot().to_string();
    let lines: Vec<_> = drawn.lines().collect();
    assert!(lines[0].starts_with("group at "), "{drawn}");
    assert!(lines[1].starts_with("├─ page: running"), "{drawn}");
    assert!(lines[2].starts_with("└─ group at "), "{drawn}");
    assert!(lines[3].starts_with("   └─ query: running"), "{drawn}");
    let mut wait = Polled::new(inner.wait());
    assert!(wait.is_pending());
    drop(wait);
    executor.run();
    assert!(outer.snapshot().groups().next().is_none());
}

/// Section 8: "`Snapshot::to_json()`: the live tree", whatever is in a name.
#[test]
fn json_holds_the_tree_and_escapes_names() {
    let executor = Executor::new();
    let (outer, ctx) = Group::with_context(&Context::background(), executor.spawner());
    outer.spawn_named("a \"page\"\n\u{1}", never());
    let (inner, _) = Group::with_context(&ctx, executor.spawner());
    inner.spawn_named("query", never());
    executor.run();
    let json = outer.snapshot().to_json();
    assert!(json.starts_with('{') && json.ends_with('}'), "{json}");
    assert!(json.contains(r#""a \"page\"\n\u0001""#), "{json}");
    assert!(json.contains(r#""query""#), "{json}");
    assert!(json.find("page") < json.find("query"), "{json}");
}

/// "So that a group that is being waited for can be inspected": a handle shows the same.
#[test]
fn handle_shows_what_the_group_shows() {
    let parent = Context::background().with_clock(ManualClock::new());
    let executor = Executor::new();
    let (group, _) = Group::with_context(&parent, executor.spawner());
    let handle = group.handle();
    group.spawn_named("slow", never());
    executor.run();
    assert_eq!(handle.snapshot().to_json(), group.snapshot().to_json());
    let mut wait = Polled::new(group.wait());
    assert!(wait.is_pending());
    let tasks = handle.snapshot().tasks().to_vec();
    assert_eq!(
        (&*tasks[0].name, tasks[0].state),
        ("slow", TaskState::Running)
    );
    drop(wait);
    executor.run();
    assert!(handle.snapshot().tasks().is_empty());
}

#[test]
fn snapshot_tells_where_its_group_was_made() {
    let line = line!() + 1;
    let group = Group::<u32>::new(Executor::new().spawner());
    let location = group.snapshot().location();
    assert!(location.file().ends_with("snapshot.rs"));
    assert_eq!(location.line(), line);
}

/// Each level's line ends with its last group, whatever follows further out; also in a part.
#[test]
fn groups_beside_and_below_others_are_drawn_at_their_levels() {
    let executor = Executor::new();
    let below = |ctx: &Context, name: &'static str| {
        let (group, ctx) = Group::with_context(ctx, executor.spawner());
        group.spawn_named(name, never());
        (group, ctx)
    };
    let (top, ctx) = below(&Context::background(), "top");
    let middle = [(); 2].map(|()| below(&ctx, "middle"));
    let bottom = middle.each_ref().map(|(_, ctx)| below(ctx, "bottom"));
    let shape = |drawn: String| {
        let place = |line: &str| match line.find("group at ") {
            Some(place) => format!("{}group", &line[..place]),
            None => line.split(':').next().unwrap().to_owned(),
        };
        drawn.lines().map(place).collect::<Vec<_>>()
    };
    let snapshot = top.snapshot();
    assert_eq!(
        shape(snapshot.to_string()),
        [
            "group",
            "├─ top",
            "├─ group",
            "│  ├─ middle",
            "│  └─ group",
            "│     └─ bottom",
            "└─ group",
            "   ├─ middle",
            "   └─ group",
            "      └─ bottom",
        ]
    );
    for part in snapshot.groups() {
        assert_eq!(
            shape(part.to_string()),
            ["group", "├─ middle", "└─ group", "   └─ bottom"]
        );
    }
    drop(bottom);
}

/// A group of a snapshot is drawn as its own snapshot would be.
#[test]
fn groups_of_a_snapshot_are_drawn_and_written_by_themselves() {
    let clock = ManualClock::new();
    let root = Context::background().with_clock(clock);
    let made = |parent: &Context| {
        let (group, _) = Group::<u32>::with_context(parent, Executor::new().spawner());
        group.spawn_named("one", never());
        group.spawn_named("two", never());
        group
    };
    let outer = made(&root);
    let upper = made(outer.context());
    let lower = made(upper.context());
    let beside = made(upper.context());
    let after = made(outer.context());
    let groups: Vec<_> = outer.snapshot().groups().collect();
    assert_eq!(groups.len(), 2);
    for (of_outer, its_own) in groups.iter().zip([&after, &upper]) {
        let its_own = its_own.snapshot();
        assert_eq!(of_outer.to_string(), its_own.to_string());
        assert_eq!(of_outer.to_json(), its_own.to_json());
        for (below, by_itself) in of_outer.groups().zip([&beside, &lower]) {
            assert_eq!(below.to_string(), by_itself.snapshot().to_string());
            assert_eq!(below.to_json(), by_itself.snapshot().to_json());
        }
    }
    assert_eq!(groups[1].groups().count(), 2);
}
