//! The results of `map`, in order, at every number of items.

use super::*;

#[test]
fn results_in_place_are_in_order_and_no_further_ahead_than_the_limit() {
    watched(|| {
        for &size in SIZES {
            for limit in [1, 2, 7, 31, 65] {
                let taken = Count::default();
                let count = taken.clone();
                let items = (0..size).inspect(move |_| count.add());
                let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(limit));
                let mut stream = group.ordered(items, work);
                let mut given = 0;
                while let Some(result) = block_on(stream.next()) {
                    assert_eq!(result.unwrap(), given);
                    given += 1;
                    assert!(
                        taken.get() <= given + limit,
                        "{} taken, {given} given",
                        taken.get()
                    );
                }
                assert_eq!(given, size);
            }
        }
    });
}

#[test]
fn results_on_executors_are_in_order() {
    for host in HOSTS {
        watched(move || {
            for size in sizes() {
                let group = Group::new(host.spawn).with_limit(at_most(7));
                let all: Vec<_> =
                    block_on(group.ordered(0..size, work).map(Result::unwrap).collect());
                assert!(all.into_iter().eq(0..size), "{}, {size}", host.name);
            }
        });
    }
}

#[test]
fn failure_is_the_last_item_wherever_it_stands() {
    watched(|| {
        for size in [1, 2, 3, 31, 65, 257] {
            for bad in [0, size / 2, size - 1] {
                let group = InPlaceGroup::new(&Context::background()).with_limit(at_most(3));
                let item = move |n: usize| async move {
                    yields(n % 3).await;
                    if n == bad { Err("refused") } else { Ok(n) }
                };
                let told: Vec<_> = block_on(group.ordered(0..size, item).collect());
                let failed = told.iter().filter(|result| result.is_err()).count();
                assert_eq!(failed, 1, "{size}, {bad}");
                assert!(told.last().unwrap().is_err() && told.len() <= bad + 1);
            }
        }
    });
}
