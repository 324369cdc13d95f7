//! The Chrome trace, checked by a strict reader of its format.
//!
//! The rules are those of the format's description (<https://chromium.googlesource.com/catapult>, "Trace Event Format"),
//! and of Perfetto's importer where that is stricter.

use crate::support::{forever, manual, ms};
use failfast::observe::Recorder;
use failfast::{BoxError, Context, Group, InPlaceGroup};
use futures::executor::block_on;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, ready};

/// What a trace shows.
#[derive(Default)]
pub(crate) struct Shown {
    /// Of slices, in the order of the file.
    pub(crate) names: Vec<String>,
    pub(crate) slices: BTreeMap<Track, Vec<Slice>>,
    pub(crate) arrows: BTreeMap<u64, (Option<End>, Option<End>)>,
    pub(crate) instants: Vec<(String, u64)>,
    processes: BTreeSet<u64>,
    threads: BTreeMap<Track, String>,
}

type Track = (u64, u64);
/// A track, and a moment in nanoseconds.
type End = (Track, u64);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice {
    pub(crate) name: String,
    pub(crate) category: String,
    /// In nanoseconds.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) args: Value,
}

/// Reads a trace, and panics at whatever a viewer would drop, misplace or refuse.
pub(crate) fn check(trace: &[u8]) -> Shown {
    let trace: Value = serde_json::from_slice(trace).expect("JSON");
    let top = trace.as_object().expect("the object form of the format");
    assert_eq!(top["displayTimeUnit"], "ms");
    let mut shown = Shown::default();
    for event in top["traceEvents"].as_array().expect("a list of events") {
        shown.read(event.as_object().expect("an event is an object"));
    }
    shown.check_tracks();
    shown.check_nesting();
    shown.check_arrows();
    shown
}

fn text<'a>(event: &'a Map<String, Value>, key: &str) -> &'a str {
    let value = event
        .get(key)
        .unwrap_or_else(|| panic!("{key} is missing: {event:?}"));
    value
        .as_str()
        .unwrap_or_else(|| panic!("{key} is not a text: {event:?}"))
}

/// Process and thread numbers are 32 bits wide in Perfetto, and 0 is the idle process.
fn number(event: &Map<String, Value>, key: &str) -> u64 {
    let value = event.get(key).and_then(Value::as_u64);
    let number = value.unwrap_or_else(|| panic!("{key} is not a number: {event:?}"));
    assert!(
        (1..=u64::from(u32::MAX)).contains(&number),
        "{key}: {event:?}"
    );
    number
}

/// From microseconds with three decimals, exactly.
fn nanos(event: &Map<String, Value>, key: &str) -> u64 {
    let value = event.get(key).and_then(Value::as_f64);
    let micros = value.unwrap_or_else(|| panic!("{key} is not a number: {event:?}"));
    assert!(micros >= 0.0, "{key}: {event:?}");
    (micros * 1000.0).round() as u64
}

fn only_keys(event: &Map<String, Value>, keys: &[&str]) {
    let unknown = event.keys().find(|key| !keys.contains(&key.as_str()));
    assert_eq!(unknown, None, "{event:?}");
}

impl Shown {
    fn read(&mut self, event: &Map<String, Value>) {
        let track = (number(event, "pid"), number(event, "tid"));
        match text(event, "ph") {
            "M" => self.metadata(event, track),
            "X" => self.slice(event, track),
            "i" => self.instant(event),
            "s" => self.arrow(event, track, false),
            "f" => self.arrow(event, track, true),
            other => panic!("phase {other}"),
        }
    }

    fn metadata(&mut self, event: &Map<String, Value>, track: Track) {
        only_keys(event, &["ph", "pid", "tid", "name", "args"]);
        let args = event["args"].as_object().expect("args");
        match text(event, "name") {
            "process_name" => {
                text(args, "name");
                assert!(self.processes.insert(track.0), "named twice: {event:?}");
            }
            "thread_name" => {
                let before = self.threads.insert(track, text(args, "name").to_owned());
                assert_eq!(before, None, "named twice: {event:?}");
            }
            "process_sort_index" | "thread_sort_index" => {
                assert!(args["sort_index"].is_u64(), "{event:?}");
            }
            other => panic!("metadata {other}"),
        }
    }

    fn slice(&mut self, event: &Map<String, Value>, track: Track) {
        only_keys(
            event,
            &["ph", "pid", "tid", "name", "cat", "ts", "dur", "args"],
        );
        let from = nanos(event, "ts");
        self.names.push(text(event, "name").to_owned());
        self.slices.entry(track).or_default().push(Slice {
            name: text(event, "name").to_owned(),
            category: text(event, "cat").to_owned(),
            from,
            to: from + nanos(event, "dur"),
            args: event["args"].clone(),
        });
    }

    fn instant(&mut self, event: &Map<String, Value>) {
        only_keys(event, &["ph", "pid", "tid", "name", "cat", "ts", "s"]);
        assert!(["g", "p", "t"].contains(&text(event, "s")), "{event:?}");
        self.instants
            .push((text(event, "name").to_owned(), nanos(event, "ts")));
    }

    fn arrow(&mut self, event: &Map<String, Value>, track: Track, is_tip: bool) {
        only_keys(
            event,
            &["ph", "pid", "tid", "name", "cat", "id", "ts", "bp"],
        );
        assert_eq!(
            (text(event, "name"), text(event, "cat")),
            ("cancels", "cancel")
        );
        let end = Some((track, nanos(event, "ts")));
        let arrow = self.arrows.entry(number(event, "id")).or_default();
        let side = if is_tip { &mut arrow.1 } else { &mut arrow.0 };
        assert_eq!(*side, None, "an id is used twice: {event:?}");
        *side = end;
        assert_eq!(
            event.get("bp").and_then(Value::as_str),
            is_tip.then_some("e"),
            "{event:?}"
        );
    }

    /// Each slice lies on a thread with a name, in a process with a name, and a thread number belongs to one process.
    fn check_tracks(&self) {
        let threads: BTreeSet<_> = self.threads.keys().map(|(_, tid)| tid).collect();
        assert_eq!(
            threads.len(),
            self.threads.len(),
            "a thread in two processes"
        );
        for track in self.slices.keys() {
            assert!(
                self.threads.contains_key(track) && self.processes.contains(&track.0),
                "{track:?}"
            );
        }
    }

    /// A viewer drops a slice that overlaps one before it and does not lie within it.
    fn check_nesting(&self) {
        for (track, slices) in &self.slices {
            let mut open: Vec<&Slice> = Vec::new();
            let mut before = 0;
            for slice in slices {
                assert!(slice.from >= before, "out of order on {track:?}: {slice:?}");
                before = slice.from;
                open.retain(|outer| {
                    outer.to > slice.from || (outer.to >= slice.to && outer.to == slice.from)
                });
                if let Some(outer) = open.last() {
                    assert!(slice.to <= outer.to, "{slice:?} is not within {outer:?}");
                }
                open.push(slice);
            }
        }
    }

    fn check_arrows(&self) {
        for (id, (from, to)) in &self.arrows {
            let (Some(from), Some(to)) = (from, to) else {
                panic!("arrow {id} has one end");
            };
            assert!(from.1 <= to.1, "arrow {id} leads back in time");
            for (track, at) in [from, to] {
                let inside = |slice: &Slice| slice.from <= *at && *at <= slice.to;
                assert!(
                    self.slices[track].iter().any(inside),
                    "arrow {id} ends beside every slice"
                );
            }
        }
    }

    /// Slices of a category, by name.
    fn of(&self, category: &str) -> Vec<&Slice> {
        let all = self.slices.values().flatten();
        all.filter(|slice| slice.category == category).collect()
    }
}

fn traced(recorder: &Recorder) -> Shown {
    let mut trace = Vec::new();
    recorder.write_chrome_trace(&mut trace).unwrap();
    check(&trace)
}

#[test]
fn failure_has_an_arrow_to_each_task_that_it_cancelled() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx.with_timeout(ms(7)));
    let below = group.context().clone();
    for name in ["orders", "ads"] {
        group.spawn_named(name, forever());
    }
    group.spawn_named("done", ready(Ok::<_, BoxError>(())));
    group.spawn_named("profile", async move {
        below.sleep(ms(5)).await?;
        Err::<(), BoxError>("HTTP 500".into())
    });
    let waiter = std::thread::spawn(move || block_on(group.wait()).unwrap_err());
    while clock.armed() < 2 {
        std::thread::yield_now();
    }
    clock.advance(ms(5));
    waiter.join().unwrap();
    let shown = traced(&recorder);
    assert_eq!(shown.arrows.len(), 2);
    let named = |track: &Track| shown.threads[track].as_str();
    let arrows: Vec<_> = shown
        .arrows
        .values()
        .map(|(from, to)| (named(&from.unwrap().0), named(&to.unwrap().0)))
        .collect();
    assert_eq!(arrows, [("profile", "orders"), ("profile", "ads")]);
    assert!(shown.instants.contains(&("deadline".to_owned(), 7_000_000)));
    assert!(shown.instants.contains(&("canceled".to_owned(), 5_000_000)));
    let tasks = shown.of("task");
    assert_eq!(tasks.len(), 4);
    let profile = tasks.iter().find(|task| task.name == "profile").unwrap();
    assert_eq!((profile.from, profile.to), (0, 5_000_000));
    assert_eq!(profile.args["error"], "profile: HTTP 500");
    assert_eq!(profile.args["outcome"], "failed");
    assert!(shown.of("poll").len() >= 5);
}

#[test]
fn names_stand_unshortened() {
    let recorder = Recorder::new();
    let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    let name = "a \"long\" name \\ of <many> words\n".repeat(100);
    group.spawn_named(name.clone(), ready(Ok::<_, BoxError>(())));
    block_on(group.wait()).unwrap();
    let shown = traced(&recorder);
    assert_eq!(shown.of("task")[0].name, name);
    assert!(shown.threads.values().any(|thread| *thread == name));
}

#[test]
fn ten_thousand_tasks_are_all_there() {
    let recorder = Recorder::new();
    let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    (0..10_000).for_each(|n| group.spawn(ready(Ok::<_, BoxError>(n))));
    block_on(group.wait()).unwrap();
    let shown = traced(&recorder);
    assert_eq!(
        (shown.of("task").len(), shown.of("poll").len()),
        (10_000, 10_000)
    );
}

#[test]
fn nested_failure_has_arrows_in_both_groups() {
    let recorder = Recorder::new();
    let ctx = Context::background().with_observer(recorder.clone());
    let outer = InPlaceGroup::<()>::new(&ctx);
    let below = outer.context().clone();
    outer.spawn_named("waits outside", forever());
    outer.spawn_named("asks", async move {
        let inner = InPlaceGroup::<()>::new(&below);
        inner.spawn_named("waits inside", forever());
        inner.spawn_named("fails", ready(Err::<(), _>("refused")));
        inner.wait().await.map(|_| ())
    });
    assert!(block_on(outer.wait()).is_err());
    let shown = traced(&recorder);
    let named = |track: &Track| shown.threads[track].as_str();
    let arrows: BTreeSet<_> = shown
        .arrows
        .values()
        .map(|(from, to)| (named(&from.unwrap().0), named(&to.unwrap().0)))
        .collect();
    assert_eq!(
        arrows,
        BTreeSet::from([("fails", "waits inside"), ("asks", "waits outside")])
    );
}

/// Programs of nested groups, with faults, in virtual time, and names that are in the way.
mod simulated {
    use super::*;
    use crate::support::at_most;
    use failfast::clock::ManualClock;
    use failfast::policy::{Backoff, Hedge, Retry};
    use failfast::{Source as _, SourceExt as _};
    use futures::future::{BoxFuture, FutureExt as _};

    /// Names that break what is not escaped.
    const NAMES: [&str; 14] = [
        "",
        "orders",
        "\"",
        "\\",
        "\\\"",
        "</script><script>",
        "]]>",
        "<!--",
        "\u{0}\u{1}\u{1f}\u{7f}",
        "\n\r\t\u{8}\u{c}",
        "\u{2028}\u{2029}",
        "\u{202e}evil",
        "👩‍👩‍👧 中文 \u{fffe}\u{ffff}",
        "&amp;&#x0;%s{}",
    ];

    struct Dice(fastrand::Rng);

    impl Dice {
        fn name(&mut self) -> String {
            let name = NAMES[self.0.usize(..NAMES.len())];
            if self.0.u8(..8) == 0 {
                name.repeat(50)
            } else {
                name.to_owned()
            }
        }
    }

    fn task(ctx: Context, seed: u64, depth: u32) -> BoxFuture<'static, Result<(), BoxError>> {
        async move {
            let mut dice = Dice(fastrand::Rng::with_seed(seed));
            for _ in 0..dice.0.u8(..4) {
                match dice.0.u8(..10) {
                    0 => return Err(dice.name().into()),
                    1 => std::panic::resume_unwind(Box::new(dice.name())), // without a word on standard error
                    2 => pending().await,
                    3 | 4 if depth > 0 => group(&ctx, dice.0.u64(..), depth - 1).await?,
                    5 => ctx.sleep(ms(dice.0.u64(..5))).await?,
                    6 => {
                        futures::future::poll_fn(|cx| {
                            cx.waker().wake_by_ref();
                            std::task::Poll::Ready(())
                        })
                        .await
                    }
                    7 => {
                        let fails = dice.0.bool();
                        let source = move |ctx: Context, (): ()| async move {
                            ctx.sleep(ms(u64::from(ctx.attempt().number()) % 3)).await?;
                            if fails && ctx.attempt().number() < 3 {
                                return Err::<(), BoxError>("again".into());
                            }
                            Ok(())
                        };
                        let robust = source
                            .hedge(Hedge::after(ms(1)))
                            .retry(Retry::times(1).with_backoff(Backoff::constant(ms(1))));
                        robust.fetch(ctx.clone(), ()).await?;
                    }
                    _ => {
                        ctx.sleep(std::time::Duration::from_nanos(dice.0.u64(..5_000_000)))
                            .await?
                    }
                }
            }
            Ok(())
        }
        .boxed()
    }

    async fn group(ctx: &Context, seed: u64, depth: u32) -> Result<(), BoxError> {
        let mut dice = Dice(fastrand::Rng::with_seed(seed));
        let group = InPlaceGroup::<()>::new(&ctx.with_timeout(ms(dice.0.u64(1..20))));
        let group = if dice.0.bool() {
            group.with_limit(at_most(dice.0.usize(1..4)))
        } else {
            group
        };
        for _ in 0..dice.0.u8(..6) {
            let task = task(group.context().clone(), dice.0.u64(..), depth);
            match dice.0.u8(..4) {
                0 => group.spawn_background_named(dice.name(), task),
                1 => drop(group.fork(dice.name(), task)),
                2 => group.spawn(task),
                _ => group.spawn_named(dice.name(), task),
            }
        }
        group.wait().await?;
        Ok(())
    }

    fn play(seed: u64) -> Recorder {
        let mut dice = fastrand::Rng::with_seed(seed);
        let recorder = match dice.u8(..4) {
            0 => Recorder::with_capacity(at_most(dice.usize(1..60))),
            _ => Recorder::new(),
        };
        let clock = ManualClock::new();
        let ctx = Context::background()
            .with_clock(clock.clone())
            .with_observer(recorder.clone());
        let mut run = std::pin::pin!(group(&ctx, dice.u64(..), 3));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..10_000 {
            if run.as_mut().poll(&mut cx).is_ready() {
                return recorder;
            }
            if dice.u8(..3) == 0 {
                clock.advance(std::time::Duration::from_nanos(dice.u64(..1_000_000)));
            }
        }
        panic!("seed {seed} does not end");
    }

    #[test]
    fn thousand_runs_with_hostile_names_pass_the_strict_check() {
        let (mut slices, mut arrows) = (0, 0);
        for seed in 0..1000 {
            let recorder = play(seed);
            let shown = traced(&recorder);
            slices += shown.names.len();
            arrows += shown.arrows.len();
            crate::picture::check(&recorder.to_svg());
            let drawn = recorder.timeline().with_width(70).to_string();
            assert!(
                drawn.lines().all(|line| line.chars().count() <= 70),
                "seed {seed}: {drawn}"
            );
        }
        assert!(
            slices > 5_000 && arrows > 100,
            "{slices} {arrows}: the programs do too little"
        );
    }
}

/// The reader is strict: what a viewer would drop it refuses.
mod reader {
    use super::check;
    use std::panic::catch_unwind;

    const NAMES: &str = r#"{"ph":"M","pid":1,"tid":1,"name":"process_name","args":{"name":"p"}},
        {"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"t"}}"#;

    fn is_refused(events: &str) -> bool {
        let trace = format!(r#"{{"displayTimeUnit":"ms","traceEvents":[{NAMES},{events}]}}"#);
        catch_unwind(|| check(trace.as_bytes())).is_err()
    }

    #[test]
    fn what_is_right_passes() {
        assert!(!is_refused(
            r#"{"ph":"X","pid":1,"tid":1,"name":"a","cat":"c","ts":0.000,"dur":2.500,"args":{}},
               {"ph":"X","pid":1,"tid":1,"name":"b","cat":"c","ts":1,"dur":1.5,"args":{}},
               {"ph":"s","pid":1,"tid":1,"name":"cancels","cat":"cancel","id":1,"ts":1},
               {"ph":"f","pid":1,"tid":1,"name":"cancels","cat":"cancel","id":1,"ts":2,"bp":"e"}"#
        ));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let slice = r#"{"ph":"X","pid":1,"tid":1,"name":"a","cat":"c","ts":0,"dur":2,"args":{}}"#;
        for (wrong, events) in [
            (
                "no dur",
                r#"{"ph":"X","pid":1,"tid":1,"name":"a","cat":"c","ts":0,"args":{}}"#.to_owned(),
            ),
            (
                "no name of the thread",
                slice.replace("\"tid\":1", "\"tid\":2"),
            ),
            ("process 0", slice.replace("\"pid\":1", "\"pid\":0")),
            (
                "overlap",
                format!("{slice},{}", slice.replace("\"ts\":0", "\"ts\":1")),
            ),
            (
                "out of order",
                format!("{},{slice}", slice.replace("\"ts\":0", "\"ts\":5")),
            ),
            (
                "one end",
                format!(
                    r#"{slice},{{"ph":"s","pid":1,"tid":1,"name":"cancels","cat":"cancel","id":1,"ts":1}}"#
                ),
            ),
            (
                "unbound tip",
                format!(
                    r#"{slice},{{"ph":"s","pid":1,"tid":1,"name":"cancels","cat":"cancel","id":1,"ts":1}},
                   {{"ph":"f","pid":1,"tid":1,"name":"cancels","cat":"cancel","id":1,"ts":1}}"#
                ),
            ),
            (
                "beside the slice",
                format!(
                    r#"{slice},{{"ph":"s","pid":1,"tid":1,"name":"cancels","cat":"cancel","id":1,"ts":1}},
                   {{"ph":"f","pid":1,"tid":1,"name":"cancels","cat":"cancel","id":1,"ts":3,"bp":"e"}}"#
                ),
            ),
        ] {
            assert!(is_refused(&events), "{wrong}");
        }
    }
}

/// On an executor of several threads, events of different tasks interleave.
#[test]
fn tasks_of_several_threads_pass_the_check() {
    let recorder = Recorder::new();
    let ctx = Context::background().with_observer(recorder.clone());
    for fails in [false, true] {
        let (group, _) = Group::<()>::with_context(&ctx, smol::spawn);
        for n in 0..100 {
            group.spawn(async move {
                for _ in 0..3 {
                    smol::future::yield_now().await;
                }
                if fails && n == 50 {
                    Err("refused")
                } else {
                    Ok(())
                }
            });
        }
        assert_eq!(smol::block_on(group.wait()).is_err(), fails);
    }
    let shown = traced(&recorder);
    assert_eq!(shown.of("group").len(), 2);
}
