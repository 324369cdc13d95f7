//! The demo's options, one argument a line: any list of arguments gives options or a message and exit code 2,
//! and never a panic; options mean what was written, and are read again as they were.
#![no_main]

#[path = "../../examples/smol_demo/cli.rs"]
mod cli;

use clap::Parser as _;
use clap::error::ErrorKind;
use cli::{Culprit, Options};
use humantime::{format_duration, parse_duration};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Options, clap::Error> {
    Options::try_parse_from(std::iter::once("smol_demo").chain(arguments))
}

/// A refusal is told on standard error, and ends the program with 2; only help is no error.
fn check_refusal(error: &clap::Error) {
    let message = error.to_string();
    if error.kind() == ErrorKind::DisplayHelp {
        assert!(message.contains("Usage: smol_demo"), "{message}");
        assert_eq!((error.exit_code(), error.use_stderr()), (0, false));
        return;
    }
    assert!(message.starts_with("error: "), "{message}");
    assert_eq!((error.exit_code(), error.use_stderr()), (2, true));
}

/// What a person reads in arguments that were accepted: each option's value, by its name.
fn read<'a>(arguments: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
    let mut read = BTreeMap::new();
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        if argument == "--" {
            assert_eq!(rest.next(), None, "there is nothing but options");
            break;
        }
        let (name, value) = match argument.split_once('=') {
            Some(both) => both,
            None if argument == "--timeline" => (argument, ""),
            None => (argument, *rest.next().expect("an option has a value")),
        };
        let before = read.insert(name, value);
        assert_eq!(before, None, "{name} is there twice");
    }
    read
}

/// `<digits><unit>`, without humantime.
fn plain(value: &str) -> Option<Duration> {
    let unit = value.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let number: u32 = value[..value.len() - unit.len()].parse().ok()?;
    let one = match unit {
        "ns" => Duration::from_nanos(1),
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        _ => return None,
    };
    Some(one * number)
}

fn duration(value: &str) -> Duration {
    let duration = parse_duration(value).expect("it was accepted");
    assert!(
        plain(value).is_none_or(|plain| plain == duration),
        "{value:?} is not {duration:?}"
    );
    duration
}

fn check_meaning(options: &Options, arguments: &[&str]) {
    let mut read = read(arguments);
    let id = read.remove("--id");
    assert_eq!(
        Ok(options.id),
        id.map_or(Ok(1), str::parse),
        "{arguments:?}"
    );
    assert_eq!(options.timeout, read.remove("--timeout").map(duration));
    let mut delay = |name| read.remove(name).map_or(Duration::ZERO, duration);
    assert_eq!(options.profile_delay, delay("--profile-delay"));
    assert_eq!(options.orders_delay, delay("--orders-delay"));
    assert_eq!(options.hiccup, delay("--hiccup"));
    assert_eq!(options.fail.map(name), read.remove("--fail"));
    assert_eq!(options.optional.map(name), read.remove("--optional"));
    assert_eq!(options.hedge, read.remove("--hedge").map(duration));
    let mut number = |name| read.remove(name).map_or(Ok(0), str::parse::<u64>);
    assert_eq!(Ok(options.fail_first), number("--fail-first"));
    assert_eq!(Ok(options.retry.into()), number("--retry"));
    let mut file = |name| read.remove(name).map(PathBuf::from);
    assert_eq!(options.svg, file("--svg"));
    assert_eq!(options.trace, file("--trace"));
    assert_eq!(options.timeline, read.remove("--timeline").is_some());
    assert!(
        read.is_empty(),
        "accepted, and nothing is known of {read:?}"
    );
}

fn name(culprit: Culprit) -> &'static str {
    match culprit {
        Culprit::Profile => "profile",
        Culprit::Orders => "orders",
    }
}

fn written(options: &Options) -> Vec<String> {
    let Options {
        id,
        timeout,
        profile_delay,
        orders_delay,
        fail,
        fail_first,
        hiccup,
        retry,
        hedge,
        optional,
        timeline,
        svg,
        trace,
    } = options;
    let timeout = timeout.map(|timeout| format!("--timeout={}", format_duration(timeout)));
    let hedge = hedge.map(|hedge| format!("--hedge={}", format_duration(hedge)));
    let culprit = fail.map(|culprit| format!("--fail={}", name(culprit)));
    let optional = optional.map(|optional| format!("--optional={}", name(optional)));
    let file = |name: &str, file: &Option<PathBuf>| {
        let file = file.as_ref()?.to_str()?;
        Some(format!("--{name}={file}"))
    };
    [
        format!("--id={id}"),
        format!("--profile-delay={}", format_duration(*profile_delay)),
        format!("--orders-delay={}", format_duration(*orders_delay)),
        format!("--hiccup={}", format_duration(*hiccup)),
        format!("--fail-first={fail_first}"),
        format!("--retry={retry}"),
    ]
    .into_iter()
    .chain(timeout)
    .chain(culprit)
    .chain(hedge)
    .chain(optional)
    .chain(file("svg", svg))
    .chain(file("trace", trace))
    .chain(timeline.then(|| "--timeline".to_owned()))
    .collect()
}

fuzz_target!(|lines: &str| {
    let arguments: Vec<_> = lines.lines().collect();
    match parse(arguments.iter().copied()) {
        Err(error) => check_refusal(&error),
        Ok(options) => {
            check_meaning(&options, &arguments);
            let written = written(&options);
            let again = parse(written.iter().map(String::as_str));
            let again = again.unwrap_or_else(|error| panic!("{written:?}: {error}"));
            assert_eq!(format!("{again:?}"), format!("{options:?}"));
        }
    }
});
