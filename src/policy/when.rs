//! Which failures are worth another attempt.

use super::Advice;
use crate::error::{Fault, FaultKind, walk};
use std::any::type_name;
use std::error::Error as StdError;
use std::sync::Arc;

/// What `when` was given. Empty: all failures but rejections, panics and the caller's end.
#[derive(Clone, Default)]
pub(super) struct When(Vec<Rule>);

#[derive(Clone)]
struct Rule {
    sought: &'static str,
    /// `None`: the type that it seeks is not there.
    advise: Arc<Advise>,
}

type Advise = dyn Fn(&Fault) -> Option<Advice> + Send + Sync;

impl When {
    pub(super) fn add<E, A>(&mut self, when: impl Fn(&E) -> A + Send + Sync + 'static)
    where
        E: StdError + 'static,
        A: Into<Advice>,
    {
        let advise = move |fault: &Fault| {
            let found = walk(fault).find_map(|error| error.downcast_ref::<E>());
            found.map(|error| when(error).into())
        };
        self.0.push(Rule {
            sought: type_name::<E>(),
            advise: Arc::new(advise),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first rule whose type is found decides. `Err` names the types that were not found.
    pub(super) fn advise(&self, fault: &Fault) -> Result<Advice, String> {
        let told = self.0.iter().find_map(|rule| (rule.advise)(fault));
        match (told, fault.kind()) {
            (Some(advice), _) => Ok(advice),
            (None, FaultKind::TimedOut { .. }) => Ok(Advice::Yes),
            (None, FaultKind::Rejected(_) | FaultKind::Ended(_)) => Ok(Advice::No),
            (None, _) if self.is_empty() => Ok((!fault.is_panic()).into()),
            (None, _) => Err(self.sought()),
        }
    }

    fn sought(&self) -> String {
        let sought: Vec<_> = self.0.iter().map(|rule| rule.sought).collect();
        sought.join(", ")
    }
}

impl std::fmt::Debug for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sought())
    }
}
