//! What tasks borrow is declared before the group, which has a `Drop`.

use failfast::{BoxError, Context, InPlaceGroup};

fn main() {
    let group = InPlaceGroup::new(&Context::background());
    let line = String::from("declared too late");
    group.spawn(async { Ok::<_, BoxError>(line.len()) });
}
