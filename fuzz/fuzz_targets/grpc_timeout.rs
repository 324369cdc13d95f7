//! `grpc-timeout` headers: nothing panics, what is accepted is what the specification allows, and what is
//! written is read again.
#![no_main]

use failfast::grpc::{from_grpc_timeout, to_grpc_timeout};
use libfuzzer_sys::fuzz_target;

/// At most 8 digits, at least one, and one of the six units.
fn is_allowed(header: &str) -> bool {
    let bytes = header.as_bytes();
    let Some((unit, digits)) = bytes.split_last() else {
        return false;
    };
    b"HMSmun".contains(unit)
        && (1..=8).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
}

fuzz_target!(|header: &str| {
    let read = from_grpc_timeout(header);
    assert_eq!(read.is_ok(), is_allowed(header), "{header:?}");
    if let Ok(timeout) = read {
        let written = to_grpc_timeout(timeout);
        assert!(is_allowed(&written), "{written:?}");
        let again = from_grpc_timeout(&written).expect("what is written is read");
        assert_eq!(to_grpc_timeout(again), written);
    }
});
