//! Forks: answers against their waiters, their cancel and their drop.

use super::*;

/// Weakened: with a `deliver` that does not wake the waiter, that sleeps for ever.
#[test]
fn fork_against_its_waiter() {
    // Section 4: a fork gives its task's result, in either order.
    check(2, || {
        let group = Group::<()>::new(on_a_thread);
        let fork = group.fork("fork", after(1, Ok(5)));
        assert_eq!(block_on(fork).unwrap(), 5);
        block_on(group.wait()).unwrap();
    });
}

/// Weakened: with a `deliver` that does not wake the waiter, that sleeps for ever.
#[test]
fn fork_cancelled_against_completion() {
    // Section 4: its answer or kind Canceled, and the group does not fail either way.
    check(2, || {
        let alive = Arc::default();
        let witness = Alive::new(&alive);
        let group = Group::<()>::new(on_a_thread);
        let fork = group.fork("fork", async move {
            let _witness = witness;
            Outcome::Ok(5)
        });
        fork.cancel();
        match block_on(fork) {
            Ok(answer) => assert_eq!(answer, 5),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Canceled),
        }
        block_on(group.wait()).unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Weakened: `complete` that releases the slot before it delivers leaves an answer alive after the wait.
#[test]
fn fork_dropped_against_completion() {
    // Section 4: the task goes on, and its answer is dropped with the last reference.
    check(3, || {
        let alive = Arc::default();
        let witness = Alive::new(&alive);
        let group = Group::<()>::new(on_a_thread);
        let fork = group.fork("fork", async move { Ok::<_, Refused>(witness) });
        let dropping = thread::spawn(move || drop(fork));
        block_on(group.wait()).unwrap();
        dropping.join().unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// Weakened: `lend` that does not serve the queue leaves the child in it.
#[test]
fn fork_awaited_by_a_task_at_a_limit_of_one() {
    // Section 4: a task that awaits a fork does not count against the limit; and never hangs.
    check(2, || {
        let group = Group::<u32>::new(on_a_thread).with_limit(ONE);
        let handle = group.handle();
        group.spawn(async move { handle.fork("child", async { Outcome::Ok(5) }).await });
        assert_eq!(block_on(group.wait()).unwrap(), [5]);
    });
}

/// Weakened: with a `lend` that does not look at `DONE`, the task does not count though its fork is ready.
#[test]
fn fork_polled_once_against_completion() {
    // Section 4: the task that waits for a fork counts again at once when that is ready, polled or not.
    check(2, || {
        let shelf = Shelf::default();
        let group = Group::<u32>::new(shelf.clone()).with_limit(TWO);
        let (handle, its) = (group.handle(), shelf.clone());
        group.spawn(async move {
            let mut fork = handle.fork("child", async { Outcome::Ok(5) });
            let child = its.take();
            let child = thread::spawn(move || block_on(child));
            let _ = poll_once(&mut fork);
            child.join().unwrap();
            pending::<()>().await;
            drop(fork);
            Outcome::Ok(1)
        });
        let mut task = shelf.take();
        assert!(poll_once(&mut task).is_pending());
        let is_full = || group.try_spawn(after(0, Ok(2))).is_err();
        assert!(!is_full(), "the task alone");
        assert!(is_full(), "the task and one more");
    });
}
