//! Every runtime that passes the suite, and the package that runs it.
//!
//! Each package's test checks that it runs these and no others; `tests/documents.rs` checks that the tables of the
//! README and of `docs/RUNTIMES.md` have a row for each.

/// The name of a runtime, and of the package that runs it: what `cargo test -p` is given.
pub const RUNTIMES: &[(&str, &str)] = &[
    ("smol::spawn", "failfast"),
    ("smol::Executor", "failfast"),
    ("smol::LocalExecutor", "failfast"),
    ("tokio, several threads", "failfast"),
    ("tokio, current thread", "failfast"),
    ("tokio, LocalSet", "failfast"),
    ("async-std", "failfast"),
    ("futures, ThreadPool", "failfast"),
    ("futures, LocalPool", "failfast"),
    ("in place", "failfast"),
    ("in place, on one thread", "failfast"),
    ("async-global-executor", "runtime-light"),
    ("async-global-executor, local", "runtime-light"),
    ("actix-rt", "runtime-light"),
    ("pollster, in place", "runtime-light"),
    ("a bare block_on, in place", "runtime-light"),
    ("a foreground executor, as gpui's", "runtime-light"),
    ("bevy_tasks, single-threaded", "runtime-bevy"),
    (
        "bevy_tasks, multi_threaded",
        "runtime-bevy --features multi_threaded",
    ),
    ("glib, MainContext::spawn", "runtime-glib"),
    ("glib, MainContext::spawn_local", "runtime-glib"),
    ("compio", "runtime-compio"),
    ("compio, by its own clock", "runtime-compio"),
    ("monoio", "runtime-monoio"),
    ("monoio, sync", "runtime-monoio --features sync"),
    ("embassy, Spawner", "runtime-embassy"),
    ("embassy, SendSpawner", "runtime-embassy"),
    ("glommio", "runtime-glommio"),
    ("glommio, by its own clock", "runtime-glommio"),
    ("a browser, spawn_local", "runtime-browser"),
    ("a browser, in place", "runtime-browser"),
];

/// The runtimes that a package runs, in this order.
pub fn of_package(package: &str) -> impl Iterator<Item = &'static str> + '_ {
    let own = RUNTIMES.iter().filter(move |(_, of)| *of == package);
    own.map(|(name, _)| *name)
}
