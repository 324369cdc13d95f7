//! Groups in place: wakes, spawns and ends against a drive.

use super::*;

/// Set and woken by another thread; nothing but the waker orders the two.
#[derive(Clone, Default)]
struct Flag(Arc<(AtomicBool, Mutex<Option<Waker>>)>);

/// Weakened: `note_woken` and `take_woken` with relaxed orderings have the poll miss the flag.
#[test]
fn wake_against_poll_in_place() {
    // Section 4: each is polled when it was woken: a flag that is set before the wake is seen.
    check(3, || {
        let flag = Flag::default();
        let its_flag = flag.clone();
        let mut group = LocalInPlaceGroup::new(&Context::background());
        group.spawn(poll_fn(move |cx| {
            its_flag
                .0
                .1
                .lock()
                .unwrap()
                .get_or_insert_with(|| cx.waker().clone());
            match its_flag.0.0.load(Ordering::Relaxed) {
                true => Poll::Ready(Outcome::Ok(1)),
                false => Poll::Pending,
            }
        }));
        let mut next = Box::pin(group.next());
        assert!(poll_once(&mut next).is_pending());
        let waker = flag.0.1.lock().unwrap().clone().unwrap();
        waker.wake_by_ref(); // a spurious one, which is being served while the other comes
        let setting = thread::spawn(move || {
            flag.0.0.store(true, Ordering::Relaxed);
            waker.wake();
        });
        assert_eq!(block_on(next).unwrap().unwrap(), 1);
        setting.join().unwrap();
    });
}

/// Weakened: `leave` that does not look at what was pushed during the drive leaves the new task unpolled.
#[test]
fn spawn_against_poll_in_place() {
    // Section 4: a task that comes while the others are being polled is polled, too.
    check(3, || {
        let group = InPlaceGroup::<u32>::new(&Context::background());
        let handle = group.handle();
        group.spawn(pending::<Outcome>());
        let spawning = thread::spawn(move || handle.spawn(async { Err(Refused(1)) }).is_ok());
        let error = block_on(group.wait()).unwrap_err();
        assert_eq!(refusal(&error), Some(&Refused(1)));
        assert!(spawning.join().unwrap());
    });
}

/// Weakened: `note_woken` and `take_woken` with relaxed orderings lose the end of the context.
#[test]
fn cancel_against_poll_in_place() {
    // Section 4: same engine, same semantics.
    check(2, || {
        let (parent, canceller) = Context::background().with_cancel();
        let group = InPlaceGroup::new(&parent);
        group.spawn(pending::<Outcome>());
        let canceling = thread::spawn(move || canceller.cancel());
        assert!(block_on(group.wait()).unwrap_err().is_canceled());
        canceling.join().unwrap();
    });
}
