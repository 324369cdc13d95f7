//! Waiting for a context's end: as a future, or with a callback.

use super::links::{Callback, Content, Entry, Waiter};
use super::node::NodeRef;
use super::walk::call;
use crate::error::End;
use crate::sync::Mutex;
use crate::unwind;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

/// Completes when its context ends: see [`Context::done`](crate::Context::done).
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
    /// `None`: its context never ends.
    waiter: Option<Waiter>,
}

impl Done {
    pub(super) fn new(node: Option<NodeRef>) -> Self {
        Self {
            waiter: node.map(Waiter::new),
        }
    }

    /// The end, if there is one by the clock.
    pub(super) fn end(&self) -> Option<Arc<End>> {
        self.waiter.as_ref()?.node().end_by_clock()
    }

    /// The end, as far as it has been noticed.
    pub(crate) fn noticed(&self) -> Option<Arc<End>> {
        self.waiter.as_ref()?.node().end()
    }

    /// Has the task woken at the end. True if that has come. Reads no clock but by arming a timer.
    pub(crate) fn wait(&mut self, cx: &mut task::Context<'_>) -> bool {
        let Some(waiter) = &mut self.waiter else {
            return false;
        };
        if waiter.node().base().refuses(cx.waker()) {
            return true;
        }
        if !waiter.is_registered() {
            return !register(waiter, cx);
        }
        !waiter.renew(cx.waker()) || waiter.node().poll_due(Some(cx))
    }
}

/// False if the end has come.
fn register(waiter: &mut Waiter, cx: &mut task::Context<'_>) -> bool {
    let waker = cx.waker().clone();
    // First, because arming a timer may show that the deadline has passed.
    waiter.node().base().watch(Some(cx));
    let registered = waiter.register(waker);
    if !registered {
        waiter.node().unwatch();
    }
    registered
}

impl Future for Done {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let Some(waiter) = &self.waiter else {
            return Poll::Pending;
        };
        if waiter.node().is_done() || self.wait(cx) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        let Some(waiter) = &mut self.waiter else {
            return;
        };
        if let Some(waker) = waiter.remove() {
            unwind::discard(waker);
            waiter.node().unwatch(); // else the end has taken it, and watches no longer
        }
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiter = self.waiter.as_ref();
        let done = waiter.is_some_and(|waiter| waiter.node().is_marked());
        f.debug_struct("Done").field("done", &done).finish()
    }
}

/// A callback for a context's end: see [`Context::on_done`](crate::Context::on_done). Dropping it leaves the callback in
/// place.
///
/// It keeps the context, so that the callback can be stopped. Once it is dropped, and all other handles are, the
/// callback waits for what can still end the context: its deadline, its parent, or the contexts that it is linked to.
/// If nothing can, the callback is dropped.
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
    Registered(NodeRef, Arc<Entry>),
    /// Here: its context never ends.
    Kept(Callback),
    /// Called, or stopped.
    Gone,
}

impl OnDone {
    pub(super) fn new(node: Option<NodeRef>, callback: Callback) -> Self {
        let place = match node {
            None => Place::Kept(callback),
            Some(node) => register_callback(node, callback),
        };
        Self {
            place: Mutex::new(place),
        }
    }

    /// Takes the callback back. True once, and only if that prevented the call; false if the callback has been called,
    /// is being called, or has been stopped before.
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
        match place {
            Place::Gone => false,
            Place::Kept(callback) => {
                unwind::discard(callback);
                true
            }
            Place::Registered(node, entry) => {
                let content = node.base().remove_shared(&entry);
                let stopped = content.is_some();
                if stopped {
                    node.unwatch();
                }
                unwind::discard(content);
                stopped
            }
        }
    }
}

fn register_callback(node: NodeRef, callback: Callback) -> Place {
    node.is_done(); // a deadline that has passed counts, even if its timer is late
    node.watch();
    match node.base().add_shared(Content::Callback(callback)) {
        Ok(entry) => Place::Registered(node, entry),
        Err(content) => {
            node.unwatch();
            if let Content::Callback(callback) = content {
                call(callback);
            }
            Place::Gone
        }
    }
}

impl Drop for OnDone {
    fn drop(&mut self) {
        let place = std::mem::replace(self.place.get_mut(), Place::Gone);
        unwind::discard(place); // a callback of a context that never ends is foreign
    }
}

impl fmt::Debug for OnDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = match &*self.place.lock() {
            Place::Registered(node, _) => !node.is_marked(),
            Place::Kept(_) => true,
            Place::Gone => false,
        };
        f.debug_struct("OnDone").field("waits", &waits).finish()
    }
}
