//! Results in the order of the items, as they come.

use super::TaskGroup;
use crate::error::Error;
use crate::unwind;
use futures::stream::Stream;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{self, Poll};

/// See [`Group::ordered`](super::TaskGroup).
pub(super) struct Ordered<T, M, I, S> {
    group: TaskGroup<T, M>,
    /// `None` when all have been taken.
    items: Option<I>,
    spawn: S,
    /// Results that came before their turn, by their tasks' numbers.
    early: BTreeMap<u64, T>,
    /// The numbers of the tasks whose results have not been yielded, in the order of the items.
    due: VecDeque<u64>,
    /// The last item has been yielded, and all tasks have yet to end.
    over: bool,
}

impl<T, M, I, S> Ordered<T, M, I, S>
where
    I: Iterator,
    S: FnMut(&TaskGroup<T, M>, I::Item) -> Option<u64>,
{
    pub(super) fn new(group: TaskGroup<T, M>, items: I, spawn: S) -> Self {
        Self {
            group,
            items: Some(items),
            spawn,
            early: BTreeMap::new(),
            due: VecDeque::new(),
            over: false,
        }
    }

    /// Takes as many items as may be ahead of the next result.
    fn take_items(&mut self) {
        let most = self.group.engine().lock().limit.most;
        while self.due.len() < most && !self.group.node().is_marked() {
            let Some(items) = &mut self.items else { return };
            let Some(item) = items.next() else {
                self.items = None;
                return;
            };
            // One that is refused has no number: the end of the group is the last item.
            let number = (self.spawn)(&self.group, item);
            self.due.push_back(number.unwrap_or(u64::MAX));
        }
    }

    fn poll_item(&mut self, cx: &mut task::Context<'_>) -> Poll<Option<Result<T, Error>>> {
        for _ in 0..OUTCOMES {
            self.take_items();
            let next = self
                .due
                .front()
                .and_then(|number| self.early.remove(number));
            if let Some(result) = next {
                self.due.pop_front();
                self.take_items();
                return Poll::Ready(Some(Ok(result)));
            }
            match task::ready!(self.group.poll_outcome(cx)) {
                Some(next) => match next.result {
                    Ok(result) if self.due.binary_search(&next.number).is_ok() => {
                        self.early.insert(next.number, result);
                    }
                    Ok(result) => unwind::discard(result), // of a task that was there before, or of a handle's
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                None if self.items.is_some() || !self.due.is_empty() => {
                    let group = &self.group;
                    return Poll::Ready(Some(Err(group.engine().end_error(group.node()))));
                }
                None => return Poll::Ready(None),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits until all tasks have been dropped.
    fn poll_rest(&mut self, cx: &mut task::Context<'_>) -> Poll<Option<Result<T, Error>>> {
        for _ in 0..OUTCOMES {
            if task::ready!(self.group.poll_outcome(cx)).is_none() {
                return Poll::Ready(None);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How many outcomes that are not yielded yet a poll takes before the executor gets a turn.
const OUTCOMES: usize = 32;

impl<T, M, I, S> Unpin for Ordered<T, M, I, S> {}

impl<T, M, I, S> Stream for Ordered<T, M, I, S>
where
    I: Iterator,
    S: FnMut(&TaskGroup<T, M>, I::Item) -> Option<u64>,
{
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return self.poll_rest(cx);
        }
        let item = task::ready!(self.poll_item(cx));
        if !matches!(item, Some(Ok(_))) {
            self.over = true;
        }
        Poll::Ready(item)
    }
}

/// Drops results that came early and will not be taken, one by one, because each destructor may panic.
impl<T, M, I, S> Drop for Ordered<T, M, I, S> {
    fn drop(&mut self) {
        unwind::discard_each(std::mem::take(&mut self.early).into_values());
    }
}
