//! Where tasks run: on an executor, on a thread-bound one, or in place.

use failfast::aggregator::TaskAggregator;
use failfast::group::{LocalScoped, Scoped, TaskGroup};
use failfast::{
    Aggregator, Context, Group, InPlaceGroup, LocalAggregator, LocalGroup, LocalInPlaceGroup,
    LocalTask, Spawn, Task,
};
use std::rc::Rc;
use std::sync::Arc;

/// How groups and aggregators are made on a runtime.
pub trait Place: Clone + 'static {
    /// What a group hands out: [`Task`], [`LocalTask`], [`Scoped`] or [`LocalScoped`].
    type Member: 'static;
    /// The same of an aggregator, which has two flavors only: [`Task`] or [`LocalTask`].
    type Flavor: 'static;

    #[track_caller]
    fn group<T: Send + 'static>(&self, ctx: &Context) -> TaskGroup<T, Self::Member>;

    fn aggregator<R: Clone + Send + 'static>(&self) -> TaskAggregator<R, (), Self::Flavor>;
}

/// An executor, by its spawn function; `H` is what that returns.
pub struct Executor<H>(Arc<dyn Spawn<Task, Handle = H> + Send + Sync>);

/// A thread-bound executor, by its spawn function.
pub struct LocalExecutor<H>(Rc<dyn Spawn<LocalTask, Handle = H>>);

/// No executor.
#[derive(Clone)]
pub struct Nowhere;

/// No executor, on one thread.
#[derive(Clone)]
pub struct LocalNowhere;

impl<H> Executor<H> {
    pub fn new(spawn: impl Fn(Task) -> H + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }
}

impl<H> LocalExecutor<H> {
    pub fn new(spawn: impl Fn(LocalTask) -> H + 'static) -> Self {
        Self(Rc::new(spawn))
    }
}

macro_rules! executor {
    ($place:ident, $($handle:ident)?, $task:ident, $group:ident, $aggregator:ident) => {
        impl<H> Clone for $place<H> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<H: $($handle +)? 'static> Place for $place<H> {
            type Member = $task;
            type Flavor = $task;

            #[track_caller]
            fn group<T: Send + 'static>(&self, ctx: &Context) -> $group<T> {
                $group::with_context(ctx, self.0.clone()).0
            }

            fn aggregator<R: Clone + Send + 'static>(&self) -> $aggregator<R, ()> {
                $aggregator::new(self.0.clone())
            }
        }
    };
}

macro_rules! nowhere {
    ($place:ident, $member:ident, $task:ident, $group:ident, $aggregator:ident) => {
        impl Place for $place {
            type Member = $member<'static>;
            type Flavor = $task;

            #[track_caller]
            fn group<T: Send + 'static>(&self, ctx: &Context) -> $group<'static, T> {
                $group::new(ctx)
            }

            fn aggregator<R: Clone + Send + 'static>(&self) -> $aggregator<R, ()> {
                $aggregator::in_place()
            }
        }
    };
}

executor!(Executor, Send, Task, Group, Aggregator);
executor!(LocalExecutor, , LocalTask, LocalGroup, LocalAggregator);
nowhere!(Nowhere, Scoped, Task, InPlaceGroup, Aggregator);
nowhere!(
    LocalNowhere,
    LocalScoped,
    LocalTask,
    LocalInPlaceGroup,
    LocalAggregator
);
