//! A live reader of a recorder's events.
//!
//! The events wait in a bounded channel. Its own wake-ups are not used, because it wakes while it holds its list of
//! waiters: a waker that drops a task which waits there would never return. So the reader polls the channel without
//! waiting in it, and is woken by an [`AtomicWaker`], under no lock.
//!
//! # Invariants
//!
//! 1. **No lost wake-ups.** A reader registers its waker and then looks at the channel; a sender sends and then takes the
//!    waker.
//! 2. **Nothing is lost silently.** An event that makes room for another is counted before that other can be received.
//!    The reader takes the count with each look, so a gap is reported at the latest with the first event behind it.

use super::event::Event;
use crate::clock::Instant;
use crate::sync::Mutex;
use crate::unwind;
use async_channel::{Receiver, Sender, TryRecvError};
use futures::stream::Stream;
use futures::task::AtomicWaker;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

/// The recorder's end.
pub(super) struct Subscriber {
    events: Sender<Event>,
    reader: Arc<Reader>,
}

/// The reader's end: see [`Recorder::subscribe`](super::Recorder::subscribe).
pub(super) struct Subscription {
    events: Receiver<Event>,
    reader: Arc<Reader>,
    /// The first event behind a gap, which is reported first.
    behind: Option<Event>,
}

#[derive(Default)]
struct Reader {
    waker: AtomicWaker,
    missed: Mutex<Option<Missed>>,
}

/// What made room for later events.
#[derive(Clone, Copy)]
struct Missed {
    count: u64,
    /// When the last of them happened.
    at: Instant,
}

pub(super) fn subscription(capacity: NonZeroUsize) -> (Subscriber, Subscription) {
    let (sender, receiver) = async_channel::bounded(capacity.get());
    let reader = Arc::new(Reader::default());
    let subscriber = Subscriber {
        events: sender,
        reader: reader.clone(),
    };
    let subscription = Subscription {
        events: receiver,
        reader,
        behind: None,
    };
    (subscriber, subscription)
}

impl Subscriber {
    /// False if the reader is gone. The caller holds the recorder's lock, so events come one at a time and in order.
    pub(super) fn send(&self, event: Event) -> bool {
        let mut missed = self.reader.missed.lock(); // invariant 2: until the event is there
        match self.events.force_send(event) {
            Ok(oldest) => {
                if let Some(oldest) = oldest {
                    let count = missed.map_or(0, |missed| missed.count) + 1;
                    *missed = Some(Missed {
                        count,
                        at: oldest.at,
                    });
                }
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.reader.waker.take()
    }
}

/// The recorder is gone: the stream ends.
impl Drop for Subscriber {
    fn drop(&mut self) {
        self.events.close();
        if let Some(waker) = self.reader.waker.take() {
            super::wake_reader(waker);
        }
    }
}

impl Subscription {
    fn receive(&mut self) -> Result<Event, TryRecvError> {
        if let Some(behind) = self.behind.take() {
            return Ok(behind);
        }
        let mut missed = self.reader.missed.lock();
        let event = self.events.try_recv()?;
        match missed.take() {
            None => Ok(event),
            Some(Missed { count, at }) => {
                self.behind = Some(event);
                Ok(Event::missed(count, at))
            }
        }
    }
}

/// The waker is dropped here, because the recorder drops its end of the subscription under its lock.
impl Drop for Subscription {
    fn drop(&mut self) {
        self.events.close();
        unwind::discard(self.reader.waker.take());
    }
}

/// The channel is not waited in, so nothing of it is pinned.
impl Unpin for Subscription {}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Event>> {
        if let Ok(event) = self.receive() {
            return Poll::Ready(Some(event));
        }
        self.reader.waker.register(cx.waker()); // invariant 1
        match self.receive() {
            Ok(event) => Poll::Ready(Some(event)),
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }
}
