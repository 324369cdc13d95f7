//! The messages of the mistakes that a user will make: they point at the user's code, and name the cure.
//!
//! Half of each message is the compiler's, so they are pinned for one compiler. For a newer one, name it
//! here, and write them anew: `TRYBUILD=overwrite cargo test --test ui`.

use std::process::Command;

const PINNED: &str = "rustc 1.95.";

#[test]
fn mistakes() {
    let compiler = compiler();
    if !compiler.starts_with(PINNED) {
        eprintln!("the messages are those of {PINNED}x, this is {compiler}: nothing compared");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let stdout = output.expect("the compiler says its version").stdout;
    String::from_utf8_lossy(&stdout).trim().to_owned()
}
