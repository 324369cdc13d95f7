//! Where an aggregator's sources run.

use crate::group::{self, InPlace};
use crate::spawn::{Flavour, Spawn};
use std::sync::Arc;

/// Where an aggregator's sources run: [`OnExecutor`] or [`InCaller`].
pub trait Host<M: Flavour>: sealed::Host<M> {}

impl<M: Flavour, H: sealed::Host<M>> Host<M> for H {}

/// Each source in a task of its own.
pub struct OnExecutor<S>(Arc<S>);

/// Every source inside the task that called.
#[derive(Clone, Copy, Debug)]
pub struct InCaller;

impl<S> OnExecutor<S> {
    pub(super) fn new(spawn: S) -> Self {
        Self(Arc::new(spawn))
    }
}

impl<S> Clone for OnExecutor<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> std::fmt::Debug for OnExecutor<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnExecutor").finish_non_exhaustive()
    }
}

mod sealed {
    use super::*;

    #[allow(unreachable_pub, reason = "it is what nobody else can implement")]
    pub trait Host<M: Flavour> {
        type Spawner<'a>: Spawn<M>
        where
            Self: 'a;

        #[doc(hidden)]
        #[allow(private_interfaces, reason = "nobody else can call it")]
        fn host(&self) -> group::Host<Self::Spawner<'_>, M>;
    }
}

/// A spawner that is borrowed: `&S` would collide with functions, which spawn too.
#[allow(unreachable_pub, reason = "it shows in a sealed trait")]
pub struct Borrowed<'a, S>(&'a S);

impl<M, S: Spawn<M>> Spawn<M> for Borrowed<'_, S> {
    type Handle = S::Handle;

    #[inline]
    fn spawn(&self, task: M) -> S::Handle {
        self.0.spawn(task)
    }
}

#[allow(private_interfaces, reason = "nobody else can call it")]
impl<M: Flavour, S: Spawn<M>> sealed::Host<M> for OnExecutor<S> {
    type Spawner<'a>
        = Borrowed<'a, S>
    where
        S: 'a;

    #[inline]
    fn host(&self) -> group::Host<Borrowed<'_, S>, M> {
        group::Host::executor(Borrowed(&self.0))
    }
}

#[allow(private_interfaces, reason = "nobody else can call it")]
impl<M: Flavour> sealed::Host<M> for InCaller {
    type Spawner<'a> = InPlace<M>;

    #[inline]
    fn host(&self) -> group::Host<InPlace<M>, M> {
        group::Host::in_place()
    }
}
