//! What `spawn` returned is "kept until the task has ended", and no longer: "a finished task keeps no handle".

use crate::executor::{Living, Polled, remote};
use crate::support::{Count, OnDrop, at_most};
use failfast::{Group, Task};
use futures::FutureExt;
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

/// An executor that runs nothing by itself and gives handles back.
#[derive(Clone, Default)]
struct Observed {
    tasks: Arc<Mutex<Vec<Task>>>,
    spawned: Count,
    /// How many of its handles have been dropped.
    dropped: Count,
}

impl failfast::Spawn for Observed {
    type Handle = OnDrop;

    fn spawn(&self, task: Task) -> OnDrop {
        self.tasks.lock().unwrap().push(task);
        self.spawned.add();
        OnDrop(self.dropped.clone())
    }
}

impl Observed {
    /// Polls each task once, and drops those that have ended.
    fn poll_all(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        for mut task in tasks {
            if (&mut task).now_or_never().is_none() {
                self.tasks.lock().unwrap().push(task);
            }
        }
    }

    fn run(&self) {
        while !self.tasks.lock().unwrap().is_empty() {
            self.poll_all();
        }
    }
}

#[test]
fn handle_is_dropped_once_the_task_has_ended() {
    for limit in [None, Some(1)] {
        let observed = Observed::default();
        let mut group = Group::new(observed.clone());
        if let Some(limit) = limit {
            group = group.with_limit(at_most(limit));
        }
        for round in 0..3 {
            group.spawn(ready(Ok::<_, Infallible>(5)));
            assert_eq!(observed.dropped.get(), round);
            observed.run();
            assert_eq!(observed.dropped.get(), round + 1, "at a limit of {limit:?}");
        }
        assert_eq!(Polled::new(group.wait()).ready().unwrap(), [5, 5, 5]);
        assert_eq!(observed.dropped.get(), 3);
    }
}

/// Ended before `spawn` returned, so before there is a handle to drop.
#[test]
fn handle_of_a_task_that_ended_inside_spawn_is_dropped() {
    let dropped = Count::default();
    let count = dropped.clone();
    let group = Group::new(move |mut task: Task| {
        assert!((&mut task).now_or_never().is_some());
        OnDrop(count.clone())
    });
    for round in 0..3 {
        assert_eq!(dropped.get(), round);
        group.spawn(ready(Ok::<_, Infallible>(5)));
    }
    assert_eq!(dropped.get(), 3);
    assert_eq!(Polled::new(group.wait()).ready().unwrap(), [5, 5, 5]);
}

#[test]
fn handle_is_kept_while_the_next_in_the_queue_runs() {
    let observed = Observed::default();
    let mut group = Group::new(observed.clone()).with_limit(at_most(1));
    let living = Living::default();
    let (second, task) = remote::<_, Infallible>(&living);
    group.spawn(ready(Ok::<_, Infallible>(1)));
    group.spawn(task);
    observed.poll_all();
    observed.poll_all(); // the second runs, whether the executor has one task more or not
    assert_eq!(Polled::new(group.next()).ready().unwrap().unwrap(), 1);
    assert_eq!(
        observed.dropped.get() + 1,
        observed.spawned.get(),
        "the second would be cancelled"
    );
    second.succeed(2);
    observed.run();
    let handle = group.handle();
    assert_eq!(Polled::new(group.wait()).ready().unwrap(), [2]);
    assert_eq!(observed.dropped.get(), observed.spawned.get());
    drop(handle);
}

#[test]
fn handles_and_results_are_dropped_after_wait_though_a_group_handle_is_kept() {
    let (observed, results) = (Observed::default(), Count::default());
    let group = Group::new(observed.clone());
    let handle = group.handle();
    let result = OnDrop(results.clone());
    group.spawn(async { Ok::<_, Infallible>(result) });
    group.spawn(async { Err("refused") });
    observed.run();
    assert!(Polled::new(group.wait()).ready().is_err());
    assert_eq!((observed.dropped.get(), results.get()), (2, 1));
    drop(handle);
}
