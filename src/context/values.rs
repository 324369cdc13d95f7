//! What travels with a call besides its lifetime: typed values, the nearest wins.

use super::deadline::ClockRef;
use crate::observe::port::ObserverRef;
use crate::unwind;
use std::any::{Any, type_name};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One value and the way to those set before it. One allocation each.
pub(super) struct Value<V: ?Sized = dyn Carried> {
    before: Before,
    /// The clock at this layer, so that it need not be looked for.
    clock: ClockRef,
    /// As the clock.
    observer: ObserverRef,
    pub(super) depth: u32,
    /// For `Debug`.
    pub(super) label: Label,
    value: V,
}

/// A list of values, shared from its newest on.
pub(super) type Values = Option<Arc<Value>>;

enum Before {
    One(Values),
    /// A linked context looks through all of its sources, in their order.
    Several(Box<[Values]>),
}

#[derive(Clone, Copy)]
pub(super) enum Label {
    Value(&'static str),
    Clock,
    Observer,
    WithoutCancel,
    /// Not a layer of its own: it shows as the linked lifetime, or as the group.
    Hidden,
}

/// A value of the user's, as the list sees it.
pub(super) trait Carried: Send + Sync {
    fn as_any(&self) -> &dyn Any;
}

/// Contains what the value's destructor throws, because others may have to be dropped while it unwinds.
struct Contained<T: Send + Sync + 'static>(Option<T>);

impl<T: Send + Sync + 'static> Carried for Contained<T> {
    fn as_any(&self) -> &dyn Any {
        match &self.0 {
            Some(value) => value,
            None => &(),
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Contained<T> {
    fn drop(&mut self) {
        unwind::discard_in_turn(self.0.take());
    }
}

/// The layers that carry nothing for users.
struct Marker;

impl Carried for Marker {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

pub(super) fn with<T: Send + Sync + 'static>(before: &Values, depth: u32, value: T) -> Values {
    let label = Label::Value(type_name::<T>());
    let carried = (clock(before), observer(before));
    push(before, carried, depth, label, Contained(Some(value)))
}

pub(super) fn with_clock(before: &Values, depth: u32, clock: ClockRef) -> Values {
    push(
        before,
        (clock, observer(before)),
        depth,
        Label::Clock,
        Marker,
    )
}

pub(super) fn with_observer(before: &Values, depth: u32, observer: ObserverRef) -> Values {
    push(
        before,
        (clock(before), observer),
        depth,
        Label::Observer,
        Marker,
    )
}

pub(super) fn in_observed_group(before: &Values, depth: u32, observer: ObserverRef) -> Values {
    push(
        before,
        (clock(before), observer),
        depth,
        Label::Hidden,
        Marker,
    )
}

pub(super) fn without_cancel(before: &Values, depth: u32) -> Values {
    let carried = (clock(before), observer(before));
    push(before, carried, depth, Label::WithoutCancel, Marker)
}

/// All the values of several contexts; the first context that has one wins.
pub(super) fn merged(mut sources: Vec<Values>, depth: u32) -> Values {
    sources.retain(Option::is_some);
    if sources.len() < 2 {
        return sources.pop().flatten();
    }
    let clocks = sources.iter().map(clock);
    let clock = clocks.into_iter().find(|clock| !clock.is_system());
    let observer = sources.iter().find_map(observer);
    Some(Arc::new(Value {
        before: Before::Several(sources.into()),
        clock: clock.unwrap_or_default(),
        observer,
        depth,
        label: Label::Hidden,
        value: Marker,
    }))
}

fn push<V: Carried + 'static>(
    before: &Values,
    (clock, observer): (ClockRef, ObserverRef),
    depth: u32,
    label: Label,
    value: V,
) -> Values {
    Some(Arc::new(Value {
        before: Before::One(before.clone()),
        clock,
        observer,
        depth,
        label,
        value,
    }))
}

/// The nearest value of type `T`.
#[inline]
pub(super) fn find<T: 'static>(values: &Values) -> Option<&T> {
    values.as_ref()?; // most contexts have none, and need no walk
    layers(values).find_map(|layer| layer.value.as_any().downcast_ref())
}

/// The nearest clock.
pub(super) fn clock(values: &Values) -> ClockRef {
    values
        .as_ref()
        .map_or_else(ClockRef::default, |layer| layer.clock.clone())
}

/// The nearest observer.
#[inline]
pub(super) fn observer(values: &Values) -> ObserverRef {
    values.as_ref().and_then(|layer| layer.observer.clone())
}

/// Looks at the nearest clock, and touches no count.
pub(super) fn with_clock_of<R>(values: &Values, look: impl FnOnce(&ClockRef) -> R) -> R {
    match values {
        Some(layer) => look(&layer.clock),
        None => look(&ClockRef::default()),
    }
}

/// All layers, the nearest first; without recursion, however deep. Where links meet again (contexts linked that were
/// linked before), what lies behind is looked through once.
pub(super) fn layers(values: &Values) -> impl Iterator<Item = &Value> {
    let mut next = values.as_deref();
    let mut others = Vec::new(); // these two allocate only where contexts were linked
    let mut seen = BTreeSet::new();
    std::iter::from_fn(move || {
        let layer = next.or_else(|| others.pop())?;
        next = match &layer.before {
            Before::One(before) => before.as_deref(),
            Before::Several(sources) => {
                if seen.insert(sources.as_ptr()) {
                    others.extend(sources.iter().rev().filter_map(Option::as_deref));
                }
                None
            }
        };
        Some(layer)
    })
}

/// Drops the list in a loop, because the default would recurse once for each value.
impl<V: ?Sized> Drop for Value<V> {
    fn drop(&mut self) {
        let mut others = Vec::new();
        let mut next = self.before.let_go(&mut others);
        while let Some(value) = next.take().or_else(|| others.pop()) {
            next = release(value, &mut others);
        }
    }
}

/// Drops one handle; if it was the last, returns the handle that the value held.
fn release(mut value: Arc<Value>, others: &mut Vec<Arc<Value>>) -> Values {
    Arc::get_mut(&mut value).and_then(|value| value.before.let_go(others))
}

impl Before {
    fn let_go(&mut self, others: &mut Vec<Arc<Value>>) -> Values {
        match std::mem::replace(self, Self::One(None)) {
            Self::One(before) => before,
            Self::Several(sources) => {
                others.extend(sources.into_iter().flatten());
                None
            }
        }
    }
}
