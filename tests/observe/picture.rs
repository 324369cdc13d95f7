//! The SVG: it is well formed, shows everything, and holds nothing that runs.

use crate::support::{at_most, forever, manual, ms};
use failfast::observe::Recorder;
use failfast::policy::{Backoff, Breaker, Hedge, Jitter, Retry};
use failfast::{Aggregator, BoxError, Context, InPlaceGroup, SourceExt};
use futures::executor::block_on;
use std::future::{Future, ready};
use std::num::NonZeroU32;

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

/// An aggregation whose sources are tried again, overtaken, refused and done without, and groups inside of a task.
fn of_attempts() -> String {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let source = |millis: u64, good: u32| {
        move |ctx: Context, (): ()| async move {
            ctx.sleep(ms(millis)).await?;
            let number = ctx.attempt().number();
            if number < good {
                Err(BoxError::from("HTTP 503"))
            } else {
                Ok(number)
            }
        }
    };
    let wait = Backoff::constant(ms(20)).with_jitter(Jitter::None);
    let breaker = Breaker::new("ads").with_trip(NonZeroU32::MIN, NonZeroU32::MIN);
    let nested = |ctx: Context, (): ()| async move {
        let inner = InPlaceGroup::new(&ctx);
        inner.spawn_named("inner one", forever());
        inner.spawn_named("inner two", forever());
        inner.wait().await.map(drop)
    };
    let tried = source(1, 9).breaker(&breaker);
    let page = Aggregator::in_place()
        .with_name("page")
        .with_timeout(ms(150))
        .source(
            "profile",
            source(15, 3).retry(Retry::times(2).with_backoff(wait.clone())),
        )
        .source("orders", source(60, 1).hedge(Hedge::after(ms(25)).times(2)))
        .source(
            "ads",
            tried.retry(Retry::times(1).with_backoff(wait)).optional(),
        )
        .source("stock", nested);
    let mut answer = Box::pin(page.aggregate(&ctx, ()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while answer.as_mut().poll(&mut cx).is_pending() {
        clock.advance(ms(1));
    }
    drop(answer);
    recorder.to_svg()
}

/// More tasks than there are rows, which overlap in time, in two groups; and some that have not ended.
fn of_a_crowd() -> String {
    let recorder = Recorder::new();
    let (clock, ctx) = manual(recorder.clone());
    let outer = InPlaceGroup::<()>::new(&ctx.with_timeout(ms(10_000))).with_limit(at_most(40));
    let below = outer.context().clone();
    let inner = InPlaceGroup::<()>::new(&below);
    for number in 0..130_u64 {
        let ctx = below.clone();
        outer.spawn(async move {
            ctx.sleep(ms(3 + number % 7)).await?;
            match number % 50 {
                49 => Err(BoxError::from("refused")),
                _ => Ok(()),
            }
        });
    }
    inner.spawn_named("of another group", forever());
    let mut first = Box::pin(outer.wait());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..12 {
        if first.as_mut().poll(&mut cx).is_ready() {
            break;
        }
        clock.advance(ms(1));
    }
    let svg = recorder.to_svg();
    drop((first, inner));
    svg
}

/// The elements of a picture, one a line, without places in sources and without tasks whose numbers are above 19.
fn elements(svg: &str) -> String {
    let mut text = String::new();
    for (position, part) in svg.split(".rs:").enumerate() {
        let is_place = |character: char| character.is_ascii_digit() || character == ':';
        text += if position > 0 { ".rs:HERE" } else { "" };
        text += if position > 0 {
            part.trim_start_matches(is_place)
        } else {
            part
        };
    }
    for end in ["</text>", "</rect>", "</path>", "</line>"] {
        text = text.replace(end, &format!("{end}\n"));
    }
    let is_of_many = |line: &&str| {
        let numbers = line.split("task ").skip(1);
        let mut numbers =
            numbers.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap());
        numbers.any(|number| number.parse().is_ok_and(|number: u32| number > 19))
    };
    text.lines()
        .filter(|line| !is_of_many(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Drawn anew by `FAILFAST_DRAW=1 cargo test --test observe pinned`.
fn pinned(name: &str, svg: &str) {
    check(svg);
    let drawn = elements(svg);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/observe")
        .join(name);
    if std::env::var_os("FAILFAST_DRAW").is_some() {
        std::fs::write(&path, &drawn).expect("it can be written");
    }
    let known = std::fs::read_to_string(&path).expect("it can be read");
    for (known, drawn) in known.lines().zip(drawn.lines()) {
        assert_eq!(drawn, known, "{name} is not what the library draws");
    }
    assert_eq!(known.lines().count(), drawn.lines().count(), "{name}");
}

#[test]
fn pinned_picture_of_attempts() {
    pinned("attempts.svg", &of_attempts());
}

#[test]
fn pinned_picture_of_a_crowd() {
    pinned("crowd.svg", &of_a_crowd());
}
