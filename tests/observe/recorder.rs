//! The ring of events.

use crate::support::{at_most, forever};
use failfast::observe::Recorder;
use failfast::{Context, InPlaceGroup};
use futures::executor::block_on;
use std::convert::Infallible;
use std::future::ready;

/// A group of so many tasks has four events for each, and two of its own.
fn record(recorder: &Recorder, tasks: usize) {
    let group = InPlaceGroup::new(&Context::background().with_observer(recorder.clone()));
    (0..tasks).for_each(|n| group.spawn(ready(Ok::<_, Infallible>(n))));
    assert_eq!(block_on(group.wait()).unwrap().len(), tasks);
}

fn kept(recorder: &Recorder) -> usize {
    recorder.to_json().matches("\"event\":").count()
}

#[test]
fn every_event_is_kept_or_counted_as_dropped() {
    for capacity in [1, 2, 3, 41, 42, 43, 1000] {
        let recorder = Recorder::with_capacity(at_most(capacity));
        for runs in 1..=3 {
            record(&recorder, 10);
            let all = 42 * runs;
            assert_eq!(kept(&recorder), capacity.min(all));
            assert_eq!(recorder.dropped(), all.saturating_sub(capacity) as u64);
        }
    }
}

#[test]
fn oldest_are_dropped_first() {
    let recorder = Recorder::with_capacity(at_most(1));
    record(&recorder, 3);
    let json = recorder.to_json();
    assert!(
        json.starts_with(r#"{"dropped":13,"events":[{"event":"group_closed","at_ns":0,"group":"#),
        "{json}"
    );
}

#[test]
fn clones_share_the_events() {
    let recorder = Recorder::new();
    let clone = recorder.clone();
    record(&clone, 1);
    assert_eq!(recorder.to_json(), clone.to_json());
    assert_eq!(kept(&recorder), 6);
}

#[test]
fn nothing_recorded_is_drawn_without_panic() {
    let recorder = Recorder::default();
    assert_eq!(recorder.to_json(), r#"{"dropped":0,"events":[]}"#);
    assert_eq!(
        recorder.timeline().to_string(),
        "timeline  nothing was recorded\n"
    );
    assert!(recorder.to_svg().contains("Nothing was recorded"));
    let mut trace = Vec::new();
    recorder.write_chrome_trace(&mut trace).unwrap();
    crate::chrome::check(&trace);
    assert_eq!(
        format!("{recorder:?}"),
        "Recorder { events: 0, dropped: 0, .. }"
    );
}

/// A recorder may begin in the middle: the beginning of a task or a group need not be there.
#[test]
fn what_is_left_of_a_run_is_drawn_wherever_it_begins() {
    for capacity in 1..=30 {
        let recorder = Recorder::with_capacity(at_most(capacity));
        let ctx = Context::background().with_observer(recorder.clone());
        let outer = InPlaceGroup::<()>::new(&ctx);
        let below = outer.context().clone();
        outer.spawn(async move {
            let inner = InPlaceGroup::<()>::new(&below);
            inner.spawn(forever());
            inner.spawn_named("fails", ready(Err("refused")));
            inner.wait().await.map(|_| ())
        });
        outer.spawn_named("waits", forever());
        assert!(block_on(outer.wait()).is_err());
        let drawn = recorder.timeline().to_string();
        assert!(
            drawn.contains("earlier events were dropped") == (recorder.dropped() > 0),
            "{drawn}"
        );
        assert!(recorder.to_svg().ends_with("</svg>\n"));
        let mut trace = Vec::new();
        recorder.write_chrome_trace(&mut trace).unwrap();
        crate::chrome::check(&trace);
        serde_json::from_str::<serde_json::Value>(&recorder.to_json()).unwrap();
    }
}

/// The recorder of a server may be read while it runs.
#[test]
fn reading_and_recording_at_once() {
    let recorder = Recorder::with_capacity(at_most(500));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..100).for_each(|_| record(&recorder, 10)));
        }
        for _ in 0..50 {
            assert!(recorder.to_svg().ends_with("</svg>\n"));
            assert!(kept(&recorder) <= 500);
        }
    });
    assert_eq!(kept(&recorder) as u64 + recorder.dropped(), 2 * 100 * 42);
}

#[test]
fn writers_errors_are_returned() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = Recorder::new().write_chrome_trace(Full).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}
