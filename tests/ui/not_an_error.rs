//! A task's error has to be one, or text.

use failfast::Group;

struct Broken;

fn main() {
    let group = Group::new(smol::spawn);
    group.spawn(async { Err::<u8, _>(Broken) });
}
