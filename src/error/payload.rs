//! What a failed task left behind: its error or its panic, shared by everyone who asks.

use super::{BoxError, Error};
use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The error that a task returned. Dereferences to `dyn Error`; clones share it.
///
/// # Examples
///
/// ```
/// use failfast::{Error, Group};
///
/// # smol::block_on(async {
/// let group = Group::<_, ()>::new(smol::spawn);
/// group.spawn_named("orders", async { Err("no such user") });
/// let error = group.wait().await.unwrap_err();
/// let Error::Task { error, .. } = error else { unreachable!("it failed") };
/// assert_eq!(error.to_string(), "no such user");
/// # });
/// ```
#[derive(Clone)]
pub struct Failure {
    what: Arc<BoxError>,
    others: Later,
}

/// What a task panicked with. Displays the panic's message; clones share the payload.
///
/// # Examples
///
/// ```
/// use failfast::{Context, Error, Group};
///
/// # smol::block_on(async {
/// let group = Group::<_, ()>::in_place(&Context::background());
/// group.spawn(async { if true { panic!("boom") } Ok::<_, &str>(()) });
/// let error = group.wait().await.unwrap_err();
/// let Error::Panicked { panic, .. } = error else { unreachable!("it panicked") };
/// assert_eq!(panic.to_string(), "boom");
/// # });
/// ```
#[derive(Clone)]
pub struct Panic {
    what: Arc<PanicPayload>,
    others: Later,
}

/// What failed later, once that is known. Beside the error and not in it: the context's cause shares the
/// error, and a later failure may well hold that cause, so one that was reachable from there would hold
/// itself.
#[derive(Clone, Default)]
struct Later(Option<Arc<OnceLock<Known>>>);

/// The first few, and how many more there were.
type Known = (Vec<Error>, usize);

impl Later {
    fn known_in_time() -> Self {
        Self(Some(Arc::default()))
    }

    fn get(&self) -> Others<'_> {
        let known = self.0.as_ref().and_then(|others| others.get());
        known.map_or(Others::NONE, |(errors, omitted)| Others {
            errors,
            omitted: *omitted,
        })
    }

    fn set(&self, errors: Vec<Error>, omitted: usize) {
        if let Some(others) = &self.0 {
            let _ = others.set((errors, omitted)); // once
        }
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
        Self {
            what: Arc::new(error),
            others: Later::known_in_time(),
        }
    }

    /// The same error for the context's cause: see [`Later`].
    pub(crate) fn alone(&self) -> Self {
        Self {
            what: self.what.clone(),
            others: Later::default(),
        }
    }

    pub(crate) fn others(&self) -> Others<'_> {
        self.others.get()
    }

    pub(crate) fn set_others(&self, errors: Vec<Error>, omitted: usize) {
        self.others.set(errors, omitted);
    }
}

impl Deref for Failure {
    type Target = dyn StdError + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &**self.what
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.what, f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.what, f)
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
        Self {
            what: Arc::new(PanicPayload {
                message,
                payload: Mutex::new(Some(payload)),
            }),
            others: Later::known_in_time(),
        }
    }

    /// What the panic said, or a stand-in for a payload that is not text.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Error, Group};
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::in_place(&Context::background());
    /// group.spawn(async { if true { panic!("boom") } Ok::<_, &str>(()) });
    /// let error = group.wait().await.unwrap_err();
    /// let Error::Panicked { panic, .. } = error else { unreachable!("it panicked") };
    /// assert_eq!(panic.message(), "boom");
    /// # });
    /// ```
    pub fn message(&self) -> &str {
        &self.what.message
    }

    /// Takes the payload out; `None` for whoever comes later.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, Error, Group};
    /// # smol::block_on(async {
    /// let group = Group::<_, ()>::in_place(&Context::background());
    /// group.spawn(async { if true { panic!("boom") } Ok::<_, &str>(()) });
    /// let error = group.wait().await.unwrap_err();
    /// let Error::Panicked { panic, .. } = error else { unreachable!("it panicked") };
    /// assert_eq!(panic.take_payload().unwrap().downcast_ref(), Some(&"boom"));
    /// assert!(panic.take_payload().is_none());
    /// # });
    /// ```
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.what
            .payload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn resume_unwind(&self) -> ! {
        let payload = self
            .take_payload()
            .unwrap_or_else(|| Box::new(self.message().to_owned()));
        std::panic::resume_unwind(payload)
    }

    /// The same panic for the context's cause: see [`Later`].
    pub(crate) fn alone(&self) -> Self {
        Self {
            what: self.what.clone(),
            others: Later::default(),
        }
    }

    pub(crate) fn others(&self) -> Others<'_> {
        self.others.get()
    }

    pub(crate) fn set_others(&self, errors: Vec<Error>, omitted: usize) {
        self.others.set(errors, omitted);
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
