//! The cases over `LocalGroup` and `LocalAggregator`.
#![allow(
    clippy::duplicate_mod,
    reason = "the same text over the other flavour is the point"
)]

use super::{Place, play, tools};
use failfast::LocalTask;

/// A runtime whose tasks stay on their thread.
pub(super) trait Runtime: super::Runtime<Place = Self::Somewhere> {
    type Somewhere: Place<Flavour = LocalTask>;
}

impl<R, P> Runtime for R
where
    R: super::Runtime<Place = P>,
    P: Place<Flavour = LocalTask>,
{
    type Somewhere = P;
}

#[path = "cases/context.rs"]
pub(super) mod context;
#[path = "cases/group.rs"]
pub(super) mod group;
#[path = "cases/kata.rs"]
pub(super) mod kata;
