//! The sources of an aggregator: a tuple of up to 12 types, or any number of one.

use super::combine::Displayed;
use crate::error::Name;
use crate::group::{Core, Desk, Front, Job};
use crate::slot::Slot;
use crate::source::{Call, Source};
use crate::spawn::{Carry, Flavour, Spawn};
use futures::future::try_join_all;
use std::fmt::{self, Display};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

/// A source and its name.
pub struct Named<A> {
    name: Name,
    source: Arc<A>,
}

/// Any number of sources of one type.
pub struct Many<A>(Arc<[Named<A>]>);

/// What a list of sources answers to requests of type `R`.
pub trait Sources<R> {
    /// The answers, in the order of the sources.
    type Output;
}

/// A list of sources that one more can be added to: up to 12 of them.
#[diagnostic::on_unimplemented(
    message = "no source can be added here",
    note = "`source` takes up to 12, and none after `sources`: for more of one type use `sources` alone"
)]
pub trait Append<A> {
    /// The longer list.
    type Appended;

    /// Adds it at the end.
    #[doc(hidden)]
    fn append(self, source: Named<A>) -> Self::Appended;
}

/// Sources that can be started as tasks of the flavour `M`.
pub(super) trait Launch<M: Flavour, R>: Sources<R> {
    /// Starts them all, in order, and returns their answers to come.
    fn launch<S: Spawn<M>>(
        &self,
        front: &Front<S, M>,
        request: R,
    ) -> impl Future<Output = Result<Self::Output, Stopped>>;
}

/// All have ended, and this answer never came.
pub(super) struct Stopped;

/// One allocation for all the answers of an aggregation.
struct Board<B> {
    core: Arc<Core>,
    answers: B,
}

/// Where one answer is left.
struct Answer<T>(Slot<T>);

/// Where a source leaves its answer: which of the board's.
struct Place<B, T> {
    board: Arc<Board<B>>,
    pick: fn(&B) -> &Answer<T>,
}

impl<A> Named<A> {
    pub(super) fn new(name: Name, source: A) -> Self {
        Self {
            name,
            source: Arc::new(source),
        }
    }

    /// Starts the source as a task of the group.
    #[inline]
    fn start<S, M, R, D>(&self, front: &Front<S, M>, request: R, desk: D)
    where
        A: Source<R>,
        S: Spawn<M>,
        D: Desk<M, Output = A::Output>,
        M: Flavour + Carry<Job<Call<A, R>, D, M>>,
    {
        let ctx = front.core().context().clone();
        front.start_named(
            self.name.clone(),
            Call::new(self.source.clone(), ctx, request),
            desk,
        );
    }
}

impl<T> Answer<T> {
    fn new() -> Self {
        Self(Slot::default())
    }

    /// The answer, once it is there. It wakes nobody itself: it is raced with the end of the group's tasks,
    /// which does, and one wake-up for all is enough.
    async fn get(&self, core: &Core) -> Result<T, Stopped> {
        poll_fn(|_| match self.0.take() {
            Some(answer) => Poll::Ready(Ok(answer)),
            None if core.is_over() => Poll::Ready(Err(Stopped)),
            None => Poll::Pending,
        })
        .await
    }
}

impl<M, B, T> Desk<M> for Place<B, T> {
    type Output = T;

    #[inline]
    fn core(&self) -> &Arc<Core> {
        &self.board.core
    }

    #[inline]
    fn slot(&self, _index: u32) -> Option<&Slot<T>> {
        Some(&(self.pick)(&self.board.answers).0)
    }

    fn next_job(&self) -> Option<M> {
        None
    }
}

impl<R> Sources<R> for () {
    type Output = ();
}

impl<M: Flavour, R> Launch<M, R> for () {
    async fn launch<S: Spawn<M>>(&self, _: &Front<S, M>, _: R) -> Result<(), Stopped> {
        Ok(())
    }
}

impl Displayed for () {
    fn each(&self, _: &mut dyn FnMut(&dyn Display)) {}
}

impl<R, A: Source<R>> Sources<R> for Many<A> {
    type Output = Vec<A::Output>;
}

impl<M, R, A> Launch<M, R> for Many<A>
where
    R: Clone,
    A: Source<R>,
    M: Flavour + Carry<Job<Call<A, R>, ManyPlace<A::Output>, M>>,
{
    async fn launch<S: Spawn<M>>(
        &self,
        front: &Front<S, M>,
        request: R,
    ) -> Result<Self::Output, Stopped> {
        let answers: Box<[_]> = self.0.iter().map(|_| Answer::new()).collect();
        let board = Arc::new(Board {
            core: front.core().clone(),
            answers,
        });
        for (number, named) in self.0.iter().enumerate() {
            named.start(
                front,
                request.clone(),
                ManyPlace {
                    board: board.clone(),
                    number,
                },
            );
        }
        try_join_all(board.answers.iter().map(|answer| answer.get(&board.core))).await
    }
}

/// Where one of many leaves its answer.
struct ManyPlace<T> {
    board: Arc<Board<Box<[Answer<T>]>>>,
    number: usize,
}

impl<M, T> Desk<M> for ManyPlace<T> {
    type Output = T;

    fn core(&self) -> &Arc<Core> {
        &self.board.core
    }

    fn slot(&self, _index: u32) -> Option<&Slot<T>> {
        Some(&self.board.answers[self.number].0)
    }

    fn next_job(&self) -> Option<M> {
        None
    }
}

/// Tuples only forward, each source to the same functions.
macro_rules! appends {
    ($($source:ident $index:tt),+ => $next:ident) => {
        impl<$($source,)+ $next> Append<$next> for ($(Named<$source>,)+) {
            type Appended = ($(Named<$source>,)+ Named<$next>,);

            fn append(self, source: Named<$next>) -> Self::Appended {
                ($(self.$index,)+ source,)
            }
        }
    };
}

macro_rules! tuples {
    ($($source:ident $output:ident $index:tt),+) => {
        tuples!(($(Answer<$output>,)+): $($source $output $index),+);
    };
    ($answers:ty: $($source:ident $output:ident $index:tt),+) => {
        impl<R, $($source: Source<R>),+> Sources<R> for ($(Named<$source>,)+) {
            type Output = ($($source::Output,)+);
        }

        impl<M, R, $($source, $output),+> Launch<M, R> for ($(Named<$source>,)+)
        where
            R: Clone,
            M: Flavour,
            $($source: Source<R, Output = $output>,)+
            $(M: Carry<Job<Call<$source, R>, Place<$answers, $output>, M>>,)+
        {
            async fn launch<S: Spawn<M>>(
                &self,
                front: &Front<S, M>,
                request: R,
            ) -> Result<Self::Output, Stopped> {
                let answers = ($(Answer::<$output>::new(),)+);
                let board = Arc::new(Board { core: front.core().clone(), answers });
                $(
                    let place = Place { board: board.clone(), pick: |answers| &answers.$index };
                    self.$index.start(front, request.clone(), place);
                )+
                futures::try_join!($(board.answers.$index.get(&board.core)),+)
            }
        }

        impl<$($output: Display),+> Displayed for ($($output,)+) {
            fn each(&self, show: &mut dyn FnMut(&dyn Display)) {
                $(show(&self.$index);)+
            }
        }
    };
}

impl<A> Append<A> for () {
    type Appended = (Named<A>,);

    fn append(self, source: Named<A>) -> Self::Appended {
        (source,)
    }
}

impl<A> FromIterator<Named<A>> for Many<A> {
    fn from_iter<I: IntoIterator<Item = Named<A>>>(sources: I) -> Self {
        Self(sources.into_iter().collect())
    }
}

impl<A> Clone for Named<A> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            source: self.source.clone(),
        }
    }
}

impl<A> Clone for Many<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A> fmt::Debug for Named<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}

impl<A> fmt::Debug for Many<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

tuples!(A0 T0 0);
tuples!(A0 T0 0, A1 T1 1);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3, A4 T4 4);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3, A4 T4 4, A5 T5 5);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3, A4 T4 4, A5 T5 5, A6 T6 6);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3, A4 T4 4, A5 T5 5, A6 T6 6, A7 T7 7);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3, A4 T4 4, A5 T5 5, A6 T6 6, A7 T7 7, A8 T8 8);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3, A4 T4 4, A5 T5 5, A6 T6 6, A7 T7 7, A8 T8 8, A9 T9 9);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3, A4 T4 4, A5 T5 5, A6 T6 6, A7 T7 7, A8 T8 8, A9 T9 9, A10 T10 10);
tuples!(A0 T0 0, A1 T1 1, A2 T2 2, A3 T3 3, A4 T4 4, A5 T5 5, A6 T6 6, A7 T7 7, A8 T8 8, A9 T9 9, A10 T10 10, A11 T11 11);

appends!(A0 0 => A1);
appends!(A0 0, A1 1 => A2);
appends!(A0 0, A1 1, A2 2 => A3);
appends!(A0 0, A1 1, A2 2, A3 3 => A4);
appends!(A0 0, A1 1, A2 2, A3 3, A4 4 => A5);
appends!(A0 0, A1 1, A2 2, A3 3, A4 4, A5 5 => A6);
appends!(A0 0, A1 1, A2 2, A3 3, A4 4, A5 5, A6 6 => A7);
appends!(A0 0, A1 1, A2 2, A3 3, A4 4, A5 5, A6 6, A7 7 => A8);
appends!(A0 0, A1 1, A2 2, A3 3, A4 4, A5 5, A6 6, A7 7, A8 8 => A9);
appends!(A0 0, A1 1, A2 2, A3 3, A4 4, A5 5, A6 6, A7 7, A8 8, A9 9 => A10);
appends!(A0 0, A1 1, A2 2, A3 3, A4 4, A5 5, A6 6, A7 7, A8 8, A9 9, A10 10 => A11);
