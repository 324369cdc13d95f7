//! The cases over `LocalGroup` and `LocalAggregator`.
#![allow(
    clippy::duplicate_mod,
    reason = "the same text over another kind of group is the point"
)]

use crate::{Place, tools};
use failfast::LocalTask;

/// A runtime whose tasks stay on their thread.
pub trait Runtime: crate::Runtime<Place = Self::Somewhere, Sleep = Self::Timer> {
    type Somewhere: Place<Member = LocalTask, Flavor = LocalTask>;
    type Timer: Future + 'static;
}

impl<R, P, S> Runtime for R
where
    R: crate::Runtime<Place = P, Sleep = S>,
    P: Place<Member = LocalTask, Flavor = LocalTask>,
    S: Future + 'static,
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
