//! A live reader of a recorder's events.
//!
//! The events wait in a queue under a lock, which grows as they come. Wakers are foreign code, so the reader is woken by
//! an [`AtomicWaker`] beside the lock, never under it.
//!
//! # Invariants
//!
//! 1. **No lost wake-ups.** A reader registers its waker and then looks at the queue; a sender sends and then takes the
//!    waker.
//! 2. **Nothing is lost silently.** An event that makes room for another is counted before that other can be received.
//!    The reader takes the count with each look, so a gap is reported at the latest with the first event behind it.
//! 3. **A dropped reader holds no events.** Its drop takes the queue, and nothing is put into it from there on.

use super::event::Event;
use crate::clock::Instant;
use crate::sync::Mutex;
use crate::unwind;
use futures::stream::Stream;
use futures::task::AtomicWaker;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

/// The recorder's end.
pub(super) struct Subscriber {
    reader: Arc<Reader>,
}

/// The reader's end: see [`Recorder::subscribe`](super::Recorder::subscribe).
pub(super) struct Subscription {
    reader: Arc<Reader>,
    /// The first event behind a gap, which is reported first.
    behind: Option<Event>,
}

struct Reader {
    waker: AtomicWaker,
    queue: Mutex<Queue>,
}

struct Queue {
    events: VecDeque<Event>,
    capacity: usize,
    missed: Option<Missed>,
    ends: Ends,
}

/// Which of the two ends are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Both,
    /// The recorder has been dropped: the stream ends once it has been read.
    Reader,
    /// The reader has been dropped: events are refused.
    Recorder,
}

/// What made room for later events.
#[derive(Clone, Copy)]
struct Missed {
    count: u64,
    /// When the last of them happened.
    at: Instant,
}

pub(super) fn subscription(capacity: NonZeroUsize) -> (Subscriber, Subscription) {
    let queue = Queue {
        events: VecDeque::new(),
        capacity: capacity.get(),
        missed: None,
        ends: Ends::Both,
    };
    let reader = Arc::new(Reader {
        waker: AtomicWaker::new(),
        queue: Mutex::new(queue),
    });
    let subscriber = Subscriber {
        reader: reader.clone(),
    };
    let subscription = Subscription {
        reader,
        behind: None,
    };
    (subscriber, subscription)
}

impl Queue {
    /// Returns the event that made room, if one did.
    fn push(&mut self, event: Event) -> Option<Event> {
        let oldest = match self.events.len() < self.capacity {
            true => None,
            false => self.events.pop_front(),
        };
        if let Some(oldest) = &oldest {
            let count = self.missed.map_or(0, |missed| missed.count) + 1;
            let at = oldest.at;
            self.missed = Some(Missed { count, at });
        }
        self.events.push_back(event);
        oldest
    }
}

impl Subscriber {
    /// False if the reader has been dropped. The caller holds the recorder's lock, so events come one at a time and in order.
    pub(super) fn send(&self, event: Event) -> bool {
        let mut queue = self.reader.queue.lock();
        if queue.ends == Ends::Recorder {
            return false; // invariant 3
        }
        let oldest = queue.push(event);
        drop(queue);
        drop(oldest);
        true
    }

    /// Whether its reader is still there.
    pub(super) fn is_read(&self) -> bool {
        self.reader.queue.lock().ends != Ends::Recorder
    }

    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.reader.waker.take()
    }
}

/// The recorder has been dropped: the stream ends.
impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut queue = self.reader.queue.lock();
        if queue.ends == Ends::Both {
            queue.ends = Ends::Reader;
        }
        drop(queue); // before the wake (invariant 1), which is foreign code
        if let Some(waker) = self.reader.waker.take() {
            super::wake_reader(waker);
        }
    }
}

impl Subscription {
    fn receive(&mut self) -> Poll<Option<Event>> {
        if let Some(behind) = self.behind.take() {
            return Poll::Ready(Some(behind));
        }
        let mut queue = self.reader.queue.lock();
        let Some(event) = queue.events.pop_front() else {
            return match queue.ends {
                Ends::Reader => Poll::Ready(None),
                Ends::Both | Ends::Recorder => Poll::Pending,
            };
        };
        Poll::Ready(Some(match queue.missed.take() {
            None => event,
            Some(Missed { count, at }) => {
                self.behind = Some(event);
                Event::missed(count, at)
            }
        }))
    }
}

/// The waker and the events are dropped here, because the recorder drops its end of the subscription later, or never.
impl Drop for Subscription {
    fn drop(&mut self) {
        let mut queue = self.reader.queue.lock();
        queue.ends = Ends::Recorder;
        let events = std::mem::take(&mut queue.events); // invariant 3
        drop(queue);
        drop(events);
        unwind::discard(self.reader.waker.take());
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Event>> {
        if let Poll::Ready(Some(event)) = self.receive() {
            return Poll::Ready(Some(event));
        }
        self.reader.waker.register(cx.waker()); // invariant 1
        self.receive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_with_their_reader_and_none_come_after() {
        let (subscriber, subscription) = subscription(NonZeroUsize::MAX);
        let event = || Event::missed(1, Instant::now());
        (0..1000).for_each(|_| assert!(subscriber.send(event())));
        assert!(subscriber.is_read());
        drop(subscription);
        assert!(!subscriber.is_read());
        assert!(!subscriber.send(event()));
        assert_eq!(subscriber.reader.queue.lock().events.capacity(), 0);
    }
}
