//! A spawner is kept as long as the group exists: it can't borrow from the caller.

use failfast::Group;

fn main() {
    let executor = smol::Executor::new();
    let group = Group::<u8>::new(|task| executor.spawn(task));
    drop(group);
}
