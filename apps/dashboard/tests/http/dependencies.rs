//! What the program is made of.

use std::process::Command;

/// hyper's channels are tokio's: its `sync` feature, without a runtime. Nothing else brings tokio, or any more of it.
#[test]
fn there_is_no_runtime_but_smol() {
    let tree = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--package",
                "dashboard",
                "--prefix",
                "none",
                "--locked",
            ])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let parents = tree(&["--edges", "normal", "--invert", "tokio", "--depth", "1"]);
    let parents: Vec<_> = parents
        .lines()
        .skip(1)
        .map(|line| line.split(' ').next())
        .collect();
    assert_eq!(parents, [Some("hyper")]);
    let features = tree(&["--edges", "normal", "--format", "{p} features={f}"]);
    let features = features
        .lines()
        .find(|line| line.starts_with("tokio v"))
        .unwrap();
    assert!(features.ends_with("features=default,sync"), "{features}");
}
