//! What a fan-out costs at least: a box a task, one record a task, a lock on spawn, the waker parked, one counter
//! at the end.
//!
//! No names, limits, contexts or lost tasks, and no care for failures: a measure to orient by, not a design.

use std::cell::UnsafeCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll, Waker};

use crate::hosts::Host;
use crate::work::work;

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The group's fan-out.
pub(crate) async fn fan_out<H: Host>(host: H, n: usize) -> Vec<usize> {
    let group = Group::new();
    for answer in 0..n {
        H::detach(host.spawn(Box::pin(group.job(work(answer))) as Boxed));
    }
    group.wait().await
}

struct Record<T> {
    word: AtomicU8,
    waker: UnsafeCell<Option<Waker>>,
    out: UnsafeCell<Option<T>>,
}

// SAFETY: only its job touches the cells while it runs, and only the group once the count shows that all are through.
unsafe impl<T: Send> Sync for Record<T> {}

impl<T> Record<T> {
    fn empty() -> Self {
        Self {
            word: AtomicU8::new(0),
            waker: UnsafeCell::new(None),
            out: UnsafeCell::new(None),
        }
    }
}

/// How many there are, and where: blocks of 8, 8, 16, 32, … records, which never move.
struct Records<T> {
    length: usize,
    blocks: Vec<Box<[Record<T>]>>,
}

impl<T> Records<T> {
    fn push(&mut self) -> &Record<T> {
        let index = self.length;
        self.length += 1;
        let (block, offset) = match index {
            0..8 => (0, index),
            _ => (index.ilog2() as usize - 2, index - (1 << index.ilog2())),
        };
        if self.blocks.len() == block {
            let size = if block == 0 { 8 } else { 4 << block };
            self.blocks
                .push((0..size).map(|_| Record::empty()).collect());
        }
        &self.blocks[block][offset]
    }
}

struct Shared<T> {
    records: Mutex<Records<T>>,
    /// Running tasks, and 1 for the group.
    live: AtomicUsize,
    owner: Mutex<Option<Waker>>,
    ended: AtomicU8,
}

impl<T> Shared<T> {
    fn leave(&self) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 2 {
            let owner = self
                .owner
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            owner.into_iter().for_each(Waker::wake);
        }
    }
}

struct Job<F, T> {
    future: Option<F>,
    record: *const Record<T>,
    shared: Arc<Shared<T>>,
}

// SAFETY: the record is `Sync`, and lives as long as `shared`.
unsafe impl<F: Send, T: Send> Send for Job<F, T> {}

impl<F: Future<Output = Result<T, E>>, T, E> Future for Job<F, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `shared` keeps it, and records never move.
        let record = unsafe { &*this.record };
        let future = this.future.as_mut().expect("not polled after it was ready");
        // SAFETY: it is part of the pinned job.
        let future = unsafe { Pin::new_unchecked(future) };
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => park(record, &this.shared, cx.waker()),
            Ok(Poll::Ready(Ok(value))) => {
                this.future = None;
                // SAFETY: see `Record`.
                unsafe {
                    *record.out.get() = Some(value);
                    *record.waker.get() = None;
                }
                this.shared.leave();
                Poll::Ready(())
            }
            _ => unreachable!("the floor has no failures"),
        }
    }
}

fn park<T>(record: &Record<T>, shared: &Shared<T>, current: &Waker) -> Poll<()> {
    // SAFETY: see `Record`.
    let waker = unsafe { &mut *record.waker.get() };
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(current)) {
        *waker = Some(current.clone());
    }
    let _ = record
        .word
        .compare_exchange(0, 1, Ordering::Release, Ordering::Relaxed);
    match shared.ended.load(Ordering::Acquire) {
        0 => Poll::Pending,
        _ => Poll::Ready(()),
    }
}

struct Group<T>(Arc<Shared<T>>);

impl<T: Send + 'static> Group<T> {
    fn new() -> Self {
        let records = Records {
            length: 0,
            blocks: Vec::new(),
        };
        Self(Arc::new(Shared {
            records: Mutex::new(records),
            live: AtomicUsize::new(1),
            owner: Mutex::new(None),
            ended: AtomicU8::new(0),
        }))
    }

    #[inline]
    fn job<F>(&self, future: F) -> Job<F, T> {
        let mut records = self
            .0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.0.live.fetch_add(1, Ordering::Relaxed);
        Job {
            future: Some(future),
            record: records.push(),
            shared: self.0.clone(),
        }
    }

    async fn wait(self) -> Vec<T> {
        poll_fn(|cx| {
            *self.0.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            match self.0.live.load(Ordering::Acquire) {
                1 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
        let records = self
            .0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = records.blocks.iter().flat_map(|block| block.iter());
        // SAFETY: all jobs are through, so no other thread reads the records.
        all.take(records.length)
            .filter_map(|record| unsafe { (*record.out.get()).take() })
            .collect()
    }
}
