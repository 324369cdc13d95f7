//! Panics as errors.

use super::*;

fn resumed(error: Error) -> unwind::Payload {
    catch_unwind(AssertUnwindSafe(|| error.resume_unwind())).unwrap_err()
}

#[test]
fn payload_goes_to_the_first_that_resumes_and_the_text_to_the_next() {
    let error = Error::panicked("a", Box::new(42_u64));
    let clone = error.clone();
    let end = failed(&error);
    assert_eq!(resumed(error).downcast_ref(), Some(&42_u64));
    let text = "a payload that is not text".to_owned();
    assert_eq!(resumed(clone).downcast_ref(), Some(&text));
    assert_eq!(end.cause().to_string(), format!("a: panicked: {text}"));
}

#[test]
fn other_kinds_panic_with_their_text() {
    let payload = resumed(task("a", "refused"));
    assert_eq!(payload.downcast_ref(), Some(&"a: refused".to_owned()));
}
