//! The cases over `Group` and `Aggregator`.
#![allow(
    clippy::duplicate_mod,
    reason = "the same text over another kind of group is the point"
)]

use super::{Place, play, tools};
use failfast::Task;

/// A runtime whose tasks may move between threads; so may groups and handles.
pub(super) trait Runtime: super::Runtime<Place = Self::Somewhere> {
    type Somewhere: Place<Member = Task, Flavor = Task> + Send + Sync;
}

impl<R, P> Runtime for R
where
    R: super::Runtime<Place = P>,
    P: Place<Member = Task, Flavor = Task> + Send + Sync,
{
    type Somewhere = P;
}

#[path = "cases/aggregator.rs"]
pub(super) mod aggregator;
#[path = "cases/context.rs"]
pub(super) mod context;
#[path = "cases/group.rs"]
pub(super) mod group;
#[path = "cases/kata.rs"]
pub(super) mod kata;
