//! What is known of wakers on this thread, and how it comes to be known.

use super::{Standing, WakerKind, kind_of};
use crate::unwind;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::mpsc::{self, Receiver};
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// So many wake-ups without a panic make a kind sound.
const ENOUGH: u8 = 3;

/// After so many looks without a result a kind is sound by assumption: an executor may poll by other tables than it keeps,
/// or never have two tasks, and each look costs more than a poll.
const MOST_LOOKS: u8 = 64;

/// How long a thread waits for a wake-up on another. Long, because a panic that prints its backtrace takes a second on a
/// busy machine; and not longer, because an executor that polls under a lock which its wakers take stands still meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many kinds are tried on a thread. More are sound by assumption, so that no thread is busy with trying.
const MOST_KINDS: usize = 32;

thread_local! {
    /// The kinds that were asked for last, for a look that costs a comparison.
    static SOUND: Cell<WakerKind> = const { Cell::new(ptr::null()) };
    static BROKEN: Cell<WakerKind> = const { Cell::new(ptr::null()) };
    /// See [`rely`].
    static RELIED: Cell<bool> = const { Cell::new(false) };
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

struct Known {
    kind: WakerKind,
    broken: bool,
    /// How often it was woken without a panic.
    clean: u8,
    /// How often it was asked for while nothing was known.
    looks: u8,
    /// A wake-up goes on.
    unfinished: Option<Trial>,
}

/// What will come of a wake-up on another thread: whether it panicked, and the waker.
type Trial = Receiver<(bool, Waker)>;

/// What is left of a trial is a foreign waker.
impl Drop for Known {
    fn drop(&mut self) {
        let left = self.unfinished.take();
        unwind::discard(left.and_then(|trial| trial.try_recv().ok()));
    }
}

impl Known {
    fn new(kind: WakerKind) -> Self {
        Self {
            kind,
            broken: false,
            clean: 0,
            looks: 0,
            unfinished: None,
        }
    }

    fn look(&mut self) -> Standing {
        match (self.broken, self.clean) {
            (true, _) => return Standing::Broken,
            (_, ENOUGH..) => return Standing::Sound,
            _ if self.unfinished.is_some() => return Standing::Unfinished,
            _ => self.looks = self.looks.saturating_add(1),
        }
        match self.looks > MOST_LOOKS {
            true => Standing::Sound,
            false => Standing::Unknown,
        }
    }

    fn note(&mut self, panicked: bool) {
        self.broken |= panicked;
        self.clean = self.clean.saturating_add(u8::from(!panicked));
    }
}

/// Whether any thread may wake a waker of this kind, as far as the latest one tells that was asked for.
#[inline]
pub(crate) fn is_sound(waker: &Waker) -> bool {
    SOUND.get() == kind_of(waker)
}

/// Whether a waker of this kind has panicked on another thread.
#[inline]
pub(crate) fn is_broken(waker: &Waker) -> bool {
    BROKEN.get() == kind_of(waker)
}

/// Notes that something on this thread waits for the system's clock from now on.
#[inline]
pub(crate) fn rely() {
    RELIED.set(true);
}

/// Whether something has begun to do so since this was last asked.
#[inline]
pub(crate) fn has_relied() -> bool {
    RELIED.replace(false)
}

pub(crate) fn standing(kind: WakerKind) -> Standing {
    // A panic there would be the end of the process, and a deadline that comes may never be needed.
    if cfg!(panic = "abort") || SOUND.get() == kind {
        return Standing::Sound;
    }
    finish(kind);
    let standing = with(kind, Known::look).unwrap_or(Standing::Sound);
    match standing {
        Standing::Unknown | Standing::Unfinished => {}
        Standing::Sound => SOUND.set(kind),
        Standing::Broken => BROKEN.set(kind),
    }
    standing
}

/// Wakes a task of this thread, which is asleep, on another thread, and notes what comes of it for `kind`. The task is
/// woken in any case.
///
/// Foreign code, and a wait: call it under no lock.
pub(crate) fn try_out(kind: WakerKind, sleeper: Waker) -> Standing {
    try_within(PATIENCE, kind, sleeper)
}

fn try_within(patience: Duration, kind: WakerKind, sleeper: Waker) -> Standing {
    let trial = wake_elsewhere(sleeper);
    let outcome = trial.recv_timeout(patience);
    // The wait parks this thread, and may have taken a token that an executor's waker has left for the executor's own park.
    thread::current().unpark();
    match outcome {
        Ok((panicked, sleeper)) => note(kind, panicked, sleeper),
        Err(_) => {
            with(kind, |known| known.unfinished = Some(trial));
        }
    }
    standing(kind)
}

/// What has come of a wake-up that went on for long.
fn finish(kind: WakerKind) {
    let finished = with(kind, |known| {
        let finished = known.unfinished.as_ref()?.try_recv().ok()?;
        known.unfinished = None;
        Some(finished)
    });
    if let Some((panicked, sleeper)) = finished.flatten() {
        if !panicked {
            // Enough, because this thread must not stand still so long a second time.
            with(kind, |known| known.clean = ENOUGH);
        }
        note(kind, panicked, sleeper);
    }
}

fn note(kind: WakerKind, panicked: bool, sleeper: Waker) {
    with(kind, |known| known.note(panicked));
    match panicked {
        true => unwind::wake(sleeper),
        false => unwind::discard(sleeper),
    }
}

/// What is known of a kind. `None` where there are too many, and late in a thread's life, when nothing is known any more.
fn with<R>(kind: WakerKind, change: impl FnOnce(&mut Known) -> R) -> Option<R> {
    let with = |known: &RefCell<Vec<Known>>| {
        let mut all = known.borrow_mut();
        let place = match all.iter().position(|known| known.kind == kind) {
            Some(place) => place,
            None if all.len() < MOST_KINDS => {
                all.push(Known::new(kind));
                all.len() - 1
            }
            None => return None,
        };
        Some(change(&mut all[place]))
    };
    KNOWN.try_with(with).ok().flatten()
}

fn wake_elsewhere(sleeper: Waker) -> Trial {
    let (done, trial) = mpsc::sync_channel(1);
    crate::clock::aside(move || {
        let panicked = panics(&sleeper);
        if let Err(mpsc::SendError((_, sleeper))) = done.send((panicked, sleeper)) {
            unwind::discard(sleeper);
        }
    });
    trial
}

/// A waker of the library's, around one that panics, catches the panic: so they are counted.
fn panics(sleeper: &Waker) -> bool {
    let before = unwind::caught();
    unwind::shield("a waker", || sleeper.wake_by_ref());
    unwind::caught() != before
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::task::Wake;
    use std::thread;

    const MOMENT: Duration = Duration::from_millis(20);

    struct Act<F>(F);

    impl<F: Fn() + Send + Sync + 'static> Wake for Act<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    fn waker(act: impl Fn() + Send + Sync + 'static) -> Waker {
        Waker::from(Arc::new(Act(act)))
    }

    /// What is known is known to a thread.
    fn on_a_thread(test: impl FnOnce() + Send + 'static) {
        thread::spawn(test).join().expect("no panic");
    }

    #[test]
    fn kind_is_sound_after_enough_wakes_without_a_panic() {
        on_a_thread(|| {
            let home = thread::current().id();
            let sound = waker(move || assert_ne!(thread::current().id(), home));
            let kind = kind_of(&sound);
            for _ in 1..ENOUGH {
                assert_eq!(try_out(kind, sound.clone()), Standing::Unknown);
                assert!(!is_sound(&sound));
            }
            assert_eq!(try_out(kind, sound.clone()), Standing::Sound);
            assert!(is_sound(&sound) && !is_broken(&sound));
            assert_eq!(standing(kind_of(Waker::noop())), Standing::Unknown);
            assert_eq!(standing(kind), Standing::Sound);
        });
    }

    #[test]
    fn kind_is_broken_by_one_panic_and_the_task_is_woken_here() {
        on_a_thread(|| {
            let home = thread::current().id();
            let wakes = Arc::new(Mutex::new(0));
            let count = wakes.clone();
            let broken = waker(move || {
                assert_eq!(thread::current().id(), home, "woken elsewhere");
                *count.lock().unwrap() += 1;
            });
            assert_eq!(try_out(kind_of(&broken), broken.clone()), Standing::Broken);
            assert_eq!(*wakes.lock().unwrap(), 1);
            assert!(is_broken(&broken) && !is_sound(&broken));
        });
    }

    #[test]
    fn panic_inside_of_a_waker_of_ours_is_seen() {
        on_a_thread(|| {
            let around = waker(|| unwind::wake(waker(|| panic!("inner"))));
            assert_eq!(try_out(kind_of(&around), around.clone()), Standing::Broken);
        });
    }

    #[test]
    fn wake_that_takes_long_is_waited_for_once_and_noted_in_the_end() {
        on_a_thread(|| {
            let home = thread::current().id();
            let gate = Arc::new(Mutex::new(()));
            let (closed, passage) = (gate.lock().unwrap(), gate.clone());
            let slow = waker(move || {
                drop(passage.lock());
                assert_eq!(thread::current().id(), home, "woken elsewhere");
            });
            let kind = kind_of(&slow);
            let standing_then = try_within(MOMENT, kind, slow.clone());
            assert_eq!(standing_then, Standing::Unfinished);
            assert_eq!(standing(kind), Standing::Unfinished);
            drop(closed);
            while standing(kind) == Standing::Unfinished {
                thread::yield_now();
            }
            assert!(is_broken(&slow));
        });
    }

    #[test]
    fn a_kind_that_is_never_asleep_is_sound_after_the_most_looks() {
        on_a_thread(|| {
            let kind = ptr::without_provenance(8);
            for _ in 0..MOST_LOOKS {
                assert_eq!(standing(kind), Standing::Unknown);
            }
            assert_eq!(standing(kind), Standing::Sound);
            assert_eq!(SOUND.get(), kind, "from now on a look is a comparison");
        });
    }

    #[test]
    fn no_more_kinds_are_tried_than_the_most() {
        on_a_thread(|| {
            for kind in 1..=MOST_KINDS {
                let kind = ptr::without_provenance(kind);
                assert_eq!(standing(kind), Standing::Unknown);
                with(kind, |known| known.note(false));
            }
            assert_eq!(standing(ptr::without_provenance(1)), Standing::Unknown);
            assert_eq!(
                standing(ptr::without_provenance(MOST_KINDS + 1)),
                Standing::Sound
            );
        });
    }

    #[test]
    fn wake_that_takes_long_and_does_not_panic_is_enough() {
        on_a_thread(|| {
            let gate = Arc::new(Mutex::new(()));
            let (closed, passage) = (gate.lock().unwrap(), gate.clone());
            let slow = waker(move || drop(passage.lock()));
            let kind = kind_of(&slow);
            let standing_then = try_within(MOMENT, kind, slow.clone());
            assert_eq!(standing_then, Standing::Unfinished);
            drop(closed);
            while standing(kind) == Standing::Unfinished {
                thread::yield_now();
            }
            assert!(is_sound(&slow), "after one wake-up");
        });
    }

    /// Of a kind that is one too many nothing is noted, so that its waker is dropped where it was woken.
    #[test]
    fn waker_that_is_not_waited_for_is_dropped_after_its_wake_up() {
        on_a_thread(|| {
            let gate = Arc::new(Mutex::new(()));
            let (closed, passage) = (gate.lock().unwrap(), gate.clone());
            let act = Arc::new(Act(move || drop(passage.lock())));
            let left = Arc::downgrade(&act);
            let slow = Waker::from(act);
            for other in 1..=MOST_KINDS {
                standing(ptr::without_provenance(other));
            }
            assert_eq!(try_within(MOMENT, kind_of(&slow), slow), Standing::Sound);
            assert!(left.strong_count() > 0, "it is being woken");
            drop(closed);
            while left.strong_count() > 0 {
                thread::yield_now();
            }
        });
    }
}
