//! The cases over `Group` and `Aggregator`.

use super::{Place, play, tools};
use failfast::{Spawn, Task};

/// A runtime whose tasks may move between threads; so may groups and handles.
pub(super) trait Runtime: super::Runtime<Place = Self::Somewhere> {
    type Somewhere: Place<Flavour = Task, Spawner = Self::Executor> + Send + Sync;
    type Executor: Spawn<Task, Handle = Self::Handle> + Send + Sync;
    type Handle: Send;
}

impl<R, P, S> Runtime for R
where
    R: super::Runtime<Place = P>,
    P: Place<Flavour = Task, Spawner = S> + Send + Sync,
    S: Spawn<Task, Handle: Send> + Send + Sync,
{
    type Somewhere = P;
    type Executor = S;
    type Handle = S::Handle;
}

#[path = "cases/context.rs"]
pub(super) mod context;
#[path = "cases/group.rs"]
pub(super) mod group;
#[path = "cases/kata.rs"]
pub(super) mod kata;
