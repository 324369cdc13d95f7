//! An observer that keeps the last events, from which everything is drawn.

use super::event::{Ended, Event, EventKind, text_of};
use super::history::History;
use super::port::{AttemptEvent, GroupEvent, Observer, Outcome, TaskEvent};
use super::subscription::{Subscriber, Subscription, subscription};
use super::timeline::Timeline;
use super::{chrome, svg};
use crate::error::Cause;
use crate::json::Object;
use crate::sync::Mutex;
use futures::stream::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Waker;

/// How many events are kept by default: a fan-out of 10,000 tasks that are polled five times each has about 120,000.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(1 << 17).unwrap();

/// Keeps what happens in the groups below a context, and draws it: as text, as a picture, and as a trace.
///
/// Holds the last 131,072 events, or [as many as it is given room for](Self::with_capacity): of more, the oldest are dropped, and
/// [counted](Self::dropped). Memory is taken as events come, some 100 bytes for each. Clones share the events.
///
/// Errors are kept as text, so that a recorder does not prevent [`Error::downcast`](crate::Error::downcast) by value.
///
/// # Examples
///
/// ```
/// use failfast::observe::Recorder;
/// use failfast::{Aggregator, Context};
///
/// async fn profile(_: Context, id: u64) -> Result<String, std::io::Error> { Ok(format!("user {id}")) }
/// async fn orders(_: Context, _: u64) -> Result<u32, std::io::Error> { Err(std::io::Error::other("refused")) }
///
/// # smol::block_on(async {
/// let recorder = Recorder::new();
/// let ctx = Context::background().with_observer(recorder.clone());
/// let dashboard = Aggregator::new(smol::spawn).source("profile", profile).source("orders", orders);
/// assert!(dashboard.aggregate(&ctx, 7).await.is_err());
///
/// let drawn = recorder.timeline().to_string();
/// assert!(drawn.contains("orders"));
/// assert!(drawn.contains("! failed at"));
/// # });
/// ```
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    events: VecDeque<Event>,
    dropped: u64,
    subscribers: Vec<Subscriber>,
}

impl Recorder {
    /// Keeps the last 131,072 events.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(failfast::observe::Recorder::new().dropped(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// Keeps the last `capacity` events.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::observe::Recorder;
    /// use failfast::{Context, InPlaceGroup};
    /// use std::num::NonZeroUsize;
    ///
    /// let recorder = Recorder::with_capacity(NonZeroUsize::new(10).unwrap());
    /// let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    /// (0..100).for_each(|n| group.spawn(async move { Ok::<_, &str>(n) }));
    /// drop(group);
    /// assert!(recorder.dropped() > 190);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: NonZeroUsize) -> Self {
        Self {
            shared: Arc::new(Shared {
                capacity: capacity.get(),
                log: Mutex::default(),
            }),
        }
    }

    /// How many events have been dropped, because more came than are kept. Each event is either kept or counted here.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(failfast::observe::Recorder::new().dropped(), 0);
    /// ```
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.log.lock().dropped
    }

    /// The events as text for a terminal: a row a group and a task, on one axis. See [`Timeline`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup, observe::Recorder};
    /// let recorder = Recorder::new();
    /// let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    /// group.spawn_named("orders", async { Ok::<_, &str>(5) });
    /// futures::executor::block_on(group.wait()).unwrap();
    /// assert!(recorder.timeline().with_width(60).to_string().contains("orders"));
    /// ```
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        Timeline::new(self.history())
    }

    /// The events as a picture: one self-contained SVG, for a file or a page.
    ///
    /// A row a group, a task and an attempt, on one time axis: polls are the darker strips, an arrow leads from the
    /// failure to each task that it cancelled, and a dashed line is the deadline. Text can be selected, each element shows
    /// more when it is pointed at, and the colors follow the reader's preference for light or dark. There is no script in
    /// it. Of more than 100 rows it shows the most important ones, and lists what it left out.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup, observe::Recorder};
    /// let recorder = Recorder::new();
    /// let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    /// group.spawn_named("orders & more", async { Ok::<_, &str>(5) });
    /// futures::executor::block_on(group.wait()).unwrap();
    /// let svg = recorder.to_svg();
    /// assert!(svg.starts_with("<svg ") && svg.contains("orders &amp; more"));
    /// ```
    #[must_use]
    pub fn to_svg(&self) -> String {
        svg::draw(&self.history())
    }

    /// The events in the Chrome trace format, which Perfetto (ui.perfetto.dev) and `chrome://tracing` open.
    ///
    /// A process a group and a thread a task; the slices are the task and its polls, the arrows lead from a failure to
    /// each task that it cancelled, and instants mark deadlines. Names stand unshortened.
    ///
    /// # Errors
    ///
    /// Those of `writer`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup, observe::Recorder};
    /// # fn main() -> std::io::Result<()> {
    /// let recorder = Recorder::new();
    /// let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    /// group.spawn_named("orders", async { Ok::<_, &str>(5) });
    /// futures::executor::block_on(group.wait()).unwrap();
    /// let mut trace = Vec::new();
    /// recorder.write_chrome_trace(&mut trace)?;
    /// assert!(trace.starts_with(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":["));
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_chrome_trace(&self, writer: impl io::Write) -> io::Result<()> {
        chrome::write(&self.history(), writer)
    }

    /// The events as JSON: `{"dropped":…,"events":[…]}`. Times are in nanoseconds since the first event.
    ///
    /// # Examples
    ///
    /// ```
    /// # use failfast::{Context, InPlaceGroup, observe::Recorder};
    /// let recorder = Recorder::new();
    /// let group = InPlaceGroup::<()>::new(&Context::background().with_observer(recorder.clone()));
    /// assert!(recorder.to_json().starts_with(r#"{"dropped":0,"events":[{"event":"group_opened","at_ns":0,"#));
    /// # drop(group);
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        let (events, dropped) = self.events();
        let since = events.iter().map(Event::at).min();
        let mut json = String::new();
        Object::begin(&mut json)
            .raw("dropped", dropped)
            .nested("events", |json| {
                json.push('[');
                for (position, event) in events.iter().enumerate() {
                    if position > 0 {
                        json.push(',');
                    }
                    event.write_json(json, since.unwrap_or(event.at));
                }
                json.push(']');
            })
            .end();
        json
    }

    /// The events from now on, as they happen: for a page, a test or a metric.
    ///
    /// Up to `capacity` events wait for the reader, in memory that is taken as they come and is freed with the reader. Of
    /// more, the oldest are dropped, and the next item is an [`EventKind::Missed`] with their number. The stream ends when
    /// the last clone of the recorder has been dropped, and with it every context that carries it.
    ///
    /// # Cancel safety
    ///
    /// Dropping a `next` loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::observe::{EventKind, Recorder};
    /// use failfast::{Context, InPlaceGroup};
    /// use futures::StreamExt as _;
    /// use std::num::NonZeroUsize;
    ///
    /// # futures::executor::block_on(async {
    /// let recorder = Recorder::new();
    /// let events = recorder.subscribe(NonZeroUsize::new(100).unwrap());
    /// let group = InPlaceGroup::<()>::new(&Context::background().with_observer(recorder));
    /// drop(group);
    /// let kinds: Vec<_> = events.map(|event| event.kind()).collect().await;
    /// assert_eq!(kinds, [EventKind::GroupOpened, EventKind::GroupClosed]);
    /// # });
    /// ```
    pub fn subscribe(
        &self,
        capacity: NonZeroUsize,
    ) -> impl Stream<Item = Event> + Send + 'static + use<> {
        let (subscriber, subscription): (_, Subscription) = subscription(capacity);
        let gone = self.shared.log.lock().subscribe(subscriber);
        drop(gone);
        subscription
    }

    fn events(&self) -> (Vec<Event>, u64) {
        let log = self.shared.log.lock();
        (log.events.iter().cloned().collect(), log.dropped)
    }

    fn history(&self) -> History {
        let (events, dropped) = self.events();
        History::new(&events, dropped)
    }

    /// Keeps an event, and hands it to the subscribers. Wakers are foreign code: they are called under no lock.
    fn keep(&self, event: Event) {
        let (wakers, replaced) = {
            let mut log = self.shared.log.lock();
            // Kept and handed out under one lock, because every reader has to see the events in the recorder's order.
            let wakers = log.publish(&event);
            (wakers, log.push(event, self.shared.capacity))
        };
        drop(replaced);
        wakers.into_iter().for_each(super::wake_reader);
    }
}

impl Log {
    /// Returns the event that made room, if one did.
    fn push(&mut self, event: Event, capacity: usize) -> Option<Event> {
        let oldest = if self.events.len() < capacity {
            None
        } else {
            self.events.pop_front()
        };
        self.dropped += u64::from(oldest.is_some());
        self.events.push_back(event);
        oldest
    }

    /// Returns those whose reader has been dropped: to be dropped under no lock, because that may wake.
    fn subscribe(&mut self, subscriber: Subscriber) -> Vec<Subscriber> {
        let known = std::mem::take(&mut self.subscribers).into_iter();
        let (known, gone) = known.partition(Subscriber::is_read);
        self.subscribers = known;
        self.subscribers.push(subscriber);
        gone
    }

    fn publish(&mut self, event: &Event) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.subscribers.retain(|subscriber| {
            let is_there = subscriber.send(event.clone());
            wakers.extend(subscriber.take_waker());
            is_there
        });
        wakers
    }
}

impl Observer for Recorder {
    fn group_opened(&self, group: &GroupEvent) {
        self.keep(Event::of_group(EventKind::GroupOpened, group, None));
    }

    fn group_closed(&self, group: &GroupEvent) {
        self.keep(Event::of_group(EventKind::GroupClosed, group, None));
    }

    fn task_spawned(&self, task: &TaskEvent) {
        self.keep(Event::of_task(EventKind::TaskSpawned, task, None));
    }

    fn task_queued(&self, task: &TaskEvent) {
        self.keep(Event::of_task(EventKind::TaskQueued, task, None));
    }

    fn poll_started(&self, task: &TaskEvent) {
        self.keep(Event::of_task(EventKind::PollStarted, task, None));
    }

    fn poll_ended(&self, task: &TaskEvent) {
        self.keep(Event::of_task(EventKind::PollEnded, task, None));
    }

    fn task_ended(&self, task: &TaskEvent, outcome: &Outcome<'_>) {
        let text = match outcome {
            Outcome::Failed(error) | Outcome::Panicked(error) => Some(text_of(error)),
            Outcome::Succeeded | Outcome::Cancelled | Outcome::Lost => None,
        };
        let kind = EventKind::TaskEnded(Ended::from(outcome));
        self.keep(Event::of_task(kind, task, text));
    }

    fn attempt(&self, task: &TaskEvent, attempt: &AttemptEvent) {
        let kind = EventKind::Attempt(attempt.attempt, attempt.kind);
        let text = attempt.error.as_ref().map(text_of);
        self.keep(Event::of_task(kind, task, text));
    }

    fn canceled(&self, group: &GroupEvent, cause: &Cause) {
        let text = Some(text_of(cause));
        self.keep(Event::of_group(EventKind::Canceled, group, text));
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.shared.log.lock();
        f.debug_struct("Recorder")
            .field("events", &log.events.len())
            .field("dropped", &log.dropped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_that_were_dropped_do_not_add_up() {
        let recorder = Recorder::new();
        let reader = recorder.subscribe(CAPACITY);
        (0..1000).for_each(|_| drop(recorder.subscribe(CAPACITY)));
        assert!(recorder.shared.log.lock().subscribers.len() <= 2);
        drop(reader);
    }
}
