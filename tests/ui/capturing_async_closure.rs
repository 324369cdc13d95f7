//! An async closure that uses a capture lends it to its future: it is no `Fn`, and no source. The rewrite is a
//! closure that clones, and returns an `async move` block.

use failfast::{Aggregator, BoxError, Context};
use std::sync::Arc;

fn main() {
    let shared = Arc::new(5_u64);
    let aggregator = Aggregator::new(smol::spawn).source("profile", async move |_: Context, id: u64| {
        Ok::<_, BoxError>(id + *shared)
    });
    drop(aggregator);

    let shared = Arc::new(5_u64);
    let rewritten = Aggregator::new(smol::spawn).source("profile", move |_: Context, id: u64| {
        let shared = shared.clone();
        async move { Ok::<_, BoxError>(id + *shared) }
    });
    drop(rewritten);
}
