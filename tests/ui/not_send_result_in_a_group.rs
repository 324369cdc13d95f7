//! A result that can't leave its thread.

use failfast::Group;
use std::rc::Rc;

fn main() {
    let group = Group::new(smol::spawn);
    group.spawn(async { Ok::<_, std::fmt::Error>(Rc::new(5)) });
}
