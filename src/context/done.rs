//! Waiting for a context's end: as a future, around a future, or with a callback.

use super::Context;
use super::life::Life;
use super::tree::{Callback, Key, Watcher};
use crate::error::ContextError;
use crate::guard;
use crate::sync::Mutex;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

/// Completes when its context ends: see [`Context::done`].
///
/// # Cancel safety
///
/// Dropping it leaves nothing behind.
///
/// # Examples
///
/// ```
/// use failfast::Context;
///
/// let (ctx, canceller) = Context::background().with_cancel();
/// let done = ctx.done();
/// canceller.cancel();
/// smol::block_on(done);
/// assert!(ctx.is_done());
/// ```
#[must_use = "a future does nothing until it is awaited"]
pub struct Done {
    life: Option<Arc<Life>>,
    registered: Option<Key>,
}

impl Done {
    pub(super) fn new(life: Option<Arc<Life>>) -> Self {
        Self {
            life,
            registered: None,
        }
    }
}

impl Future for Done {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let Self {
            life: Some(life),
            registered,
        } = &mut *self
        else {
            return Poll::Pending;
        };
        if life.is_done() || !wait(life, registered, cx) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Sees to it that the task is woken at the end. False if that has come.
fn wait(life: &Arc<Life>, registered: &mut Option<Key>, cx: &task::Context<'_>) -> bool {
    if let Some(key) = *registered {
        return life.rewatch(key, cx.waker());
    }
    match life.watch(Watcher::Task(cx.waker().clone())) {
        Ok(key) => *registered = Some(key),
        Err(_) => return false,
    }
    !life.has_ended() // arming the timer may have shown that it is time
}

impl Drop for Done {
    fn drop(&mut self) {
        if let (Some(life), Some(key)) = (&self.life, self.registered) {
            guard::discard(life.unwatch(key));
        }
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.life.as_ref().is_some_and(|life| life.has_ended());
        f.debug_struct("Done").field("done", &done).finish()
    }
}

pin_project! {
    /// `future`, until the context ends.
    pub(super) struct Run<F> {
        #[pin]
        future: Option<F>,
        ctx: Context,
        done: Done,
    }
}

impl<F> Run<F> {
    pub(super) fn new(ctx: Context, future: F) -> Self {
        Self {
            future: Some(future),
            done: ctx.done(),
            ctx,
        }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, ContextError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(error) = this.ctx.err() {
            this.future.set(None);
            return Poll::Ready(Err(error));
        }
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            unreachable!("`run` was polled after it had completed")
        };
        if let Poll::Ready(output) = future.poll(cx) {
            this.future.set(None);
            return Poll::Ready(Ok(output));
        }
        // Only now is there something to wait for: what completes at once registers nothing.
        match Pin::new(this.done).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                this.future.set(None);
                Poll::Ready(Err(this.ctx.err().unwrap_or(ContextError::Canceled)))
            }
        }
    }
}

/// A callback for a context's end: see [`Context::on_done`]. Dropping it leaves the callback in place.
///
/// # Examples
///
/// ```
/// use failfast::Context;
///
/// let (ctx, canceller) = Context::background().with_cancel();
/// let (sender, receiver) = std::sync::mpsc::channel();
/// drop(ctx.on_done(move || sender.send(()).unwrap()));
/// canceller.cancel();
/// assert_eq!(receiver.recv(), Ok(()));
/// ```
#[must_use = "keep it to be able to stop the callback; dropping it leaves the callback in place"]
pub struct OnDone {
    place: Mutex<Place>,
}

/// Where the callback is.
enum Place {
    /// With a context that can end.
    Registered(Arc<Life>, Key),
    /// Here: its context never ends.
    Kept(Callback),
    /// Called, or stopped.
    Gone,
}

impl OnDone {
    pub(super) fn new(life: Option<Arc<Life>>, callback: Callback) -> Self {
        let place = match life {
            None => Place::Kept(callback),
            Some(life) => register(life, callback),
        };
        Self {
            place: Mutex::new(place),
        }
    }

    /// Takes the callback back. True once, and only if that prevented the call; false if the callback has
    /// been called, is being called, or has been stopped before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::Context;
    /// let (ctx, canceller) = Context::background().with_cancel();
    /// let callback = ctx.on_done(|| unreachable!("it was stopped"));
    /// assert!(callback.stop());
    /// assert!(!callback.stop());
    /// canceller.cancel();
    /// ```
    pub fn stop(&self) -> bool {
        let place = std::mem::replace(&mut *self.place.lock(), Place::Gone);
        let prevented = match place {
            Place::Gone => None,
            Place::Kept(callback) => Some(Watcher::Callback(callback)),
            Place::Registered(life, key) => life.unwatch(key),
        };
        let stopped = prevented.is_some();
        guard::discard(prevented);
        stopped
    }
}

fn register(life: Arc<Life>, callback: Callback) -> Place {
    life.is_done(); // a deadline that is past counts, even if its timer is late
    match life.watch(Watcher::Callback(callback)) {
        Ok(key) => Place::Registered(life, key),
        Err(watcher) => {
            if let Watcher::Callback(callback) = watcher {
                guard::shield("an on_done callback", callback);
            }
            Place::Gone
        }
    }
}

impl fmt::Debug for OnDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = match &*self.place.lock() {
            Place::Registered(life, _) => !life.has_ended(),
            Place::Kept(_) => true,
            Place::Gone => false,
        };
        f.debug_struct("OnDone").field("waits", &waits).finish()
    }
}
