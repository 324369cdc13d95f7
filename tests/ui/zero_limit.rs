//! A wrong option can't be expressed: a limit of none.

use failfast::Group;

fn main() {
    let group = Group::<u8>::new(smol::spawn).with_limit(0);
    drop(group);
}
