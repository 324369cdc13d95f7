//! A time limit that a group sets itself once it has ended: it goes off without anybody polling.

use super::core::Core;
use crate::context::{Context, OnDone};
use std::sync::Weak;
use std::time::Duration;

/// Stops when dropped.
pub(super) struct Alarm(OnDone);

impl Alarm {
    /// Calls `ring` after `delay`, by the clock of `ctx`, if the group is still there.
    pub(super) fn new(ctx: &Context, core: Weak<Core>, delay: Duration, ring: fn(&Core)) -> Self {
        // A context of its own: the group's has ended, and a deadline brings its own timer.
        let limit = ctx.without_cancel().with_timeout(delay);
        Self(limit.on_done(move || core.upgrade().iter().for_each(|core| ring(core))))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.stop();
    }
}
