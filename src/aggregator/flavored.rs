//! Erased types that are `Send` and `Sync` where the aggregator's tasks are.
//!
//! An aggregator's sources, their answers and what is made of them are trait objects, and a trait object is either
//! `Send` or not, whatever `M` is. So the constructors here ensure it.
//!
//! # Invariants
//!
//! 1. What a `Flavored<_, Task>` points to is `Send + Sync`. Its only constructors require it, by their bounds:
//!    [`sendable`](Flavored::sendable) and [`then`](Flavored::then).
//! 2. A `Flavored` of another `M` is neither `Send` nor `Sync`, so [`local`](Flavored::local) requires nothing.
//! 3. No code outside of this module can put anything else into one: the field is private, and is borrowed as `&` alone.
#![allow(
    unsafe_code,
    reason = "auto traits of trait objects cannot depend on a type parameter"
)]

use super::answers::Answers;
use super::ask::Ask;
use crate::group::{LocalTask, Task};
use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

/// A shared, erased value of the flavor `M`.
pub(super) struct Flavored<P: ?Sized, M>(Arc<P>, PhantomData<fn() -> M>);

// SAFETY: an `Arc` of what is `Send + Sync`, by invariant 1.
unsafe impl<P: ?Sized> Send for Flavored<P, Task> {}

// SAFETY: as above.
unsafe impl<P: ?Sized> Sync for Flavored<P, Task> {}

/// `Arc`'s own auto traits are those of its content. This names the twin of a trait object that has them.
pub(super) trait Erased {
    type Sendable: ?Sized;

    fn erase(sendable: Arc<Self::Sendable>) -> Arc<Self>;
}

/// What is made of the answers.
pub(super) type Finish<T> = dyn for<'a, 'b> Fn(&'a Answers<'b>) -> T;

impl Erased for dyn Any {
    type Sendable = dyn Any + Send + Sync;

    fn erase(sendable: Arc<Self::Sendable>) -> Arc<Self> {
        sendable
    }
}

impl<R, M> Erased for dyn Ask<R, M> {
    type Sendable = dyn Ask<R, M> + Send + Sync;

    fn erase(sendable: Arc<Self::Sendable>) -> Arc<Self> {
        sendable
    }
}

impl<T> Erased for Finish<T> {
    type Sendable = dyn for<'a, 'b> Fn(&'a Answers<'b>) -> T + Send + Sync;

    fn erase(sendable: Arc<Self::Sendable>) -> Arc<Self> {
        sendable
    }
}

impl<P: ?Sized + Erased, M> Flavored<P, M> {
    /// For either flavor.
    pub(super) fn sendable(value: Arc<P::Sendable>) -> Self {
        Self(P::erase(value), PhantomData)
    }
}

impl<P: ?Sized> Flavored<P, LocalTask> {
    /// For the local flavor alone.
    pub(super) fn local(value: Arc<P>) -> Self {
        Self(value, PhantomData)
    }
}

impl<T: 'static, M> Flavored<Finish<T>, M> {
    /// One more step. It holds the step before, which is of this flavor, and `step`, which is of either.
    pub(super) fn then<U, F>(self, step: F) -> Flavored<Finish<U>, M>
    where
        F: for<'a, 'b> Fn(T, &'a Answers<'b>) -> U + Send + Sync + 'static,
    {
        let before = self.0;
        let both = move |answers: &Answers<'_>| step(before(answers), answers);
        Flavored(Arc::new(both), PhantomData)
    }
}

impl<P: ?Sized, M> Flavored<P, M> {
    #[inline]
    pub(super) fn get(&self) -> &P {
        &self.0
    }
}

impl<P: ?Sized, M> Clone for Flavored<P, M> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}
