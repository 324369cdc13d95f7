//! A deadline that leaves the machine: the `grpc-timeout` header.

use std::time::Duration;

/// The units of the specification, the finest first, in nanoseconds.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60 * 1_000_000_000),
    ('H', 3_600 * 1_000_000_000),
];

/// The specification allows 8 digits.
const MOST: u128 = 99_999_999;

/// Writes a time that remains as the value of a `grpc-timeout` header: at most 8 digits and a unit, in the
/// finest unit that holds it, rounded up, so that time that is left never becomes none.
///
/// Longer than 99,999,999 hours is sent as that.
///
/// Source: [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), `Timeout`;
/// the rounding is grpc-go's.
///
/// # Examples
///
/// ```
/// use failfast::{Context, grpc::to_grpc_timeout};
/// use std::time::Duration;
///
/// assert_eq!(to_grpc_timeout(Duration::from_secs(1)), "1000000u");
/// assert_eq!(to_grpc_timeout(Duration::ZERO), "0n");
///
/// let ctx = Context::background().with_timeout(Duration::from_secs(1));
/// let header = ctx.remaining().map(to_grpc_timeout);
/// assert!(header.is_some());
/// ```
pub fn to_grpc_timeout(remaining: Duration) -> String {
    let nanos = remaining.as_nanos();
    let fitting = UNITS.iter().find(|(_, unit)| nanos.div_ceil(*unit) <= MOST);
    match fitting {
        Some((letter, unit)) => format!("{}{letter}", nanos.div_ceil(*unit)),
        None => format!("{MOST}H"),
    }
}

/// Reads the value of a `grpc-timeout` header.
///
/// # Errors
///
/// [`GrpcTimeoutError`] if it is anything but 1 to 8 ASCII digits and one of the units `HMSmun`.
///
/// # Examples
///
/// ```
/// use failfast::{Context, grpc::from_grpc_timeout};
/// use std::time::Duration;
///
/// assert_eq!(from_grpc_timeout("250m"), Ok(Duration::from_millis(250)));
/// assert!(from_grpc_timeout("soon").is_err());
///
/// // A service takes over its caller's deadline:
/// # fn serve(header: &str) -> Result<(), failfast::grpc::GrpcTimeoutError> {
/// let ctx = Context::background().with_timeout(from_grpc_timeout(header)?);
/// # Ok(()) }
/// # serve("1S").unwrap();
/// ```
pub fn from_grpc_timeout(value: &str) -> Result<Duration, GrpcTimeoutError> {
    parse(value).ok_or_else(|| GrpcTimeoutError {
        value: value.chars().take(32).collect(),
    })
}

fn parse(value: &str) -> Option<Duration> {
    let (index, letter) = value.char_indices().next_back()?;
    let (_, unit) = UNITS.iter().find(|(known, _)| *known == letter)?;
    let digits = &value[..index];
    // `parse` alone would take a sign.
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos = digits.parse::<u128>().ok()? * unit;
    Some(Duration::new(
        (nanos / 1_000_000_000) as u64,
        (nanos % 1_000_000_000) as u32,
    ))
}

/// A `grpc-timeout` value that the specification doesn't allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is no grpc-timeout: that is 1 to 8 digits and a unit of H, M, S, m, u or n, like \"250m\""
)]
pub struct GrpcTimeoutError {
    /// What was read, as far as it is worth printing.
    value: String,
}
