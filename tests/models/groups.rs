//! Groups: completions, waits, limits, handles and ends.

use super::*;

/// Weakened: `progress` that does not look again after it has cloned the waker misses the last end.
#[test]
fn last_end_against_first_poll_of_wait() {
    // Section 4: `wait` returns when every task's future has been dropped.
    check(3, || {
        let alive = Arc::default();
        let group = Group::new(on_a_thread);
        let witness = Alive::new(&alive);
        group.spawn(async move {
            let _witness = witness;
            Outcome::Ok(1)
        });
        assert_eq!(block_on(group.wait()).unwrap(), [1]);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Weakened: `sorted` that does not sort gives the results in the order of completion.
#[test]
fn two_ends_against_wait() {
    // Section 4: results in the order of spawning, whichever came first.
    check(2, || {
        let group = Group::new(on_a_thread);
        group.spawn(async { Outcome::Ok(1) });
        group.spawn(async { Outcome::Ok(2) });
        assert_eq!(block_on(group.wait()).unwrap(), [1, 2]);
    });
}

/// Weakened: `release` without the owner's wake leaves `next` asleep.
#[test]
fn place_used_again_through_a_handle_that_was_kept_too_long() {
    // Section 4: `next` frees results; the place of one that was taken before `spawn` returned is freed there.
    check(2, || {
        let inline = |mut task: Task| {
            assert!(poll_once(&mut task).is_ready());
            Box::new(0_u8) // a handle, for it is dropped
        };
        let mut group = Group::<u32>::new(inline);
        let handle = group.handle();
        let spawning = thread::spawn(move || {
            let first = handle.spawn(async { Outcome::Ok(1) }).is_ok();
            let second = handle.spawn(async { Outcome::Ok(2) }).is_ok();
            usize::from(first) + usize::from(second)
        });
        let mut results = usize::from(block_on(group.next()).is_some());
        let spawned = spawning.join().unwrap();
        while let Some(result) = block_on(group.next()) {
            assert!(result.is_ok());
            results += 1;
        }
        assert_eq!(results, spawned);
    });
}

/// Weakened: `poll_outcome` that does not look again after it has registered sleeps for ever.
#[test]
fn next_against_completion() {
    // Section 4: `next` gives each result once, as they complete.
    check(2, || {
        let mut group = Group::new(on_a_thread);
        group.spawn(async { Outcome::Ok(1) });
        group.spawn(async { Outcome::Ok(2) });
        let mut seen = Vec::new();
        while let Some(result) = block_on(group.next()) {
            seen.push(result.unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

/// Weakened: with a `complete` that releases the slot before it cancels, `wait` ends the context with another cause.
#[test]
fn first_error_against_second() {
    // Section 4: the first failure, by completion, is the error, the cause, and stays it.
    check(2, || {
        let (group, ctx) = Group::<u32>::with_context(&Context::background(), on_a_thread);
        group.spawn(async { Err(Refused(1)) });
        group.spawn(async { Err(Refused(2)) });
        let error = block_on(group.wait()).unwrap_err();
        let cause = ctx.cause().unwrap();
        assert_eq!(refusal(&error), cause.downcast_ref());
        assert_eq!(error.kind(), ErrorKind::Task);
        assert!(error.others().len() <= 1);
    });
}

/// Weakened: `fail` without `demote_first` gives an error that is not the cause.
#[test]
fn panic_against_cancel() {
    // Section 4: what happened first is the error.
    check(2, || {
        let (parent, canceller) = Context::background().with_cancel();
        let (group, ctx) = Group::<u32>::with_context(&parent, on_a_thread);
        group.spawn(async {
            resume_unwind(Box::new("bang"));
            #[allow(unreachable_code)]
            Outcome::Ok(1)
        });
        let canceling = thread::spawn(move || canceller.cancel_with(Refused(2)));
        let error = block_on(group.wait()).unwrap_err();
        match ctx.cause().unwrap().downcast_ref::<Refused>() {
            Some(_) => assert_eq!(error.kind(), ErrorKind::Canceled),
            None => assert_eq!(error.kind(), ErrorKind::Panicked),
        }
        canceling.join().unwrap();
    });
}

/// Weakened: `poll` that does not look at the phase again after `park` is never woken.
#[test]
fn task_parks_against_cancel() {
    // Section 4: on cancellation each task is woken, polled once more and dropped.
    check(2, || {
        let alive = Arc::default();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, _) = Group::<u32>::with_context(&parent, on_a_thread);
        let witness = Alive::new(&alive);
        group.spawn(async move {
            let _witness = witness;
            pending::<Outcome>().await
        });
        let canceling = thread::spawn(move || canceller.cancel());
        assert!(block_on(group.wait()).unwrap_err().is_canceled());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        canceling.join().unwrap();
    });
}

/// Weakened: `add_child` that checks the end before it takes the lane makes a group that is never cancelled.
#[test]
fn group_born_against_cancel_of_its_parent() {
    // Section 4: parent already ended: no task starts; else it is cancelled. Never missed.
    check(2, || {
        let (parent, canceller) = Context::background().with_cancel();
        let canceling = thread::spawn(move || canceller.cancel());
        let (group, _) = Group::<u32>::with_context(&parent, on_a_thread);
        group.spawn(pending::<Outcome>());
        assert!(block_on(group.wait()).unwrap_err().is_canceled());
        canceling.join().unwrap();
    });
}

/// Weakened: `retire` that leaves no `COMPLETE` to a spawner which has not settled leaks the handle.
#[test]
fn handle_stored_against_task_finished() {
    // Section 1: what `spawn` returned is kept until the task has ended, and no longer.
    check(2, || {
        let handles = Arc::default();
        let its_handles = Arc::clone(&handles);
        let mut group = Group::new(move |task| {
            on_a_thread(task);
            Alive::new(&its_handles)
        });
        group.spawn(async { Outcome::Ok(1) });
        assert_eq!(block_on(group.next()).unwrap().unwrap(), 1);
        until_zero(&handles);
        assert!(block_on(group.next()).is_none());
    });
}

/// Weakened: `settle` with a relaxed ordering has the handle read before it is written.
#[test]
fn handle_stored_against_outcome_taken_elsewhere() {
    // Section 1, with `next` taking the outcome while `spawn` has not returned.
    check(2, || {
        let handles = Arc::default();
        let its_handles = Arc::clone(&handles);
        let mut group = Group::new(move |task| {
            on_a_thread(task);
            Alive::new(&its_handles)
        });
        let handle = group.handle();
        let spawning = thread::spawn(move || {
            assert!(handle.spawn(async { Outcome::Ok(2) }).is_ok());
        });
        let mut seen = 0;
        while seen == 0 {
            match block_on(group.next()) {
                Some(result) => seen = result.unwrap(),
                None => thread::yield_now(),
            }
        }
        spawning.join().unwrap();
        assert_eq!(seen, 2);
        until_zero(&handles);
    });
}

/// Weakened: with a `leave_line` that does not call the next in line, that one sleeps for ever.
#[test]
fn slot_released_against_waiter_cancelled() {
    // Section 4: a cancelled waiter's turn goes to the next; backpressure never hangs.
    check(2, || {
        let shelf = Shelf::default();
        let group = Arc::new(Group::new(shelf.clone()).with_limit(ONE));
        group.spawn(async { Outcome::Ok(1) });
        let mut first = Box::pin(async { group.ready().await });
        assert!(poll_once(&mut first).is_pending());
        let running = thread::spawn(move || block_on(shelf.take()));
        let its_group = group.clone();
        let second = thread::spawn(move || block_on(its_group.ready()).is_ok());
        drop(first);
        assert!(second.join().unwrap());
        running.join().unwrap();
    });
}

/// Weakened: `complete` that cancels before it records the failure gives `ready` the kind `Canceled`.
#[test]
fn ready_against_first_error() {
    // Section 4: recorded, then cancelled: a task that sees the end sees its cause.
    check(2, || {
        let group = Arc::new(Group::<u32>::new(on_a_thread).with_limit(ONE));
        group.spawn(async { Err(Refused(1)) });
        for _ in 0..2 {
            if let Err(error) = block_on(group.ready()) {
                assert_eq!(error.kind(), ErrorKind::Task, "{error:?}");
            }
        }
    });
}

/// Weakened: `release` that starts nothing from the queue, and does not wake the owner to do so, leaves the job
/// there.
#[test]
fn queued_job_against_slot_released() {
    // Section 4: what is queued runs, whichever task frees the place, and whenever.
    check(2, || {
        let group = Group::new(on_a_thread).with_limit(ONE);
        group.spawn(async { Outcome::Ok(1) });
        group.spawn(async { Outcome::Ok(2) });
        assert_eq!(block_on(group.wait()).unwrap(), [1, 2]);
    });
}

/// Weakened: `progress` that does not look again after it has cloned the waker misses the last end.
#[test]
fn queued_job_against_failure() {
    // Section 4: queued work is skipped after a failure, and nothing hangs.
    check(2, || {
        let group = Group::new(on_a_thread).with_limit(ONE);
        group.spawn(async { Err(Refused(1)) });
        group.spawn(async { Outcome::Ok(2) });
        let error = block_on(group.wait()).unwrap_err();
        assert_eq!(refusal(&error), Some(&Refused(1)));
    });
}

/// Weakened: an `admit` that does not look at `closed` takes a task whose result is never returned.
#[test]
fn handle_spawns_against_last_end() {
    // Section 4: a handle's task is either run, or given back: never taken and lost.
    check(2, || {
        let group = Group::new(on_a_thread);
        let handle = group.handle();
        group.spawn(async { Outcome::Ok(1) });
        let spawning = thread::spawn(move || handle.spawn(after(2, Ok(2))).is_ok());
        let results = block_on(group.wait()).unwrap();
        match spawning.join().unwrap() {
            true => assert_eq!(results, [1, 2]),
            false => assert_eq!(results, [1]),
        }
    });
}

/// Weakened: `poll` that does not look at the phase again after `park` is never woken.
#[test]
fn group_dropped_against_task_running() {
    // Section 4: dropped early, nothing leaks.
    check(3, || {
        let alive = Arc::default();
        let (group, ctx) = Group::<u32>::with_context(&Context::background(), Shelf::default());
        let shelf = Shelf::default();
        drop(group);
        assert!(ctx.is_done());
        let group = Group::new(shelf.clone());
        let witness = Alive::new(&alive);
        group.spawn(async move {
            let _witness = witness;
            pending::<Outcome>().await
        });
        let running = thread::spawn(move || block_on(shelf.take()));
        drop(group);
        running.join().unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Weakened: with a `complete` that wakes no waiter when the executor drops the task, `wait` sleeps for ever.
#[test]
fn executor_drops_task_against_cancel() {
    // Section 1: a task that the executor dropped is lost, or was cancelled: `wait` returns.
    check(2, || {
        let shelf = Shelf::default();
        let (parent, canceller) = Context::background().with_cancel();
        let (group, _) = Group::<u32>::with_context(&parent, shelf.clone());
        group.spawn_named("it", pending::<Outcome>());
        let dropping = thread::spawn(move || drop(shelf.take()));
        let canceling = thread::spawn(move || canceller.cancel());
        let error = block_on(group.wait()).unwrap_err();
        let is_lost =
            error.kind() == ErrorKind::Lost && error.task().is_some_and(|name| *name == "it");
        assert!(error.is_canceled() || is_lost);
        dropping.join().unwrap();
        canceling.join().unwrap();
    });
}

/// Weakened: an `is_out_of_reach` that does not count the tasks that have succeeded ends the group too early.
#[test]
fn quorum_against_wait() {
    // Section 4: as many successes as are needed are never counted as too few while they come in.
    check(2, || {
        let group = Group::new(on_a_thread).with_ending(Ending::Quorum(TWO));
        group.spawn(async { Outcome::Ok(1) });
        group.spawn(after(2, Ok(2)));
        assert_eq!(block_on(group.wait()).unwrap(), [1, 2]);
    });
}

/// Weakened: with a `release` that wakes the owner only when the group is idle, `wait` sleeps for ever.
#[test]
fn quorum_out_of_reach_against_first_poll_of_wait() {
    // Section 4: nothing hangs: the failure that puts the quorum out of reach ends the group.
    check(2, || {
        let group = Group::<u32>::new(on_a_thread).with_ending(Ending::Quorum(TWO));
        group.spawn(async { Err(Refused(1)) });
        group.spawn(pending::<Outcome>());
        let error = block_on(group.wait()).unwrap_err();
        assert_eq!(refusal(&error), Some(&Refused(1)));
    });
}

/// Weakened: `poll` that does not look at the phase again after `park` is never woken.
#[test]
fn background_task_against_last_end() {
    // Section 4: background tasks are cancelled when the others are done, and `wait` returns.
    check(2, || {
        let group = Group::new(on_a_thread);
        group.spawn_background(pending::<Result<(), Refused>>());
        group.spawn(async { Outcome::Ok(1) });
        assert_eq!(block_on(group.wait()).unwrap(), [1]);
    });
}

/// Weakened: `take_waker` and `write_waker` with relaxed orderings have the waker read before it is written.
#[test]
fn grace_over_against_task_finishing() {
    // Section 4: with grace a task may finish by itself; when it is over, it is dropped.
    check(2, || {
        let clock = ManualClock::new();
        let (parent, canceller) = Context::background()
            .with_clock(clock.clone())
            .with_cancel();
        let (group, _) = Group::<u32>::with_context(&parent, on_a_thread);
        let group = group.with_grace(Duration::from_secs(1));
        group.spawn(pending::<Outcome>());
        let ending = thread::spawn(move || {
            canceller.cancel();
            clock.advance(Duration::from_secs(1));
        });
        assert!(block_on(group.wait()).unwrap_err().is_canceled());
        ending.join().unwrap();
    });
}

/// Weakened: `end_by_us` that marks the node before it stores `our_end` makes the stop a failure.
#[test]
fn stop_against_last_end() {
    // Section 4: what finished is returned; no failure either way.
    check(2, || {
        let group = Group::<u32>::new(on_a_thread);
        let handle = group.handle();
        group.spawn(after(1, Ok(1)));
        let stopping = thread::spawn(move || handle.stop());
        let results = block_on(group.wait()).unwrap();
        assert!(results.is_empty() || results == [1]);
        stopping.join().unwrap();
    });
}

/// Weakened: `record` that does not have the failure end the group leaves the body asleep.
#[test]
fn body_of_run_against_a_failure() {
    // Section 4: the first failure is the error; the body's echo is not.
    check(2, || {
        let (group, ctx) = Group::<u32>::with_context(&Context::background(), on_a_thread);
        group.spawn(async { Err(Refused(1)) });
        let error = block_on(group.run(async move {
            ctx.run(pending::<()>()).await?;
            Ok(5)
        }));
        assert_eq!(refusal(&error.unwrap_err()), Some(&Refused(1)));
    });
}
