//! What a clock keeps of one armed sleep. All of it is read and written
//! under that clock's lock, so registering can't miss firing.

use super::heap::{Heap, Key};
use super::sleep::{Outcome, TimerError};
use crate::unwind;
use std::mem;
use std::ops::DerefMut;
use std::task::{Poll, Waker};

pub(super) enum Entry {
    /// Its deadline is to come, and then this one is woken.
    Waiting(Waker),
    /// Its deadline has passed.
    Fired,
    /// Its deadline can't be kept.
    Failed(TimerError),
}

/// Polls the sleep of `key`, among the entries of what `lock` locks. `waker` is
/// cloned, and the one before dropped, under no lock: both are foreign code.
#[inline]
pub(super) fn poll<G: DerefMut>(
    lock: impl Fn() -> G,
    entries: impl Fn(&mut G::Target) -> &mut Heap<Entry>,
    key: &Key,
    waker: &Waker,
) -> Poll<Outcome> {
    let answer = entries(&mut lock()).get(key).answer(waker);
    if let Some(answer) = answer {
        return answer;
    }
    let waker = waker.clone();
    let mut state = lock();
    let entry = entries(&mut state).get_mut(key);
    let answer = entry.answer(&waker);
    let stale = entry.register(waker);
    drop(state);
    unwind::discard(stale);
    answer.unwrap_or(Poll::Pending)
}

impl Entry {
    /// The answer to a poll by `waker`, if none but that one is to be woken.
    /// Compares pointers only, and so may be called under a lock.
    #[inline]
    pub(super) fn answer(&self, waker: &Waker) -> Option<Poll<Outcome>> {
        match self {
            Entry::Waiting(known) => known.will_wake(waker).then_some(Poll::Pending),
            Entry::Fired => Some(Poll::Ready(Ok(()))),
            Entry::Failed(error) => Some(Poll::Ready(Err(error.clone()))),
        }
    }

    /// Registers `waker` instead of the one before. Gives back whichever is of
    /// no more use, to be dropped outside the lock.
    pub(super) fn register(&mut self, waker: Waker) -> Waker {
        match self {
            Entry::Waiting(known) => mem::replace(known, waker),
            _ => waker,
        }
    }

    /// Ends the wait. Returns the waker, to be woken under no lock.
    pub(super) fn end(&mut self, outcome: Outcome) -> Option<Waker> {
        let ended = match outcome {
            Ok(()) => Entry::Fired,
            Err(error) => Entry::Failed(error),
        };
        match mem::replace(self, ended) {
            Entry::Waiting(waker) => Some(waker),
            _ => None,
        }
    }
}
