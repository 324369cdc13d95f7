//! What a failed task left behind: its error or its panic, shared by everyone who asks.

use super::{BoxError, Error};
use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The error that a task returned. Dereferences to `dyn Error`; clones share it.
#[derive(Clone)]
pub struct Failure(Arc<Shared<BoxError>>);

/// What a task panicked with. Displays the panic's message; clones share the payload.
#[derive(Clone)]
pub struct Panic(Arc<Shared<PanicPayload>>);

struct Shared<E> {
    what: E,
    others: OnceLock<(Vec<Error>, usize)>,
}

impl<E> Shared<E> {
    fn new(what: E) -> Arc<Self> {
        Arc::new(Self {
            what,
            others: OnceLock::new(),
        })
    }

    fn others(&self) -> Others<'_> {
        self.others
            .get()
            .map_or(Others::NONE, |(errors, omitted)| Others {
                errors,
                omitted: *omitted,
            })
    }
}

/// The failures that followed the first: see [`Error::others`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Others<'a> {
    /// The first few, in the order of their coming.
    pub errors: &'a [Error],
    /// How many more there were.
    pub omitted: usize,
}

impl Others<'_> {
    pub(crate) const NONE: Others<'static> = Others {
        errors: &[],
        omitted: 0,
    };
}

impl Failure {
    pub(crate) fn new(error: BoxError) -> Self {
        Self(Shared::new(error))
    }

    pub(crate) fn others(&self) -> Others<'_> {
        self.0.others()
    }

    pub(crate) fn set_others(&self, errors: Vec<Error>, omitted: usize) {
        let _ = self.0.others.set((errors, omitted));
    }
}

impl Deref for Failure {
    type Target = dyn StdError + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0.what
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.what, f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.what, f)
    }
}

/// The payload, until someone resumes it, and its message, which stays.
struct PanicPayload {
    message: String,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A payload may itself panic when it is dropped: that must harm nobody who merely lets go of an error.
impl Drop for PanicPayload {
    fn drop(&mut self) {
        let payload = self
            .payload
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        crate::guard::discard(payload);
    }
}

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = message_of(&*payload).to_owned();
        Self(Shared::new(PanicPayload {
            message,
            payload: Mutex::new(Some(payload)),
        }))
    }

    /// What the panic said, or a stand-in for a payload that is not text.
    pub fn message(&self) -> &str {
        &self.0.what.message
    }

    /// Takes the payload out; `None` for whoever comes later.
    pub fn into_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.0
            .what
            .payload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn resume_unwind(&self) -> ! {
        let payload = self
            .into_payload()
            .unwrap_or_else(|| Box::new(self.message().to_owned()));
        std::panic::resume_unwind(payload)
    }

    pub(crate) fn others(&self) -> Others<'_> {
        self.0.others()
    }

    pub(crate) fn set_others(&self, errors: Vec<Error>, omitted: usize) {
        let _ = self.0.others.set((errors, omitted));
    }
}

/// The text of a panic's payload, which is nearly always a string.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a payload that is not text")
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}
