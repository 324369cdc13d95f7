//! Names are for people: errors, logs, snapshots.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A name of a task, a source or an aggregator. Dereferences to `str`.
///
/// Two words wide and cheap to clone: a static text is borrowed, any other is shared. It compares, orders and
/// hashes as its text does, so that a map keyed by names can be searched with a `&str`.
///
/// # Examples
///
/// ```
/// use failfast::Name;
/// use std::collections::HashMap;
///
/// assert_eq!(Name::from("profile"), "profile");
/// assert_eq!(Name::from(format!("page {}", 2)).len(), 6);
///
/// let took = HashMap::from([(Name::from("profile"), 12)]);
/// assert_eq!(took.get("profile"), Some(&12));
/// ```
#[derive(Clone)]
pub struct Name(Repr);

/// Of one width with `&str`: the thin pointer lies where the length of the static text does.
#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<String>),
}

const _: () = assert!(size_of::<Name>() == 2 * size_of::<usize>());

impl Name {
    /// The name as text.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(failfast::Name::from("profile").as_str(), "profile");
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(name) => name,
            Repr::Shared(name) => name,
        }
    }

    /// The name of a task that was given none: its number, counted from 0 in the order of spawning.
    pub(crate) fn of_number(number: u64) -> Self {
        Self::from(format!("task {number}"))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self(Repr::Static(name))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(Repr::Shared(Arc::new(name)))
    }
}

impl From<Arc<str>> for Name {
    fn from(name: Arc<str>) -> Self {
        Self::from(String::from(&*name))
    }
}

impl From<Cow<'static, str>> for Name {
    fn from(name: Cow<'static, str>) -> Self {
        match name {
            Cow::Borrowed(name) => name.into(),
            Cow::Owned(name) => name.into(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Name {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}
