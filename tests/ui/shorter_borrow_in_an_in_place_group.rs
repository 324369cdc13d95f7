//! A group that outlives the borrow: `'env` is invariant, so it can't be shortened behind a reference.

use failfast::{BoxError, InPlaceGroup};

fn smuggle<'long>(group: &InPlaceGroup<'long, ()>) {
    let local = String::from("gone when this function returns");
    let shorter: &InPlaceGroup<'_, ()> = group;
    shorter.spawn(async {
        println!("{local}");
        Ok::<_, BoxError>(())
    });
}

fn main() {
    let group = InPlaceGroup::new(&failfast::Context::background());
    smuggle(&group);
    drop(group.wait());
}
