//! The caller's end, for a policy that waits for something of its own: a permit, a token, a shared call.

use crate::context::{Context, Done};
use crate::error::Fault;
use std::task;

/// Watches for the end of one context. It registers, and arms a timer, only once there is something to wait for.
#[derive(Default)]
pub(super) struct Watch(Option<Done>);

impl Watch {
    /// The fault, if `ctx` has ended. If not, the task is woken when it does.
    pub(super) fn poll(&mut self, ctx: &Context, cx: &mut task::Context<'_>) -> Option<Fault> {
        let done = self.0.get_or_insert_with(|| ctx.done());
        if !done.wait(cx) {
            return None;
        }
        done.noticed().map(|end| Fault::ended(end.error()))
    }
}

/// The fault, if `ctx` has ended before anything began.
pub(super) fn ended_before(ctx: &Context) -> Option<Fault> {
    ctx.err().map(|end| Fault::ended(end).not_begun())
}
