//! The latest pages, as they were recorded: as a trace, a picture or a text.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use failfast::observe::Recorder;
use hyper::{Response, StatusCode};

use crate::http::{Body, Problem, RequestId, problem, text};

/// How many pages are kept.
const KEPT: usize = 64;

/// The latest pages.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<(RequestId, Recorder)>>);

impl Recent {
    /// Keeps a page, from its beginning on.
    pub(super) fn keep(&self, id: RequestId, recorder: Recorder) {
        let mut pages = self.pages();
        let oldest = if pages.len() < KEPT {
            None
        } else {
            pages.pop_front()
        };
        pages.push_back((id, recorder));
        drop(pages);
        drop(oldest); // its subscribers are woken outside of the lock
    }

    /// One view of a page.
    pub(super) fn answer(&self, id: &str, view: &str) -> Response<Body> {
        let Some(recorder) = self.find(id) else {
            let gone = format!("page {id:?} is not among the last {KEPT}");
            return problem(StatusCode::NOT_FOUND, &Problem::new(gone));
        };
        match view {
            "trace.json" => text("application/json", trace(&recorder)),
            "picture.svg" => text("image/svg+xml", recorder.to_svg()),
            "timeline.txt" => text("text/plain; charset=utf-8", recorder.timeline().to_string()),
            _ => problem(
                StatusCode::NOT_FOUND,
                &Problem::new("there are trace.json, picture.svg and timeline.txt"),
            ),
        }
    }

    /// The latest under that id, because a caller may use one twice.
    fn find(&self, id: &str) -> Option<Recorder> {
        let pages = self.pages();
        let found = pages.iter().rev().find(|(known, _)| known.as_str() == id);
        found.map(|(_, recorder)| recorder.clone())
    }

    fn pages(&self) -> MutexGuard<'_, VecDeque<(RequestId, Recorder)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trace(recorder: &Recorder) -> Vec<u8> {
    let mut trace = Vec::new();
    recorder
        .write_chrome_trace(&mut trace)
        .expect("writing to memory does not fail");
    trace
}
