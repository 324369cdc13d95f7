//! A source that can't be shared by threads.

use failfast::{Aggregator, Context};
use std::fmt::Error;
use std::future::ready;
use std::rc::Rc;

fn main() {
    let shared = Rc::new(5);
    let profile = move |_: Context, id: u64| ready(Ok::<_, Error>(id + *shared));
    let aggregator = Aggregator::new(smol::spawn).source("profile", profile);
    drop(aggregator);
}
