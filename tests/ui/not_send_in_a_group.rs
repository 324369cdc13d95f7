//! A task that holds what can't leave its thread: the message names the variable.

use failfast::Group;
use std::rc::Rc;

fn main() {
    let group = Group::new(smol::spawn);
    group.spawn(async {
        let shared = Rc::new(5);
        smol::future::yield_now().await;
        Ok::<_, std::fmt::Error>(*shared)
    });
}
