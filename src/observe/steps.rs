//! What the policies around a task's source did: its attempts, and what was refused.

use super::event::Event;
use super::history::Moment;
use super::port::AttemptKind;
use crate::attempt::Attempt;
use std::sync::Arc;

/// The steps of one task, in the order of their begin.
#[derive(Clone, Default)]
pub(super) struct Steps {
    all: Vec<Step>,
    /// Since when a retry waits for its next attempt.
    waiting: Option<Moment>,
}

/// An attempt, or a moment at which a policy decided something.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) what: StepKind,
    /// Since when it was waited for.
    pub(super) waited: Option<Moment>,
    pub(super) from: Moment,
    /// `None` while it runs.
    pub(super) to: Option<Moment>,
    /// Why it failed, or what was decided.
    pub(super) text: Option<Arc<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StepKind {
    Attempt(Attempt, Outcome),
    Rejected,
    Transition,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Running,
    Succeeded,
    Failed,
    Cut,
}

impl Steps {
    /// Those that are drawn. A single attempt is not, because its row would repeat that of its task.
    pub(super) fn shown(&self) -> &[Step] {
        match &*self.all {
            [only] if matches!(only.what, StepKind::Attempt(..)) => &[],
            all => all,
        }
    }

    pub(super) fn read(&mut self, attempt: Attempt, kind: AttemptKind, event: &Event, at: Moment) {
        let text = event.text.clone();
        match kind {
            AttemptKind::Started => self.start(attempt, at),
            AttemptKind::Succeeded => self.end(attempt, Outcome::Succeeded, at, text),
            AttemptKind::Failed => self.end(attempt, Outcome::Failed, at, text),
            AttemptKind::Cut => self.end(attempt, Outcome::Cut, at, text),
            AttemptKind::Delayed(_) => self.waiting = Some(at),
            AttemptKind::Rejected => self.note(StepKind::Rejected, at, text),
            AttemptKind::Transition(..) => {
                let text = Some(kind.to_string().into());
                self.note(StepKind::Transition, at, text);
            }
        }
    }

    fn start(&mut self, attempt: Attempt, at: Moment) {
        self.all.push(Step {
            what: StepKind::Attempt(attempt, Outcome::Running),
            waited: self.waiting.take(),
            from: at,
            to: None,
            text: None,
        });
    }

    /// The latest that runs under this number: policies around one another may use it more than once.
    fn end(&mut self, attempt: Attempt, outcome: Outcome, at: Moment, text: Option<Arc<str>>) {
        let running = StepKind::Attempt(attempt, Outcome::Running);
        let Some(step) = self.all.iter_mut().rfind(|step| step.what == running) else {
            return; // its begin has been dropped
        };
        step.what = StepKind::Attempt(attempt, outcome);
        step.to = Some(at.max(step.from));
        step.text = text;
    }

    fn note(&mut self, what: StepKind, at: Moment, text: Option<Arc<str>>) {
        self.all.push(Step {
            what,
            waited: None,
            from: at,
            to: Some(at),
            text,
        });
    }

    /// The task has ended, and every attempt with it.
    pub(super) fn cut(&mut self, at: Moment) {
        for step in &mut self.all {
            if let StepKind::Attempt(attempt, Outcome::Running) = step.what {
                step.what = StepKind::Attempt(attempt, Outcome::Cut);
                step.to = Some(at.max(step.from));
            }
        }
    }
}

impl Step {
    pub(super) fn label(&self) -> String {
        match self.what {
            StepKind::Attempt(attempt, _) if attempt.is_hedge() => {
                format!("attempt {} (hedge)", attempt.number())
            }
            StepKind::Attempt(attempt, _) => format!("attempt {}", attempt.number()),
            StepKind::Rejected => "not called".to_owned(),
            StepKind::Transition => "breaker".to_owned(),
        }
    }

    /// The end, or that of the recording.
    pub(super) fn to_or(&self, last: Moment) -> Moment {
        self.to.unwrap_or(last).max(self.from)
    }

    /// Since when it was waited for, or its begin.
    pub(super) fn since(&self) -> Moment {
        self.waited.unwrap_or(self.from).min(self.from)
    }
}

impl StepKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Attempt(_, Outcome::Running) => "running",
            Self::Attempt(_, Outcome::Succeeded) => "succeeded",
            Self::Attempt(_, Outcome::Failed) => "failed",
            Self::Attempt(_, Outcome::Cut) => "cut",
            Self::Rejected => "rejected",
            Self::Transition => "changed",
        }
    }
}
