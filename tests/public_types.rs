//! Which types of other crates the public API names. Each of them ties our major version to theirs, so that a new one is
//! a decision, and is taken here.
//!
//! The list is read from rustdoc's JSON, which a stable toolchain writes when it is given `RUSTC_BOOTSTRAP`. With the feature
//! `tracing` alone, because what is public with all features is what counts.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may be named, beside the standard library.
const ALLOWED: [&str; 3] = [
    "futures_core::stream::Stream", // what streams are, until the standard library has them
    "log::Level",                   // `with_level`
    "log::Log",                     // `with_logger`
];

#[test]
fn public_types_of_other_crates_are_the_allowed_ones() {
    let documented = documented();
    let named = foreign(&documented);
    let allowed: BTreeSet<&str> = ALLOWED.into();
    for (path, items) in &named {
        assert!(
            allowed.contains(path.as_str()),
            "the public API names {path}, in: {items:?}"
        );
    }
    let unused: Vec<_> = allowed
        .iter()
        .filter(|path| !named.contains_key(**path))
        .collect();
    assert!(unused.is_empty(), "no longer in the API: {unused:?}");
}

/// The crate as rustdoc sees it with all features.
fn documented() -> Value {
    let target = target();
    let output = Command::new(env!("CARGO"))
        .args(["rustdoc", "--lib", "--all-features", "--target-dir"])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTDOCFLAGS")
        .output()
        .expect("cargo runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rustdoc fails:\n{told}");
    let json = std::fs::read(target.join("doc/failfast.json")).expect("rustdoc writes its JSON");
    serde_json::from_slice(&json).expect("rustdoc's JSON is JSON")
}

/// Beside the directory that the test was built in, because that one may be locked.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("public-types")
}

/// The paths of other crates that public items name, with the names of these items.
fn foreign(documented: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut named = BTreeMap::new();
    let index = documented["index"]
        .as_object()
        .expect("an index of all items");
    let own = |item: &&Value| item["crate_id"] == 0 && !is_derived_by_rustdoc(item);
    for item in index.values().filter(own) {
        let name = item["name"].as_str().unwrap_or("an impl");
        ids(&item["inner"], &mut |id| {
            if let Some(path) = foreign_path(documented, id) {
                named
                    .entry(path)
                    .or_insert_with(BTreeSet::new)
                    .insert(name.to_owned());
            }
        });
    }
    named
}

/// Blanket impls and auto traits, which rustdoc lists with each type: other crates' matter.
fn is_derived_by_rustdoc(item: &Value) -> bool {
    let inner = &item["inner"]["impl"];
    !inner["blanket_impl"].is_null() || inner["is_synthetic"] == true
}

/// The ids of all types and traits that are named below a value, those of re-exports too.
fn ids(value: &Value, found: &mut impl FnMut(u64)) {
    match value {
        Value::Object(fields) => {
            let is_named = fields.contains_key("path") || fields.contains_key("source");
            if let Some(id) = fields
                .get("id")
                .and_then(Value::as_u64)
                .filter(|_| is_named)
            {
                found(id);
            }
            fields.values().for_each(|field| ids(field, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| ids(element, found)),
        _ => {}
    }
}

/// The path of what has this id, if it is another crate's, and not the standard library's.
fn foreign_path(documented: &Value, id: u64) -> Option<String> {
    let summary = &documented["paths"][id.to_string()];
    let parts: Vec<&str> = summary["path"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let is_ours = summary["crate_id"] == 0;
    let is_std = matches!(parts.first(), Some(&("std" | "core" | "alloc")));
    (!is_ours && !is_std).then(|| parts.join("::"))
}
