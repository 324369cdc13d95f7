//! The events and a snapshot as JSON, read back by a parser.

use crate::support::{forever, manual, ms};
use failfast::observe::Recorder;
use failfast::{Context, InPlaceGroup};
use futures::executor::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::future::ready;

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

#[test]
fn events_are_read_back_with_their_content() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx.with_timeout(ms(5)));
    clock.advance(ms(1));
    group.spawn_named("orders", ready(Err("refused")));
    assert!(block_on(group.wait()).is_err());
    let json = parsed(&recorder.to_json());
    assert_eq!(json["dropped"], 0);
    let events = json["events"].as_array().unwrap();
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    let expected = [
        "group_opened",
        "task_spawned",
        "poll_started",
        "poll_ended",
        "task_ended",
        "canceled",
        "group_closed",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(
        (
            &events[0]["parent"],
            &events[0]["deadline_ns"],
            &events[0]["at_ns"]
        ),
        (&Value::Null, &json!(5_000_000), &json!(0))
    );
    let ended = &events[4];
    assert_eq!(
        (
            &ended["at_ns"],
            &ended["task"],
            &ended["name"],
            &ended["outcome"],
            &ended["text"]
        ),
        (
            &json!(1_000_000),
            &json!(0),
            &json!("orders"),
            &json!("failed"),
            &json!("orders: refused")
        )
    );
    assert_eq!(ended["group"], events[0]["group"]);
    assert!(ended["location"].as_str().unwrap().contains("json.rs:"));
    assert_eq!(events[5]["text"], "orders: refused");
}

#[test]
fn every_character_is_read_back() {
    let all: Vec<char> = (0..=0x10_ffff).filter_map(char::from_u32).collect();
    let group = InPlaceGroup::<()>::new(&Context::background());
    for some in all.chunks(10_000) {
        group.spawn_named(String::from_iter(some), ready(Ok::<_, &str>(())));
    }
    let json = parsed(&group.snapshot().to_json());
    for (task, some) in json["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .zip(all.chunks(10_000))
    {
        assert!(task["name"] == json!(String::from_iter(some)));
    }
}

proptest! {
    #[test]
    fn any_name_and_any_error_are_read_back(name in any::<String>(), error in any::<String>()) {
        let recorder = Recorder::new();
        let group = InPlaceGroup::<()>::new(&Context::background().with_observer(recorder.clone()));
        group.spawn_named(name.clone(), ready(Err(error.clone())));
        group.spawn_named(name.clone(), forever());
        let snapshot = parsed(&group.snapshot().to_json());
        prop_assert_eq!(&snapshot["tasks"][0]["name"], &json!(name));
        prop_assert!(block_on(group.wait()).is_err());
        let json = parsed(&recorder.to_json());
        prop_assert_eq!(&json["events"][1]["name"], &json!(name));
        let text = format!("{name}: {error}");
        prop_assert!(json["events"].as_array().unwrap().iter().any(|event| event["text"] == json!(text)));

        let mut trace = Vec::new();
        recorder.write_chrome_trace(&mut trace).unwrap();
        let trace = crate::chrome::check(&trace);
        prop_assert!(trace.names.contains(&name), "{:?}", name);
        crate::picture::check(&recorder.to_svg());
        let drawn = recorder.timeline().to_string();
        prop_assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{}", drawn);
        prop_assert!(!drawn.chars().any(|character| character.is_control() && character != '\n'));
    }
}
