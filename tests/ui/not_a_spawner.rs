//! An executor is no spawner; its `spawn` is.

use failfast::Group;
use std::sync::Arc;

fn main() {
    let executor = Arc::new(smol::Executor::new());
    let group = Group::<u8>::new(executor.clone());
    drop(group);
}
