//! A task for each of many items: what people reach for a group for.

use super::TaskGroup;
use super::complete::By;
use super::finished::Wanted;
use crate::error::Error;
use futures::stream::Stream;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

impl<T, M> TaskGroup<T, M> {
    /// A task for each item, and their results in the order of the items.
    pub(super) async fn map_all<I: Stream>(
        self,
        items: I,
        spawn: impl FnMut(&Self, I::Item),
    ) -> Result<Vec<T>, Error> {
        let mut group = self;
        let taken = group.take_each(items, spawn).await;
        group.join(Wanted::Values).await?;
        let values = group.conclude_values()?;
        if taken {
            Ok(values)
        } else {
            Err(group.engine().end_error(group.node()))
        }
    }

    /// A task for each item; the results are dropped as they come.
    pub(super) async fn each<I: Stream>(
        self,
        items: I,
        spawn: impl FnMut(&Self, I::Item),
    ) -> Result<(), Error> {
        let mut group = self;
        group.want(Wanted::Nothing);
        let taken = group.take_each(items, spawn).await;
        group.join(Wanted::Nothing).await?;
        group.conclude(|_| ())?;
        if taken {
            Ok(())
        } else {
            Err(group.engine().end_error(group.node()))
        }
    }

    /// Spawns a task for each item, an item at a time, when there is room. Returns whether all were taken.
    async fn take_each<I: Stream>(&self, items: I, mut spawn: impl FnMut(&Self, I::Item)) -> bool {
        let mut items = pin!(items);
        let mut taken = 0_usize;
        loop {
            match self.next_item(items.as_mut()).await {
                Next::Item(item) => {
                    spawn(self, item);
                    taken += 1;
                    if self.engine().is_in_place() && taken % ITEMS == 0 {
                        yield_now().await;
                    }
                }
                Next::End => return true,
                Next::Ended => return false,
            }
        }
    }

    /// The next item, once there is room for its task.
    async fn next_item<I: Stream>(&self, mut items: Pin<&mut I>) -> Next<I::Item> {
        if self.ready().await.is_err() {
            // All may have been taken already: an end that comes then takes nothing away.
            return match items.size_hint() {
                (_, Some(0)) => Next::End,
                _ => Next::Ended,
            };
        }
        let mut ended = self.context().done();
        poll_fn(|cx| {
            self.engine().watch_owner(cx, false);
            self.engine()
                .serve_queue(self.node(), self.launch(), By::Group);
            self.engine().drive(cx);
            if Pin::new(&mut ended).poll(cx).is_ready() {
                return Poll::Ready(Next::Ended);
            }
            let item = items.as_mut().poll_next(cx);
            item.map(|item| item.map_or(Next::End, Next::Item))
        })
        .await
    }
}

/// How many items an in-place group takes before its executor gets a turn: each may poll tasks.
const ITEMS: usize = 32;

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

enum Next<T> {
    Item(T),
    /// There are no more.
    End,
    /// The group has ended before.
    Ended,
}
