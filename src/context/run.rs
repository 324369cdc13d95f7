//! A future for as long as a context lives.

use super::done::Done;
use super::node::NodeRef;
use crate::error::ContextError;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

pin_project! {
    /// `future`, until the context ends.
    pub(super) struct Run<F> {
        #[pin]
        future: Option<F>,
        done: Done,
    }
}

impl<F> Run<F> {
    pub(super) fn new(node: Option<NodeRef>, future: F) -> Self {
        Self {
            future: Some(future),
            done: Done::new(node),
        }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, ContextError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(end) = this.done.end() {
            this.future.set(None);
            return Poll::Ready(Err(end.error()));
        }
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            unreachable!("`run` was polled after it had completed")
        };
        if let Poll::Ready(output) = future.poll(cx) {
            this.future.set(None);
            return Poll::Ready(Ok(output));
        }
        // Only now is there something to wait for: what completes at once registers nothing, and allocates nothing.
        if !this.done.wait(cx) {
            return Poll::Pending;
        }
        match this.done.end() {
            None => Poll::Pending,
            Some(end) => {
                this.future.set(None);
                Poll::Ready(Err(end.error()))
            }
        }
    }
}
