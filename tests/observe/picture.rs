//! The SVG: it is well formed, shows everything, and holds nothing that runs.

use crate::support::{forever, manual, ms};
use failfast::observe::Recorder;
use failfast::{BoxError, InPlaceGroup};
use futures::executor::block_on;
use std::future::ready;

/// Checks that a picture is well-formed XML of the elements that are expected, each with its title.
pub(crate) fn check(svg: &str) {
    let mut open: Vec<(&str, bool)> = Vec::new();
    let mut rest = svg;
    while let Some(begin) = rest.find('<') {
        check_text(&rest[..begin], open.last().map(|(tag, _)| *tag));
        let end = begin + rest[begin..].find('>').expect("a tag ends");
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let (opened, titled) = open.pop().expect("an end tag has a beginning");
            assert_eq!(opened, name);
            assert!(
                titled || ["title", "style"].contains(&name),
                "{name} without a title"
            );
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(
            ["svg", "title", "style", "rect", "text", "line", "path"].contains(&name),
            "<{name}>"
        );
        check_attributes(attributes);
        if name == "title" {
            open.last_mut().expect("a title has an element").1 = true;
        }
        open.push((name, false));
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(rest.trim(), "");
    assert!(
        !svg.contains("<script") && !svg.contains("href"),
        "nothing runs or is loaded"
    );
}

fn check_text(text: &str, within: Option<&str>) {
    let is_allowed = |character: char| !character.is_control() || character == '\n';
    assert!(text.chars().all(is_allowed), "{text:?}");
    assert!(!text.contains(['\u{fffe}', '\u{ffff}']));
    if within == Some("style") {
        return;
    }
    for (position, _) in text.match_indices('&') {
        let entity = text[position + 1..].split(';').next().unwrap();
        assert!(
            ["amp", "lt", "gt", "quot", "#39"].contains(&entity),
            "{text:?}"
        );
    }
}

fn check_attributes(mut attributes: &str) {
    while !attributes.is_empty() {
        let (name, rest) = attributes
            .split_once("=\"")
            .unwrap_or_else(|| panic!("{attributes}"));
        assert!(
            name.chars()
                .all(|character| character.is_ascii_alphanumeric() || character == '-'),
            "{name}"
        );
        assert!(!name.starts_with("on"), "{name}");
        let (value, rest) = rest.split_once('"').expect("a value ends");
        assert!(
            !value.contains(['<', '&']) && !value.contains("NaN") && !value.contains("inf"),
            "{value}"
        );
        attributes = rest.trim_start();
    }
}

#[test]
fn domino_shows_the_failure_the_arrows_and_the_deadline() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx.with_timeout(ms(5)));
    group.spawn_named("orders <&>", forever());
    group.spawn_named("profile", ready(Err::<(), _>("HTTP 500")));
    clock.advance(ms(3));
    assert!(block_on(group.wait()).is_err());
    let svg = recorder.to_svg();
    check(&svg);
    assert!(
        svg.contains("the failure of profile cancelled orders &lt;&amp;&gt;"),
        "{svg}"
    );
    assert!(svg.contains(">deadline 5.00ms<"), "{svg}");
    assert!(svg.contains("failed after 3.00ms: HTTP 500"), "{svg}");
    assert!(svg.contains("prefers-color-scheme:dark"));
}

#[test]
fn ten_thousand_tasks_make_a_picture_that_lists_what_it_left_out() {
    let recorder = Recorder::new();
    let group = InPlaceGroup::<()>::new(&manual(recorder.clone()).1);
    for n in 0..10_000 {
        group.spawn_named(format!("item {n}"), async move {
            if n == 9_000 { Err("refused") } else { Ok(()) }
        });
    }
    assert!(block_on(group.wait()).is_err());
    let svg = recorder.to_svg();
    check(&svg);
    assert!(svg.len() < 400_000, "{} bytes", svg.len());
    assert!(svg.contains(">item 9000<"), "the failure is shown");
    assert!(
        svg.contains("Not shown: 9901 more tasks: "),
        "{}",
        &svg[svg.len() - 1000..]
    );
}

#[test]
fn polls_too_close_to_be_distinguished_are_drawn_as_one_and_counted() {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let group = InPlaceGroup::<()>::new(&ctx);
    let mut polls = 0;
    group.spawn(std::future::poll_fn(move |cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls < 20_000 {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(Ok::<_, BoxError>(()))
        }
    }));
    let mut wait = Box::pin(group.wait());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while wait.as_mut().poll(&mut cx).is_pending() {
        clock.advance(ms(1));
    }
    let svg = recorder.to_svg();
    check(&svg);
    let strips = svg.matches("finished poll").count();
    assert!((1..=600).contains(&strips), "{strips}");
    assert!(svg.contains("20000 polls at 0ms") && svg.contains("poll sparse"));
}
