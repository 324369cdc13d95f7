//! What an error holds, and what its drop runs.

use super::*;

#[test]
fn others_are_set_once_for_all_clones_but_not_for_the_cause() {
    let error = task("a", "refused");
    let clone = error.clone();
    let end = failed(&error);
    error.set_others(vec![Error::lost("b")], 3);
    error.set_others(Vec::new(), 0);
    assert_eq!((clone.others().len(), clone.omitted()), (1, 3));
    let cause = end.cause();
    let twin = cause.downcast_ref::<Error>().unwrap();
    assert!(twin.others().is_empty() && twin.omitted() == 0);
    assert!(twin.is_same(&error) && !error.is_same(&Error::lost("b")));
}

#[test]
fn any_kind_has_others() {
    let slow = Error::stragglers(Duration::ZERO, names(1), canceled().error());
    let ended = Error::ended(canceled().error(), Vec::new());
    for error in [Error::lost("a"), Error::quorum(2, 1), slow, ended] {
        error.set_others(vec![task("b", "refused")], 0);
        assert_eq!(error.others().len(), 1);
    }
}

#[test]
fn later_failure_that_holds_the_cause_makes_no_cycle() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = || Counted {
        dropped: dropped.clone(),
        panics: false,
    };
    let error = task("a", counted());
    let end = failed(&error);
    let (weak, inner) = (Arc::downgrade(&end), Arc::downgrade(&error.0));
    let later = task("b", end.error());
    let own = task("c", end.cause());
    error.set_others(vec![later, own, task("d", counted())], 0);
    drop((error, end));
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    assert!(weak.upgrade().is_none() && inner.upgrade().is_none());
}

#[test]
fn destructors_that_panic_are_contained_one_by_one() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let bomb = || Counted {
        dropped: dropped.clone(),
        panics: true,
    };
    let error = task("a", bomb());
    let end = failed(&error);
    let others = (0..3).map(|_| task("b", bomb())).collect();
    error.set_others(others, 0);
    drop(error);
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
    drop(end);
    assert_eq!(dropped.load(Ordering::SeqCst), 4);
    drop(vec![task("b", bomb()), task("c", bomb())]);
    drop(canceled_by(bomb()));
    drop(Reserved::new(bomb()));
    drop(Error::panicked("a", Box::new(bomb())));
    assert_eq!(dropped.load(Ordering::SeqCst), 9);
}

#[test]
fn destructors_are_contained_while_another_panic_unwinds() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let bomb = Counted {
        dropped: dropped.clone(),
        panics: true,
    };
    let error = task("a", bomb);
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let _error = error;
        panic!("first");
    }));
    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"first"));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

/// Errors that hold one another in every way there is.
fn deep(levels: usize) -> (Error, Arc<AtomicUsize>) {
    #[derive(Debug)]
    struct Foreign(#[expect(dead_code)] Error);
    impl fmt::Display for Foreign {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("foreign")
        }
    }
    impl StdError for Foreign {}
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut error = task(
        "root",
        Counted {
            dropped: dropped.clone(),
            panics: false,
        },
    );
    for level in 0..levels {
        error = match level % 6 {
            0 => task("a", error),
            1 => task("a", Foreign(error)),
            2 => Error::ended(canceled_by(error).error(), Vec::new()),
            3 => task("a", failed(&error).error()),
            4 => Error::panicked("a", Box::new(error)),
            _ => {
                let first = Error::lost("a");
                first.set_others(vec![error], 0);
                task("b", first)
            }
        };
    }
    (error, dropped)
}

#[test]
fn deep_chain_is_dropped_without_a_deep_stack() {
    let (error, dropped) = deep(100_000);
    drop(error);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn deep_chain_is_read_without_a_deep_stack() {
    let mut error = task("root", request_failed());
    for level in 0..100_000 {
        error = match level % 3 {
            0 => task("a", error),
            1 => Error::ended(canceled_by(error).error(), names(1)),
            _ => task("a", io::Error::other(error)),
        };
    }
    assert!(error.downcast_ref::<RequestFailed>().is_some());
    assert_eq!(error.source().unwrap().to_string(), "connection refused");
    assert!(!error.is_timeout());
    assert!(error.to_string().len() > 100_000 && format!("{error:#}").len() > 100_000);
    assert!(format!("{error:?}").len() > 100_000);
}

#[test]
fn error_in_a_thread_local_is_dropped_with_its_thread() {
    thread_local!(static KEPT: Mutex<Option<Error>> = const { Mutex::new(None) });
    let (error, dropped) = deep(60);
    std::thread::spawn(move || KEPT.with(|kept| *kept.lock().unwrap() = Some(error)))
        .join()
        .unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}
