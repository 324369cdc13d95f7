//! Notes when each source ran, for the timeline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use failfast::Context;

use crate::timeline::{Outcome, Row, Run};

/// A shared notebook: a row a source, over a clock that starts with it.
#[derive(Clone)]
pub(crate) struct Recorder {
    since: Instant,
    notes: Arc<Mutex<Notes>>,
}

struct Notes {
    rows: Vec<Row>,
    deadline: Option<Duration>,
}

impl Recorder {
    pub(crate) fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let rows = names
            .into_iter()
            .map(|name| Row { name, run: None })
            .collect();
        Self {
            since: Instant::now(),
            notes: Arc::new(Mutex::new(Notes {
                rows,
                deadline: None,
            })),
        }
    }

    /// Runs `work` as the source `name`, in `ctx`. Work that is dropped before it ends is noted as
    /// cancelled, at that moment.
    pub(crate) async fn watch<T, E>(
        self,
        name: &'static str,
        ctx: Context,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = self.since.elapsed();
        self.notes().deadline = ctx.remaining().map(|left| started + left);
        let mut note = Note {
            recorder: self,
            name,
            started,
            outcome: Outcome::Cancelled,
        };
        let result = work.await;
        note.outcome = if result.is_ok() {
            Outcome::Finished
        } else {
            Outcome::Failed
        };
        result
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.notes().rows.clone()
    }

    /// When the sources had to be done, if any was started.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.notes().deadline
    }

    fn write(&self, name: &str, run: Run) {
        let mut notes = self.notes();
        if let Some(row) = notes.rows.iter_mut().find(|row| row.name == name) {
            row.run = Some(run);
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Written down when it is dropped, however the source ends.
struct Note {
    recorder: Recorder,
    name: &'static str,
    started: Duration,
    outcome: Outcome,
}

impl Drop for Note {
    fn drop(&mut self) {
        let ended = self.recorder.since.elapsed();
        let run = Run {
            started: self.started,
            ended,
            outcome: self.outcome,
        };
        self.recorder.write(self.name, run);
    }
}
