//! Which part of a call's time is a wait of our own: for a permit or a token.
//!
//! A breaker with `slow_after` measures the service, so such waits must not count. It can't see them, because they happen
//! somewhere inside of what it polls. So whatever waits leaves a note with the thread that polls it, and the breaker
//! reads the notes after each poll. That costs no allocation and no reference.
//!
//! Several attempts may be polled in one poll: a hedge's. If one of them waits and another one is being served, the call
//! is being served.

use std::cell::Cell;

thread_local! {
    static NOTES: Cell<Notes> = const { Cell::new(Notes::NONE) };
}

#[derive(Clone, Copy)]
struct Notes {
    waits: bool,
    served: bool,
}

impl Notes {
    const NONE: Self = Self {
        waits: false,
        served: false,
    };

    fn and(self, other: Self) -> Self {
        Self {
            waits: self.waits || other.waits,
            served: self.served || other.served,
        }
    }
}

/// Notes that a permit or a token is being waited for.
pub(super) fn note_wait() {
    NOTES.set(NOTES.get().and(Notes {
        waits: true,
        ..Notes::NONE
    }));
}

/// Polls what has its permit or token, and notes that it is being served, unless it waits for another one further in.
pub(super) fn served<R>(poll: impl FnOnce() -> R) -> R {
    let (polled, waits) = observe(poll);
    let served = !waits;
    NOTES.set(NOTES.get().and(Notes {
        served,
        ..Notes::NONE
    }));
    polled
}

/// Polls, and returns whether all that was polled waits for a permit or a token.
pub(super) fn observe<R>(poll: impl FnOnce() -> R) -> (R, bool) {
    let outer = Restore(NOTES.replace(Notes::NONE));
    let polled = poll();
    let inner = NOTES.get();
    drop(outer);
    NOTES.set(NOTES.get().and(inner));
    (polled, inner.waits && !inner.served)
}

/// Restores the notes of the poll around this one, also when that unwinds.
struct Restore(Notes);

impl Drop for Restore {
    fn drop(&mut self) {
        NOTES.set(self.0);
    }
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seen_through_every_layer() {
        let (_, waits) = observe(|| observe(|| served(note_wait)));
        assert!(waits);
        let (_, waits) = observe(|| {});
        assert!(!waits, "and it is over with the poll");
    }

    #[test]
    fn one_that_is_served_outweighs_those_that_wait() {
        let (_, waits) = observe(|| {
            note_wait();
            served(|| {});
            note_wait();
        });
        assert!(!waits);
    }

    #[test]
    fn a_panic_leaves_the_outer_notes_as_they_were() {
        let (_, waits) = observe(|| {
            note_wait();
            let caught = crate::unwind::contain(|| served(|| panic!("boom")));
            assert!(caught.is_err());
        });
        assert!(waits);
    }
}
