//! A task for each of many items: what people reach for a group for.

use super::TaskGroup;
use super::core::Newcomer;
use super::front::Results;
use super::job::Job;
use crate::error::{BoxError, Error};
use crate::spawn::{Carry, Flavour, LocalTask, Spawn, Task};
use futures::stream::Stream;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

macro_rules! each_methods {
    ($task:ident $(, $send:ident)?) => {
        impl<S: Spawn<$task>, T: $($send +)? 'static> TaskGroup<S, T, $task> {
            /// Makes a task of each item, and waits for them all: the results are in the order of the items.
            ///
            /// With a [limit](Self::with_limit), an item is taken only when there is a place for its task:
            /// the iterator may be endless, or costly.
            ///
            /// # Cancel safety
            ///
            /// It owns the group: dropping it cancels the tasks.
            ///
            /// # Panics
            ///
            /// With whatever `task` itself or the executor's own spawn function throws; the tasks are then cancelled.
            ///
            /// # Errors
            ///
            /// What ended the group, as from [`wait`](Self::wait). No further item is taken then.
            ///
            /// # Examples
            ///
            /// ```
            /// use failfast::Group;
            /// use std::num::NonZeroUsize;
            ///
            /// # smol::block_on(async {
            /// let group = Group::new(smol::spawn).with_limit(NonZeroUsize::new(2).unwrap());
            /// let squares = group.try_map(1..=4, |n| async move { Ok::<_, std::fmt::Error>(n * n) }).await;
            /// assert_eq!(squares.unwrap(), [1, 4, 9, 16]);
            /// # });
            /// ```
            #[track_caller]
            pub fn try_map<I, F, A, E>(self, items: I, task: F) -> impl Future<Output = Result<Vec<T>, Error>>
            where
                I: IntoIterator,
                F: FnMut(I::Item) -> A,
                A: Future<Output = Result<T, E>> $(+ $send)? + 'static,
                E: Into<BoxError>,
            {
                self.map(futures::stream::iter(items), task, Location::caller())
            }

            /// [`try_map`](Self::try_map) over the items of a stream.
            ///
            /// # Cancel safety
            ///
            /// It owns the group: dropping it cancels the tasks.
            ///
            /// # Panics
            ///
            /// With whatever the stream, `task` itself or the executor's own spawn function throws; the tasks are then
            /// cancelled.
            ///
            /// # Errors
            ///
            /// What ended the group, at once: also while the stream is being waited for.
            ///
            /// # Examples
            ///
            /// ```
            /// use failfast::Group;
            /// use futures::stream;
            ///
            /// # smol::block_on(async {
            /// let numbers = stream::iter(1..=3);
            /// let group = Group::new(smol::spawn);
            /// let squares = group.try_map_stream(numbers, |n| async move { Ok::<_, &str>(n * n) }).await;
            /// assert_eq!(squares.unwrap(), [1, 4, 9]);
            /// # });
            /// ```
            #[track_caller]
            pub fn try_map_stream<I, F, A, E>(
                self,
                items: I,
                task: F,
            ) -> impl Future<Output = Result<Vec<T>, Error>>
            where
                I: Stream,
                F: FnMut(I::Item) -> A,
                A: Future<Output = Result<T, E>> $(+ $send)? + 'static,
                E: Into<BoxError>,
            {
                self.map(items, task, Location::caller())
            }
        }

        impl<S: Spawn<$task>> TaskGroup<S, (), $task> {
            /// Makes a task of each item, and waits for them all: [`try_map`](Self::try_map) without results.
            ///
            /// # Cancel safety
            ///
            /// It owns the group: dropping it cancels the tasks.
            ///
            /// # Panics
            ///
            /// With whatever `task` itself or the executor's own spawn function throws; the tasks are then cancelled.
            ///
            /// # Errors
            ///
            /// What ended the group, as from [`wait`](Self::wait). No further item is taken then.
            ///
            /// # Examples
            ///
            /// ```
            /// use failfast::Group;
            ///
            /// # smol::block_on(async {
            /// let check = |n| async move { if n < 3 { Ok(()) } else { Err("too large") } };
            /// assert!(Group::new(smol::spawn).try_for_each(0..3, check).await.is_ok());
            /// let error = Group::new(smol::spawn).try_for_each(3..4, check).await.unwrap_err();
            /// assert_eq!(error.to_string(), "task 0: too large");
            /// # });
            /// ```
            #[track_caller]
            pub fn try_for_each<I, F, A, E>(self, items: I, task: F) -> impl Future<Output = Result<(), Error>>
            where
                I: IntoIterator,
                F: FnMut(I::Item) -> A,
                A: Future<Output = Result<(), E>> $(+ $send)? + 'static,
                E: Into<BoxError>,
            {
                let all = self.try_map(items, task);
                async move { all.await.map(drop) }
            }
        }
    };
}

each_methods!(Task, Send);
each_methods!(LocalTask);

impl<S: Spawn<M>, T, M: Flavour> TaskGroup<S, T, M> {
    async fn map<I, F, A, E>(
        self,
        items: I,
        mut task: F,
        location: &'static Location<'static>,
    ) -> Result<Vec<T>, Error>
    where
        M: Carry<Job<A, Arc<Results<T, M>>, M>>,
        I: Stream,
        F: FnMut(I::Item) -> A,
        A: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        let mut items = pin!(items);
        while let Some(item) = self.next_item(items.as_mut()).await {
            self.inner.start(task(item), Newcomer::new(None, location));
        }
        self.wait().await
    }

    /// The next item, once there is a place for its task; `None` when there is none, or the group has ended.
    async fn next_item<I: Stream>(&self, mut items: Pin<&mut I>) -> Option<I::Item> {
        self.ready().await.ok()?;
        let mut ended = self.context().done();
        poll_fn(|cx| {
            self.inner.front.drive(cx);
            if Pin::new(&mut ended).poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            items.as_mut().poll_next(cx)
        })
        .await
    }
}
