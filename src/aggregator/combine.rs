//! What becomes of the answers.

use std::fmt::{self, Display, Write};
use std::sync::Arc;

/// Makes one answer of all: what `combine` and `join` put on an aggregator.
pub trait Combine<T> {
    /// What it makes.
    type Output;

    /// Makes it.
    fn combine(&self, answers: T) -> Self::Output;
}

/// The answers as they are.
#[derive(Clone, Copy, Debug)]
pub struct AsIs;

/// The answers mapped by a function.
pub struct Combined<F>(Arc<F>);

/// The answers displayed, with a separator between them.
#[derive(Clone, Debug)]
pub struct Joined(Arc<str>);

/// Answers that can all be displayed.
#[diagnostic::on_unimplemented(
    message = "these answers can't be joined: each has to implement `Display`",
    note = "map them with `combine` instead"
)]
pub trait Displayed {
    /// Hands them out one by one, in order.
    #[doc(hidden)]
    fn each(&self, show: &mut dyn FnMut(&dyn Display));
}

impl<F> Combined<F> {
    pub(super) fn new(combine: F) -> Self {
        Self(Arc::new(combine))
    }
}

impl Joined {
    pub(super) fn new(separator: String) -> Self {
        Self(separator.into())
    }
}

impl<T> Combine<T> for AsIs {
    type Output = T;

    #[inline]
    fn combine(&self, answers: T) -> T {
        answers
    }
}

impl<T, F: Fn(T) -> O, O> Combine<T> for Combined<F> {
    type Output = O;

    fn combine(&self, answers: T) -> O {
        (self.0)(answers)
    }
}

impl<T: Displayed> Combine<T> for Joined {
    type Output = String;

    fn combine(&self, answers: T) -> String {
        let mut line = String::new();
        let mut separator = "";
        answers.each(&mut |answer| {
            // Writing to a string can't fail, but a `Display` may: then it shows what it wrote.
            let _ = write!(line, "{separator}{answer}");
            separator = &self.0;
        });
        line
    }
}

impl<T: Display> Displayed for Vec<T> {
    fn each(&self, show: &mut dyn FnMut(&dyn Display)) {
        self.iter().for_each(|answer| show(answer));
    }
}

impl<F> Clone for Combined<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> fmt::Debug for Combined<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Combined").finish_non_exhaustive()
    }
}
