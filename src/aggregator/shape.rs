//! The shapes of an answer: a tuple of 1 to 12, or a `Vec`. Macros forward, functions think.

use super::answers::Answers;
use crate::error::Error;
use crate::unwind;
use std::fmt::{Display, Write};

/// Answers to which one more can be appended: a tuple of up to 11.
#[diagnostic::on_unimplemented(
    message = "no source can be added here",
    label = "`{Self}` can't be followed by one more answer",
    note = "`source` takes up to 12 sources: for more of one type use `.sources(..)`, for more of different types nest: an aggregator is a source itself",
    note = "no source can be added after `sources`, `settled`, `map` or `join`"
)]
pub trait Append<X>: 'static {
    /// The longer tuple.
    type Appended;

    /// Appends the answer.
    fn append(self, answer: X) -> Self::Appended;
}

/// Answers that can all be displayed.
#[diagnostic::on_unimplemented(
    message = "these answers can't be joined: each has to implement `Display`",
    label = "not every answer in `{Self}` can be displayed",
    note = "make one answer of them with `.map(..)` instead"
)]
pub trait Displayed: 'static {
    /// Shows them one by one, in order.
    fn each(&self, show: &mut dyn FnMut(&dyn Display));

    /// Drops the answers one by one, because each destructor may panic.
    fn discard(self);
}

/// Answers whose sources may fail one by one.
#[diagnostic::on_unimplemented(
    message = "these answers can't be settled: `{Self}` is not what sources have answered",
    label = "not a tuple of 1 to 12 answers, nor a `Vec`",
    note = "`settled` belongs after `source` or `sources`, and before `map` or `join`"
)]
pub trait Settle: 'static {
    /// The same shape, of results.
    type Settled;

    /// Takes the answers and the failures.
    fn settle(answers: &Answers<'_>) -> Self::Settled;
}

/// Displays the answers with a separator between them, and drops them. The panic of a `Display` goes on once the answers
/// have been dropped.
pub(super) fn join(answers: impl Displayed, separator: &str) -> String {
    let line = unwind::contain(|| display(&answers, separator));
    answers.discard();
    line.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

fn display(answers: &impl Displayed, separator: &str) -> String {
    let mut line = String::new();
    let mut between = "";
    answers.each(&mut |answer| {
        // Ignored, because writing to a string can't fail, and of a `Display` that returns an error the text so far is shown.
        let _ = write!(line, "{between}{answer}");
        between = separator;
    });
    line
}

#[diagnostic::do_not_recommend]
impl<X: Display + 'static> Displayed for Vec<X> {
    fn each(&self, show: &mut dyn FnMut(&dyn Display)) {
        self.iter().for_each(|answer| show(answer));
    }

    fn discard(self) {
        unwind::discard_each(self);
    }
}

impl<X: 'static> Settle for Vec<X> {
    type Settled = Vec<Result<X, Error>>;

    fn settle(answers: &Answers<'_>) -> Self::Settled {
        answers.settle_row()
    }
}

#[diagnostic::do_not_recommend]
impl Displayed for () {
    fn each(&self, _: &mut dyn FnMut(&dyn Display)) {}

    fn discard(self) {}
}

macro_rules! tuples {
    ($($answer:ident $number:tt),+) => {
        #[diagnostic::do_not_recommend]
        impl<$($answer: Display + 'static),+> Displayed for ($($answer,)+) {
            fn each(&self, show: &mut dyn FnMut(&dyn Display)) {
                $(show(&self.$number);)+
            }

            fn discard(self) {
                $(unwind::discard(self.$number);)+
            }
        }

        impl<$($answer: 'static),+> Settle for ($($answer,)+) {
            type Settled = ($(Result<$answer, Error>,)+);

            fn settle(answers: &Answers<'_>) -> Self::Settled {
                ($(answers.settle::<$answer>($number),)+)
            }
        }
    };
}

macro_rules! appends {
    ($($answer:ident $number:tt),*) => {
        impl<$($answer: 'static,)* X> Append<X> for ($($answer,)*) {
            type Appended = ($($answer,)* X,);

            fn append(self, answer: X) -> Self::Appended {
                ($(self.$number,)* answer,)
            }
        }
    };
}

/// `each!(name: A 0, B 1, C 2)` calls the macro with each beginning of the list.
macro_rules! each {
    ($name:ident: $($done:ident $number:tt),*;) => {};
    ($name:ident: $($done:ident $number:tt),*; $next:ident $at:tt $(, $later:ident $later_at:tt)*) => {
        $name!($($done $number,)* $next $at);
        each!($name: $($done $number,)* $next $at; $($later $later_at),*);
    };
}

each!(tuples: ; A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
appends!();
each!(appends: ; A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
