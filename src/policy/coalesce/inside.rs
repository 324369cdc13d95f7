//! Which flights a call is inside of.
//!
//! A source that calls itself with the key of its own flight would wait for itself. This is found by its context: each
//! flight adds itself to a value of the context that its source is called under.

use super::wakers::Wakers;
use crate::context::Context;
use std::sync::{Arc, Weak};

/// A value of a flight's context: the flight, and those around it. A flight is identified by its wakers, because their
/// address is not used again while this weak reference exists, and they keep nothing of the flight.
struct Inside(Vec<Weak<Wakers>>);

/// A context for what the flight with these wakers calls.
pub(super) fn enter(ctx: &Context, wakers: &Arc<Wakers>) -> Context {
    let outer = ctx.value::<Inside>().map_or(&[][..], |inside| &inside.0);
    let all = outer.iter().cloned().chain([Arc::downgrade(wakers)]);
    ctx.with_value(Inside(all.collect()))
}

/// Whether a call under `ctx` was made by the flight with these wakers.
pub(super) fn is_inside(ctx: &Context, wakers: &Arc<Wakers>) -> bool {
    let inside = ctx.value::<Inside>();
    inside.is_some_and(|inside| {
        inside
            .0
            .iter()
            .any(|flight| std::ptr::eq(flight.as_ptr(), Arc::as_ptr(wakers)))
    })
}

/// A coalesced source called itself with the key of its own flight.
#[derive(Debug, thiserror::Error)]
#[error("a coalesced call waits for itself: its source called it again with the same key")]
pub(super) struct WaitsForItself;
