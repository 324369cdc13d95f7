//! The events of all pages as they happen, as server-sent events.
//!
//! A client is subscribed to each page's recorder before the page begins, so it misses no event of it. A slow client
//! loses the oldest events, and delays neither the page nor other clients.

use std::convert::Infallible;
use std::future::ready;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_channel::Sender;
use failfast::Context;
use failfast::observe::{AttemptKind, Ended, Event, EventKind, Recorder};
use failfast::policy::Attempt;
use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use smol::Timer;

use crate::http::{Body, Problem, RequestId, problem};
use crate::page::UserId;

/// How many pages may wait for a subscriber. Of more, the oldest are left out.
const PAGES: usize = 64;

/// How many events of one page may wait for a subscriber.
const EVENTS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// How many clients may watch at once: each holds a connection, and most of those are for the pages.
const WATCHERS: usize = 128;

/// How many pages a subscriber follows at once.
const AT_ONCE: usize = 256;

/// How often a comment is sent, so that a connection that is gone without a reset is noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The status of a page whose reader left: nginx's, because there is no standard one.
const LEFT: u16 = 499;

/// The clients of the live events.
#[derive(Default)]
pub(super) struct Live(Mutex<Vec<Sender<Frames>>>);

/// The frames of one page for one client.
type Frames = BoxStream<'static, String>;

/// Sends the end of a page when it is dropped.
pub(super) struct LivePage {
    ends: Vec<oneshot::Sender<String>>,
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
    ) -> LivePage {
        let (since, page) = (Instant::now(), id.as_str());
        let deadline_us = time.as_micros();
        let opening = Opening {
            page,
            user,
            deadline_us,
        };
        let opening = frame("page", &opening);
        let subscribe = |client: Sender<Frames>| {
            let (sender, end) = oneshot::channel();
            let frames = frames(opening.clone(), id.clone(), since, recorder, end);
            // An error means that the client has left meanwhile.
            client.force_send(frames).ok().map(|_| sender)
        };
        LivePage {
            ends: self.clients().into_iter().filter_map(subscribe).collect(),
            id: id.clone(),
            since,
            status: LEFT,
        }
    }

    /// The answer to a new client: it goes on until the client leaves or the server drains. 503 if enough watch already.
    pub(super) fn answer(&self, draining: &Context) -> Response<Body> {
        let Some(frames) = self.frames() else {
            let text = format!("{WATCHERS} clients watch already: try again when one has left");
            return problem(StatusCode::SERVICE_UNAVAILABLE, &Problem::new(text));
        };
        let frames = frames.take_until(draining.done());
        let frames = frames.map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from(text))));
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// `None` if enough watch already.
    fn frames(&self) -> Option<impl Stream<Item = String> + Send + use<>> {
        let (client, pages) = async_channel::bounded(PAGES);
        self.admit(client)?;
        let pages = pages.flatten_unordered(AT_ONCE);
        let heartbeats = Timer::interval(HEARTBEAT).map(|_| ":\n\n".to_owned());
        let hello = stream::once(ready("retry: 1000\n\n".to_owned()));
        Some(hello.chain(stream::select(pages, heartbeats)))
    }

    /// Those that have left make room, and are removed.
    fn admit(&self, client: Sender<Frames>) -> Option<()> {
        let mut clients = self.lock();
        clients.retain(|client| !client.is_closed());
        if clients.len() >= WATCHERS {
            return None;
        }
        clients.push(client);
        Some(())
    }

    /// Those that are still connected.
    fn clients(&self) -> Vec<Sender<Frames>> {
        let mut clients = self.lock();
        clients.retain(|client| !client.is_closed());
        clients.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sender<Frames>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LivePage {
    /// The page is answered.
    pub(super) fn ended(mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for LivePage {
    fn drop(&mut self) {
        let end = End {
            page: self.id.as_str(),
            status: self.status,
            at_us: self.since.elapsed().as_micros(),
        };
        let end = frame("end", &end);
        for client in self.ends.drain(..) {
            // An error means that the client has left.
            let _ = client.send(end.clone());
        }
    }
}

/// A page's frames: its opening, its events, its end, which comes after all events that were there by then.
fn frames(
    opening: String,
    id: RequestId,
    since: Instant,
    recorder: &Recorder,
    end: oneshot::Receiver<String>,
) -> Frames {
    let open = Some((recorder.subscribe(EVENTS).boxed(), end));
    let rest = stream::unfold(open, move |open| {
        let id = id.clone();
        async move {
            let (mut events, end) = open?;
            // The first of the two is polled first.
            match select(events.next(), end).await {
                Either::Left((event, end)) => {
                    Some((frame_of(&event?, &id, since), Some((events, end))))
                }
                Either::Right((end, _)) => Some((end.ok(), None)),
            }
        }
    });
    stream::once(ready(opening))
        .chain(rest.filter_map(ready))
        .boxed()
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

/// An attempt of a policy that was started or, with an outcome, has ended.
#[derive(Serialize)]
struct AttemptFrame<'a> {
    page: &'a str,
    group: Option<u64>,
    task: Option<u64>,
    number: u32,
    hedge: bool,
    at_us: u128,
    outcome: Option<&'static str>,
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct Cancel<'a> {
    page: &'a str,
    text: Option<&'a str>,
}

/// `None` for events that the timeline does not draw, as polls.
fn frame_of(event: &Event, id: &RequestId, since: Instant) -> Option<String> {
    match event.kind() {
        EventKind::TaskSpawned => Some(task_frame(event, id, since, None)),
        EventKind::TaskEnded(ended) => Some(task_frame(event, id, since, Some(outcome(ended)))),
        EventKind::Attempt(attempt, kind) => attempt_frame(event, id, since, attempt, kind),
        EventKind::Canceled => {
            let (page, text) = (id.as_str(), event.text());
            Some(frame("cancel", &Cancel { page, text }))
        }
        _ => None,
    }
}

fn task_frame(
    event: &Event,
    id: &RequestId,
    since: Instant,
    outcome: Option<&'static str>,
) -> String {
    let name = event
        .name()
        .map(|name| name.to_string())
        .unwrap_or_default();
    let task = TaskFrame {
        page: id.as_str(),
        group: event.group(),
        task: event.task(),
        name: &name,
        at_us: micros(event, since),
        outcome,
        text: event.text(),
    };
    frame("task", &task)
}

/// `None` for what is not about one attempt: a delay between two, a breaker's new state.
fn attempt_frame(
    event: &Event,
    id: &RequestId,
    since: Instant,
    attempt: Attempt,
    kind: AttemptKind,
) -> Option<String> {
    let outcome = match kind {
        AttemptKind::Started => None,
        AttemptKind::Succeeded => Some("succeeded"),
        AttemptKind::Failed => Some("failed"),
        AttemptKind::Cut => Some("cancelled"),
        AttemptKind::Rejected => Some("rejected"),
        _ => return None,
    };
    let attempt = AttemptFrame {
        page: id.as_str(),
        group: event.group(),
        task: event.task(),
        number: attempt.number(),
        hedge: attempt.is_hedge(),
        at_us: micros(event, since),
        outcome,
        text: event.text(),
    };
    Some(frame("attempt", &attempt))
}

fn micros(event: &Event, since: Instant) -> u128 {
    event.at().saturating_duration_since(since).as_micros()
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
