//! Quorums of every size.

use super::*;

#[test]
fn exactly_so_many_results_are_given() {
    watched(|| {
        for quorum in SIZES.iter().copied().filter(|quorum| *quorum > 0) {
            let group = InPlaceGroup::new(&Context::background())
                .with_ending(Ending::Quorum(at_most(quorum)));
            (0..quorum + 3).for_each(|n| group.spawn(work(n)));
            let results = block_on(group.wait()).unwrap();
            assert_eq!(results.len(), quorum);
            assert!(
                results.is_sorted_by(|a, b| a < b),
                "not in the order of spawning"
            );
        }
    });
}

#[test]
fn quorum_is_out_of_reach_by_one() {
    watched(|| {
        for quorum in SIZES.iter().copied().filter(|quorum| *quorum > 1) {
            let group = InPlaceGroup::new(&Context::background())
                .with_ending(Ending::Quorum(at_most(quorum)));
            for n in 0..quorum {
                group.spawn(async move {
                    if n == quorum / 2 {
                        Err("refused")
                    } else {
                        Ok(n)
                    }
                });
            }
            let error = block_on(group.wait()).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Quorum | ErrorKind::Task),
                "{quorum}: {error}"
            );
        }
    });
}

#[test]
fn quorums_on_executors() {
    for host in HOSTS {
        watched(move || {
            for quorum in sizes().filter(|quorum| *quorum > 0) {
                let group = Group::new(host.spawn).with_ending(Ending::Quorum(at_most(quorum)));
                (0..quorum + 3).for_each(|n| group.spawn(work(n)));
                assert_eq!(
                    block_on(group.wait()).unwrap().len(),
                    quorum,
                    "{}",
                    host.name
                );
            }
        });
    }
}
