//! The cases over `Group` and `Aggregator`.
#![allow(
    clippy::duplicate_mod,
    reason = "the same text over another kind of group is the point"
)]

use crate::{Place, tools};
use failfast::Task;

/// A runtime whose tasks may move between threads; so may groups and handles.
pub trait Runtime: crate::Runtime<Place = Self::Somewhere, Sleep = Self::Timer> {
    type Somewhere: Place<Member = Task, Flavor = Task> + Send + Sync;
    type Timer: Future + Send + 'static;
}

impl<R, P, S> Runtime for R
where
    R: crate::Runtime<Place = P, Sleep = S>,
    P: Place<Member = Task, Flavor = Task> + Send + Sync,
    S: Future + Send + 'static,
{
    type Somewhere = P;
    type Timer = S;
}

#[path = "cases/aggregator.rs"]
pub mod aggregator;
#[path = "cases/context.rs"]
pub mod context;
#[path = "cases/fork.rs"]
pub mod fork;
#[path = "cases/group.rs"]
pub mod group;
#[path = "cases/kata.rs"]
pub mod kata;
#[path = "cases/late.rs"]
pub mod late;
#[path = "cases/virtual_time.rs"]
pub mod virtual_time;
