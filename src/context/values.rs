//! What travels with a call besides its lifetime: typed values, the nearest wins.

use super::timer::ClockRef;
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One value and the way to those set before it. One allocation each.
pub(super) struct Value<V: ?Sized = dyn Any + Send + Sync> {
    before: Before,
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
    WithoutCancel,
    /// Not a layer of its own: it shows as the linked lifetime.
    Linked,
}

/// The layers that carry nothing for users.
struct Marker;

pub(super) fn with<T: Send + Sync + 'static>(before: &Values, depth: u32, value: T) -> Values {
    push(
        before,
        depth,
        Label::Value(std::any::type_name::<T>()),
        value,
    )
}

pub(super) fn with_clock(before: &Values, depth: u32, clock: ClockRef) -> Values {
    push(before, depth, Label::Clock, clock)
}

pub(super) fn without_cancel(before: &Values, depth: u32) -> Values {
    push(before, depth, Label::WithoutCancel, Marker)
}

/// All the values of several contexts; the first context that has one wins.
pub(super) fn merged(mut sources: Vec<Values>, depth: u32) -> Values {
    sources.retain(Option::is_some);
    if sources.len() < 2 {
        return sources.pop().flatten();
    }
    let before = Before::Several(sources.into());
    Some(Arc::new(Value {
        before,
        depth,
        label: Label::Linked,
        value: Marker,
    }))
}

fn push<T: Send + Sync + 'static>(before: &Values, depth: u32, label: Label, value: T) -> Values {
    Some(Arc::new(Value {
        before: Before::One(before.clone()),
        depth,
        label,
        value,
    }))
}

/// The nearest value of type `T`.
pub(super) fn find<T: 'static>(values: &Values) -> Option<&T> {
    layers(values).find_map(|layer| layer.value.downcast_ref())
}

pub(super) fn clock(values: &Values) -> ClockRef {
    match values {
        None => ClockRef::default(),
        Some(_) => find::<ClockRef>(values).cloned().unwrap_or_default(),
    }
}

/// All layers, the nearest first; without recursion, however deep. Where links meet again (contexts linked
/// that were linked before), what lies behind is looked through once.
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

/// Lets go of the list in a loop: the default would recurse once for each value.
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
