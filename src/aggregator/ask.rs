//! From a source to a task of the group.

use super::answers::{Place, Row, Slot};
use super::flavored::Flavored;
use crate::context::Context;
use crate::error::Name;
use crate::group::{LocalTask, Task, TaskGroup};
use crate::source::Source;
use pin_project_lite::pin_project;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

/// A source, or many of one type, whose type appears here alone.
pub(super) trait Ask<R, M> {
    /// Spawns its tasks, in order, and returns where they will leave their answers.
    fn ask(&self, group: &TaskGroup<(), M>, request: Given<'_, R>) -> Flavored<dyn Any, M>;

    /// Their names, in order.
    fn names(&self) -> Vec<Name>;
}

/// A request for one more source.
pub(super) enum Given<'a, R> {
    /// Others follow.
    Lent(&'a R),
    /// It is the last, which needs no clone.
    Whole(R),
}

impl<R: Clone> Given<'_, R> {
    fn get(self) -> R {
        match self {
            Self::Lent(request) => request.clone(),
            Self::Whole(request) => request,
        }
    }

    /// Hands it to `count` sources.
    fn share(self, count: usize, mut ask: impl FnMut(usize, R)) {
        let Some(last) = count.checked_sub(1) else {
            return;
        };
        let request = match &self {
            Self::Lent(request) => request,
            Self::Whole(request) => request,
        };
        (0..last).for_each(|number| ask(number, request.clone()));
        ask(last, self.get());
    }
}

/// What `source` adds.
pub(super) struct One<A> {
    name: Name,
    source: Arc<A>,
}

/// What `sources` adds.
pub(super) struct Many<A>(Vec<One<A>>);

impl<A> One<A> {
    pub(super) fn new(name: Name, source: A) -> Self {
        let source = Arc::new(source);
        Self { name, source }
    }

    #[inline]
    fn call<R, M, P>(&self, group: &TaskGroup<(), M>, request: R, place: P) -> Call<A, R, P>
    where
        A: Source<R>,
    {
        Call::Asked {
            question: Some(Question {
                source: self.source.clone(),
                name: self.name.clone(),
                ctx: group.context().clone(),
                request,
                place,
            }),
        }
    }
}

impl<A> FromIterator<(Name, A)> for Many<A> {
    fn from_iter<I: IntoIterator<Item = (Name, A)>>(sources: I) -> Self {
        let sources = sources.into_iter();
        Self(
            sources
                .map(|(name, source)| One::new(name, source))
                .collect(),
        )
    }
}

/// The two flavors differ in the bounds on a source, and in nothing else.
macro_rules! asks {
    ($task:ty, $erase:ident $(, $send:ident)?) => {
        impl<R, A> Ask<R, $task> for One<A>
        where
            R: Clone $(+ $send)? + 'static,
            A: Source<R> $(+ $send + Sync)? + 'static,
            A::Future: $($send +)? 'static,
            A::Output: $($send +)? 'static,
        {
            fn ask(&self, group: &TaskGroup<(), $task>, request: Given<'_, R>) -> Flavored<dyn Any, $task> {
                let slot = Arc::new(Slot::<A::Output>::new());
                let call = self.call(group, request.get(), slot.clone());
                group.spawn_named(self.name.clone(), call);
                Flavored::<dyn Any, $task>::$erase(slot)
            }

            fn names(&self) -> Vec<Name> {
                vec![self.name.clone()]
            }
        }

        impl<R, A> Ask<R, $task> for Many<A>
        where
            R: Clone $(+ $send)? + 'static,
            A: Source<R> $(+ $send + Sync)? + 'static,
            A::Future: $($send +)? 'static,
            A::Output: $($send +)? 'static,
        {
            fn ask(&self, group: &TaskGroup<(), $task>, request: Given<'_, R>) -> Flavored<dyn Any, $task> {
                let row = Arc::new(Row::<A::Output>::new(self.0.len()));
                request.share(self.0.len(), |number, request| {
                    let one = &self.0[number];
                    let call = one.call(group, request, (row.clone(), number));
                    group.spawn_named(one.name.clone(), call);
                });
                Flavored::<dyn Any, $task>::$erase(row)
            }

            fn names(&self) -> Vec<Name> {
                self.0.iter().map(|one| one.name.clone()).collect()
            }
        }
    };
}

asks!(Task, sendable, Send);
asks!(LocalTask, local);

pin_project! {
    /// A call of a source. It begins with the first poll, in its task: so a source that is never polled, because
    /// another has failed or the deadline has passed, is never called, and a panic of the call is its failure.
    #[project = CallState]
    enum Call<A, R, P>
    where
        A: Source<R>,
    {
        Asked { question: Option<Question<A, R, P>> },
        Answering { #[pin] answer: A::Future, place: P },
    }
}

struct Question<A, R, P> {
    source: Arc<A>,
    name: Name,
    ctx: Context,
    request: R,
    place: P,
}

impl<A, R, P> Future for Call<A, R, P>
where
    A: Source<R>,
    P: Place<Answer = A::Output>,
{
    type Output = Result<(), A::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let CallState::Asked { question } = self.as_mut().project() {
            let question = question.take();
            let Question {
                source,
                name,
                ctx,
                request,
                place,
            } = question.expect("a call that panicked is not polled again");
            let answer = source.fetch_as(&name, ctx, request);
            self.set(Self::Answering { answer, place });
        }
        match self.project() {
            CallState::Answering { answer, place } => {
                let answer = ready!(answer.poll(cx));
                Poll::Ready(answer.map(|answer| place.put(answer)))
            }
            CallState::Asked { .. } => unreachable!("the source has just been called"),
        }
    }
}
