//! Tasks of every number.

use super::*;

#[test]
fn wait_in_place_gives_all_in_order_with_exact_polls() {
    watched(|| {
        for &size in SIZES.iter().chain([&HUGE]) {
            let polls = Count::default();
            let group = InPlaceGroup::new(&Context::background());
            (0..size).for_each(|n| group.spawn(counted(&polls, work(n))));
            assert!(
                block_on(group.wait()).unwrap().into_iter().eq(0..size),
                "{size}"
            );
            assert_eq!(polls.get(), polls_of_work(size));
        }
    });
}

#[test]
fn wait_by_hand_gives_all_in_order_with_exact_polls_and_wakes() {
    watched(|| {
        for size in SIZES.iter().copied().filter(|size| *size <= 257) {
            let executor = Executor::new();
            let group = Group::new(executor.spawner());
            (0..size).for_each(|n| group.spawn(work(n)));
            let mut wait = Polled::new(group.wait());
            if size > 0 {
                assert!(wait.is_pending());
            }
            executor.run();
            assert!(wait.wakes() <= 1, "{size}: woken {} times", wait.wakes());
            assert!(wait.ready().unwrap().into_iter().eq(0..size), "{size}");
            assert_eq!(
                (0..size).map(|n| executor.polls(n)).sum::<usize>(),
                polls_of_work(size)
            );
        }
    });
}

#[test]
fn wait_on_executors_gives_all_in_order() {
    for host in HOSTS {
        watched(move || {
            for size in sizes() {
                let group = Group::new(host.spawn);
                (0..size).for_each(|n| group.spawn(work(n)));
                let all = block_on(group.wait()).unwrap();
                assert!(all.into_iter().eq(0..size), "{}, {size}", host.name);
            }
        });
    }
}

#[test]
fn huge_number_on_an_executor() {
    watched(|| {
        let group = Group::new(smol::spawn);
        (0..HUGE).for_each(|n| group.spawn(async move { Ok::<_, Infallible>(n) }));
        assert!(block_on(group.wait()).unwrap().into_iter().eq(0..HUGE));
    });
}

#[test]
fn local_groups_give_all_in_order() {
    watched(|| {
        for size in SIZES.iter().copied().filter(|size| *size <= 257) {
            let executor = LocalExecutor::new();
            let group = LocalGroup::new(executor.spawner());
            let in_place = LocalInPlaceGroup::new(&Context::background());
            for n in 0..size {
                let value = Rc::new(n);
                let shared = value.clone();
                group.spawn(async move {
                    yields(n % 3).await;
                    Ok::<_, Infallible>(value)
                });
                in_place.spawn(async move {
                    yields(n % 3).await;
                    Ok::<_, Infallible>(shared)
                });
            }
            let all = executor.drive(group.wait()).unwrap();
            assert!(all.iter().map(|n| **n).eq(0..size), "{size}");
            assert_eq!(block_on(in_place.wait()).unwrap(), all);
        }
    });
}

#[test]
fn next_gives_each_once() {
    watched(|| {
        for &size in SIZES {
            let mut group = InPlaceGroup::new(&Context::background());
            (0..size).for_each(|n| group.spawn(work(n)));
            let mut seen = vec![false; size];
            while let Some(result) = block_on(group.next()) {
                assert!(
                    !std::mem::replace(&mut seen[result.unwrap()], true),
                    "given twice"
                );
            }
            assert!(seen.into_iter().all(|seen| seen), "{size}: one is missing");
        }
    });
}

#[test]
fn next_on_executors_gives_each_once() {
    for host in HOSTS {
        watched(move || {
            for size in sizes() {
                let mut group = Group::new(host.spawn);
                (0..size).for_each(|n| group.spawn(work(n)));
                let mut taken: Vec<_> = block_on((&mut group).map(Result::unwrap).collect());
                taken.sort_unstable();
                assert!(taken.into_iter().eq(0..size), "{}, {size}", host.name);
            }
        });
    }
}

#[test]
fn group_that_is_dropped_drops_each_once() {
    watched(|| {
        for &size in SIZES.iter().chain([&HUGE]) {
            let dropped = Count::default();
            let group = InPlaceGroup::<()>::new(&Context::background());
            for _ in 0..size {
                let guard = OnDrop(dropped.clone());
                group.spawn(async move {
                    pending::<()>().await;
                    drop(guard);
                    Ok::<_, Infallible>(())
                });
            }
            let mut wait = Box::pin(group.wait());
            if size > 0 {
                assert!(crate::faults::tools::poll_once(wait.as_mut()).is_pending());
            }
            drop(wait);
            assert_eq!(dropped.get(), size);
        }
    });
}

#[test]
fn failure_among_many_wakes_each_of_the_others_once() {
    watched(|| {
        for size in SIZES.iter().copied().filter(|size| *size <= 257) {
            let executor = Executor::new();
            let group = Group::<()>::new(executor.spawner());
            (0..size).for_each(|_| group.spawn(pending::<Result<_, Infallible>>()));
            executor.run();
            group.spawn_named("bad", async { Err("refused") });
            let error = executor.drive(group.wait()).unwrap_err();
            assert_eq!(error.to_string(), "bad: refused");
            assert!(
                (0..size).all(|n| (executor.wakes(n), executor.polls(n)) == (1, 2)),
                "{size}"
            );
        }
    });
}

#[test]
fn outcomes_are_complete() {
    for host in HOSTS {
        watched(move || {
            for size in sizes() {
                let group = Group::new(host.spawn).with_ending(Ending::Settle);
                for n in 0..size {
                    group.spawn(async move {
                        yields(n % 3).await;
                        if n % 3 == 1 { Err("refused") } else { Ok(n) }
                    });
                }
                let told = block_on(group.outcomes()).unwrap();
                assert_eq!(told.len(), size);
                for (n, (name, outcome)) in told.into_iter().enumerate() {
                    assert_eq!(name, format!("task {n}").as_str());
                    assert_eq!(outcome.ok(), (n % 3 != 1).then_some(n));
                }
            }
        });
    }
}
