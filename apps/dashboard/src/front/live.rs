//! What happens, as it happens: server-sent events for all who watch.
//!
//! A watcher gets a subscription to each page's recorder before the page begins, so it misses nothing of it. One that is
//! slow loses the oldest, and slows nobody down.

use std::convert::Infallible;
use std::future::ready;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use failfast::Context;
use failfast::observe::{Ended, Event, EventKind, Recorder};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::{Bytes, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use smol::Timer;

use crate::http::{Body, RequestId};
use crate::page::UserId;

/// How many pages may wait for a watcher. Of more, the oldest are left out.
const PAGES: usize = 64;

/// How many events of one page may wait for a watcher.
const EVENTS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// How many pages a watcher follows at once.
const AT_ONCE: usize = 256;

/// How often something is sent where nothing happens, so that a watcher who left without a word is noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The status that a page is given whose reader left. Nginx's, for want of a standard one.
const LEFT: u16 = 499;

/// All who watch.
#[derive(Default)]
pub(super) struct Live(Mutex<Vec<Sender<News>>>);

/// What a watcher is sent.
enum News {
    Page(BoxStream<'static, String>),
    End(String),
}

impl News {
    fn into_stream(self) -> BoxStream<'static, String> {
        match self {
            Self::Page(frames) => frames,
            Self::End(frame) => stream::once(ready(frame)).boxed(),
        }
    }
}

/// A page that is made while others watch. Dropped, it is over.
pub(super) struct OnAir<'a> {
    live: &'a Live,
    id: RequestId,
    since: Instant,
    status: u16,
}

impl Live {
    /// A page begins, which has that long.
    pub(super) fn begin(
        &self,
        id: &RequestId,
        user: UserId,
        time: Duration,
        recorder: &Recorder,
    ) -> OnAir<'_> {
        let since = Instant::now();
        let (page, deadline_us) = (id.as_str(), time.as_micros());
        let opening = frame(
            "page",
            &Opening {
                page,
                user,
                deadline_us,
            },
        );
        self.tell(|| News::Page(frames(opening.clone(), id.clone(), since, recorder)));
        OnAir {
            live: self,
            id: id.clone(),
            since,
            status: LEFT,
        }
    }

    /// The answer to a watcher: it goes on until the watcher leaves or the server drains.
    pub(super) fn answer(&self, draining: &Context) -> Response<Body> {
        let frames = self.watch().take_until(draining.done());
        let frames = frames.map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from(text))));
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn watch(&self) -> impl Stream<Item = String> + Send + use<> {
        let news = self.join();
        let pages = news.map(News::into_stream).flatten_unordered(AT_ONCE);
        let heartbeats = Timer::interval(HEARTBEAT).map(|_| ":\n\n".to_owned());
        let hello = stream::once(ready("retry: 1000\n\n".to_owned()));
        hello.chain(stream::select(pages, heartbeats))
    }

    fn join(&self) -> Receiver<News> {
        let (sender, receiver) = async_channel::bounded(PAGES);
        self.watchers().push(sender);
        receiver
    }

    /// Tells all who still watch.
    fn tell(&self, news: impl Fn() -> News) {
        let watchers = {
            let mut watchers = self.watchers();
            watchers.retain(|watcher| !watcher.is_closed());
            watchers.clone()
        };
        for watcher in watchers {
            // Refused only by one who has left meanwhile.
            let _ = watcher.force_send(news());
        }
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<Sender<News>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OnAir<'_> {
    /// The page is answered.
    pub(super) fn ended(mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for OnAir<'_> {
    fn drop(&mut self) {
        let (page, status) = (self.id.as_str(), self.status);
        let at_us = self.since.elapsed().as_micros();
        let frame = frame(
            "end",
            &End {
                page,
                status,
                at_us,
            },
        );
        self.live.tell(|| News::End(frame.clone()));
    }
}

/// A page's frames, until its group closes.
fn frames(
    opening: String,
    id: RequestId,
    since: Instant,
    recorder: &Recorder,
) -> BoxStream<'static, String> {
    let mut root = None;
    let is_open = move |event: &Event| {
        root = root.or(event.group());
        ready(event.kind() != EventKind::GroupClosed || event.group() != root)
    };
    let events = recorder.subscribe(EVENTS).take_while(is_open);
    let events = events.filter_map(move |event| ready(frame_of(&event, &id, since)));
    stream::once(ready(opening)).chain(events).boxed()
}

#[derive(Serialize)]
struct Opening<'a> {
    page: &'a str,
    user: UserId,
    deadline_us: u128,
}

#[derive(Serialize)]
struct End<'a> {
    page: &'a str,
    status: u16,
    at_us: u128,
}

/// A task that was spawned or, with an outcome, has ended.
#[derive(Serialize)]
struct TaskFrame<'a> {
    page: &'a str,
    group: Option<u64>,
    task: Option<u64>,
    name: &'a str,
    at_us: u128,
    outcome: Option<&'static str>,
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct Cancel<'a> {
    page: &'a str,
    text: Option<&'a str>,
}

/// None for what the timeline doesn't draw: the polls, say.
fn frame_of(event: &Event, id: &RequestId, since: Instant) -> Option<String> {
    let page = id.as_str();
    let name = event.name();
    let task = |outcome| TaskFrame {
        page,
        group: event.group(),
        task: event.task(),
        name: name.as_deref().unwrap_or_default(),
        at_us: event.at().saturating_duration_since(since).as_micros(),
        outcome,
        text: event.text(),
    };
    match event.kind() {
        EventKind::TaskSpawned => Some(frame("task", &task(None))),
        EventKind::TaskEnded(ended) => Some(frame("task", &task(Some(outcome(ended))))),
        EventKind::Canceled => {
            let text = event.text();
            Some(frame("cancel", &Cancel { page, text }))
        }
        _ => None,
    }
}

fn outcome(ended: Ended) -> &'static str {
    match ended {
        Ended::Succeeded => "succeeded",
        Ended::Failed => "failed",
        Ended::Panicked => "panicked",
        Ended::Cancelled => "cancelled",
        _ => "lost",
    }
}

/// One server-sent event. JSON holds no line break, so one line of data is enough.
fn frame(event: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("texts and numbers can be written");
    format!("event: {event}\ndata: {data}\n\n")
}
