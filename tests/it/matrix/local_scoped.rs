//! The cases over `LocalInPlaceGroup` and a `LocalAggregator` in place.
#![allow(
    clippy::duplicate_mod,
    reason = "the same text over another kind of group is the point"
)]

use super::{Place, play, tools};
use failfast::LocalTask;
use failfast::group::LocalScoped;

/// A runtime whose tasks stay on their thread.
pub(super) trait Runtime: super::Runtime<Place = Self::Somewhere> {
    type Somewhere: Place<Member = LocalScoped<'static>, Flavor = LocalTask>;
}

impl<R, P> Runtime for R
where
    R: super::Runtime<Place = P>,
    P: Place<Member = LocalScoped<'static>, Flavor = LocalTask>,
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
