//! A group with forks alone has no results of its own: it is a `Group::<()>`.

use failfast::{BoxError, Group};

fn main() {
    let group = Group::new(smol::spawn);
    let five = group.fork("five", async { Ok::<_, BoxError>(5) });
    drop(group.run(async { Ok(five.await?) }));
}
