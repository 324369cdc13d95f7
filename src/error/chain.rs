//! From an error to what is behind it.
//!
//! Our errors quote the error that they carry: their text ends with its text. Hence two ways down a chain:
//!
//! 1. `source()` skips what was quoted, so that a report of the chain has each text once.
//! 2. [`walk`] skips nothing. Every search for *what is it?* uses it.

use super::end::End;
use super::{BoxError, Cause, ContextError, Error, Fault, Name};
use crate::unwind;
use std::error::Error as StdError;
use std::panic::Location;
use std::{fmt, io};

type Dyn = dyn StdError + 'static;

/// What an error is to us.
pub(super) enum View<'a> {
    Error(&'a Error),
    Context(&'a ContextError),
    Cause(&'a Cause),
    Fault(&'a Fault),
    /// `io::Error` quotes as we do.
    Io(&'a (dyn StdError + Send + Sync + 'static)),
    Foreign(&'a Dyn),
}

/// What is behind an error, and whether its text has it already.
pub(super) enum Behind<'a> {
    Quoted(&'a Dyn),
    Source(&'a Dyn),
    Nothing,
}

impl<'a> View<'a> {
    pub(super) fn of(error: &'a Dyn) -> Self {
        if let Some(error) = error.downcast_ref() {
            return Self::Error(error);
        }
        if let Some(error) = error.downcast_ref() {
            return Self::Context(error);
        }
        if let Some(cause) = error.downcast_ref() {
            return Self::Cause(cause);
        }
        if let Some(fault) = error.downcast_ref() {
            return Self::Fault(fault);
        }
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(quoted) => Self::Io(quoted),
            None => Self::Foreign(error),
        }
    }

    pub(super) fn behind(&self) -> Behind<'a> {
        match *self {
            Self::Error(error) => error.behind(),
            Self::Context(error) if error.cause().is_plain() => Behind::Nothing,
            Self::Context(error) => Behind::Quoted(error.cause().as_error()),
            Self::Cause(cause) => Behind::Quoted(cause.as_error()),
            Self::Fault(fault) => fault.behind(),
            Self::Io(error) => Behind::Quoted(error),
            Self::Foreign(error) => error.source().map_or(Behind::Nothing, Behind::Source),
        }
    }

    /// Writes the text up to what is quoted.
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.write_head(f),
            Self::Context(error) => error.write_head(f),
            Self::Fault(fault) => fault.write_head(f),
            Self::Cause(_) | Self::Io(_) => Ok(()),
            Self::Foreign(error) => write!(f, "{error}"),
        }
    }

    /// What is written after all that is quoted.
    fn tail(&self, alternate: bool) -> Option<Tail<'a>> {
        match *self {
            Self::Error(error) => error.tail(),
            Self::Context(error) if alternate => error.cause().tail(),
            // What a plain cause quotes is the context error, which has the tail.
            Self::Cause(cause) if alternate && !cause.is_plain() => cause.tail(),
            Self::Fault(fault) => fault.tail().map(Tail::Attempts),
            _ => None,
        }
    }
}

/// The text after all that is quoted.
pub(super) enum Tail<'a> {
    WaitingFor(&'a [Name]),
    Attempts(&'a Fault),
    MadeAt(&'static Location<'static>),
}

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitingFor(names) => write!(f, " (waiting for {})", Listed(names)),
            Self::Attempts(fault) => fault.write_tail(f),
            Self::MadeAt(origin) => write!(f, " (context made at {origin})"),
        }
    }
}

/// Names for a line of a log: a few of them, and how many more there are.
pub(super) struct Listed<'a>(pub(super) &'a [Name]);

const LISTED: usize = 8;

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, omitted) = self.0.split_at(self.0.len().min(LISTED));
        for (number, name) in shown.iter().enumerate() {
            write!(f, "{}{name}", if number == 0 { "" } else { ", " })?;
        }
        match omitted.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Writes `error` and, in the alternate form, everything behind it. In a loop, because errors nest deeply.
pub(super) fn write(error: &Dyn, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut tails = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let view = View::of(error);
        view.write_head(f)?;
        tails.extend(view.tail(f.alternate()));
        next = match view.behind() {
            Behind::Quoted(error) => Some(error),
            Behind::Source(error) if f.alternate() => f.write_str(": ").map(|()| Some(error))?,
            Behind::Source(_) | Behind::Nothing => None,
        };
    }
    tails.iter().rev().try_for_each(|tail| write!(f, "{tail}"))
}

/// The `source()` of an error of ours: the source of the last error that it quotes.
pub(super) fn source_behind(error: &Dyn) -> Option<&Dyn> {
    let mut error = error;
    loop {
        match View::of(error).behind() {
            Behind::Quoted(quoted) => error = quoted,
            Behind::Source(source) => return Some(source),
            Behind::Nothing => return None,
        }
    }
}

/// An error, and every error behind it, quoted or not.
pub(crate) fn walk(error: &Dyn) -> impl Iterator<Item = &Dyn> {
    std::iter::successors(Some(error), |error| match View::of(*error).behind() {
        Behind::Quoted(error) | Behind::Source(error) => Some(error),
        Behind::Nothing => None,
    })
}

/// Whether a deadline or a timeout is anywhere in the chain.
pub(super) fn is_timeout(error: &Dyn) -> bool {
    walk(error).any(|error| match View::of(error) {
        View::Context(error) => error.is_deadline_exceeded(),
        View::Fault(fault) => fault.is_timeout(),
        View::Io(_) | View::Foreign(_) => is_io_timeout(error),
        View::Error(_) | View::Cause(_) => false, // what they quote decides
    })
}

fn is_io_timeout(error: &Dyn) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Whether `error` only repeats that the context ended by `end`: an echo of our own cancellation.
///
/// A wrapper that passes on its content's `source` (thiserror's `transparent`, `anyhow`) hides the content itself.
/// There the text decides: such a wrapper displays what it hides.
pub(crate) fn echo(error: &BoxError, end: &End) -> bool {
    let mut told = walk(&**error).filter_map(context_error).peekable();
    match told.peek() {
        Some(_) => told.any(|error| end.is_told_by(error)),
        None => reads_like(error, &end.error()),
    }
}

/// Whether `error` is, somewhere down its chain, the end of a context.
pub(crate) fn tells_an_end(error: &BoxError) -> bool {
    walk(&**error).any(|error| context_error(error).is_some())
}

fn context_error(error: &Dyn) -> Option<&ContextError> {
    match View::of(error) {
        View::Context(error) => Some(error),
        View::Cause(cause) => Some(cause.as_context_error()),
        _ => None,
    }
}

fn reads_like(error: &BoxError, ended: &ContextError) -> bool {
    let compared = unwind::contain_text(|| {
        let text = ended.to_string();
        walk(&**error).any(|error| error.to_string() == text)
    });
    compared.unwrap_or(false)
}

/// The field `error` of a `Debug`, shown in a way that does not recurse through errors of ours.
pub(super) fn debug_field(fields: &mut fmt::DebugStruct<'_, '_>, error: &Dyn) {
    match View::of(error) {
        View::Error(_) | View::Cause(_) | View::Fault(_) => {
            fields.field("error", &format_args!("{error}"))
        }
        _ => fields.field("error", &error),
    };
}
