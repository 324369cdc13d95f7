//! The `grpc-timeout` header, as the gRPC over HTTP/2 specification has it:
//! `TimeoutValue → {positive integer as ASCII string of at most 8 digits}`, `TimeoutUnit → H M S m u n`.

use crate::support::{SECOND, manual};
use failfast::grpc::{from_grpc_timeout, to_grpc_timeout};
use proptest::prelude::*;
use std::time::Duration;

const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60_000_000_000),
    ('H', 3_600_000_000_000),
];

/// The most that 8 digits can express.
const LONGEST: Duration = Duration::from_secs(99_999_999 * 3_600);

fn unit_of(header: &str) -> u128 {
    let letter = header.chars().last().unwrap();
    UNITS.iter().find(|(unit, _)| *unit == letter).unwrap().1
}

fn any_duration() -> impl Strategy<Value = Duration> {
    // Of every order of magnitude, not only the huge.
    (0..64_u32, any::<u64>(), 0..1_000_000_000_u32)
        .prop_map(|(shift, seconds, nanos)| Duration::new(seconds >> shift, nanos))
}

#[test]
fn every_unit_is_read() {
    for (header, read) in [
        ("1H", SECOND * 3_600),
        ("2M", SECOND * 120),
        ("3S", SECOND * 3),
        ("250m", Duration::from_millis(250)),
        ("7u", Duration::from_micros(7)),
        ("9n", Duration::from_nanos(9)),
        ("00000001S", SECOND), // 8 digits wherever they begin
        ("0n", Duration::ZERO),
        ("99999999H", LONGEST),
        ("99999999n", Duration::from_nanos(99_999_999)),
    ] {
        assert_eq!(from_grpc_timeout(header), Ok(read), "{header}");
    }
}

#[test]
fn the_finest_unit_that_holds_it_is_written() {
    for (remaining, header) in [
        (Duration::ZERO, "0n"),
        (Duration::from_nanos(1), "1n"),
        (Duration::from_nanos(99_999_999), "99999999n"),
        (Duration::from_nanos(100_000_000), "100000u"),
        (Duration::from_nanos(100_000_001), "100001u"), // rounded up: time that is left never becomes none
        (SECOND, "1000000u"),
        (SECOND * 100, "100000m"),
        (SECOND * 100_000, "100000S"),
        (SECOND * 100_000_000, "1666667M"),
        (LONGEST, "99999999H"),
        (LONGEST + SECOND, "99999999H"), // more than can be expressed
        (Duration::MAX, "99999999H"),
    ] {
        assert_eq!(to_grpc_timeout(remaining), header);
    }
}

#[test]
fn malformed_input_is_an_error() {
    // "malformed input is an error, not a panic".
    for header in [
        "",
        "S",
        "1",
        "12345678",
        "+1S",
        "-1S",
        "1 S",
        " 1S",
        "1S ",
        "1s",
        "1h",
        "1x",
        "123456789n",
        "000000001S",
        "1.5S",
        "1_000n",
        "0x1S",
        "1SS",
        "1Sm",
        "١S",
        "１S",
        "1µ",
        "1é",
        "\u{0}1S",
        "1S\n",
        "n1",
        "99999999999999999999999999999999999999999999H",
    ] {
        let error = from_grpc_timeout(header).expect_err(header);
        assert!(error.to_string().contains("grpc-timeout"), "{error}");
    }
}

#[test]
fn an_error_shows_no_more_than_the_beginning() {
    let error = from_grpc_timeout(&"9".repeat(10_000)).unwrap_err();
    assert!(error.to_string().len() < 200);
}

#[test]
fn a_deadline_travels_to_the_next_service_and_shrinks_on_the_way() {
    let (clock, here) = manual();
    let call = here.with_timeout(SECOND * 10);
    clock.advance(SECOND * 4);
    let header = call.remaining().map(to_grpc_timeout).unwrap();
    assert_eq!(header, "6000000u");
    let there = here.with_timeout(from_grpc_timeout(&header).unwrap());
    assert_eq!(there.deadline(), call.deadline());
    clock.advance(SECOND * 7);
    assert_eq!(call.remaining().map(to_grpc_timeout).unwrap(), "0n");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn round_trip_loses_less_than_a_unit_and_never_shortens(duration in any_duration()) {
        let header = to_grpc_timeout(duration);
        let digits = &header[..header.len() - 1];
        prop_assert!((1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let back = from_grpc_timeout(&header).unwrap();
        if duration > LONGEST {
            prop_assert_eq!(back, LONGEST);
        } else {
            prop_assert!(back >= duration);
            prop_assert!(back.as_nanos() - duration.as_nanos() < unit_of(&header));
        }
    }

    #[test]
    fn what_is_read_is_written_alike_or_finer(value in 0..=99_999_999_u128, unit in 0..UNITS.len()) {
        let (letter, nanos) = UNITS[unit];
        let read = from_grpc_timeout(&format!("{value}{letter}")).unwrap();
        prop_assert_eq!(read.as_nanos(), value * nanos);
        prop_assert_eq!(from_grpc_timeout(&to_grpc_timeout(read)), Ok(read));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = from_grpc_timeout(&text);
    }

    #[test]
    fn no_text_that_is_nearly_right_panics_or_slips_through(text in "[0-9+ -]{0,10}[HMSmunhsxé١]{0,2}") {
        let chars: Vec<char> = text.chars().collect();
        let right = matches!(chars.split_last(), Some((unit, digits))
            if UNITS.iter().any(|(known, _)| known == unit)
                && (1..=8).contains(&digits.len())
                && digits.iter().all(char::is_ascii_digit));
        prop_assert_eq!(from_grpc_timeout(&text).is_ok(), right);
    }
}
