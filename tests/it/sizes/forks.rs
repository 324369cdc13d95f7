//! Forks of every number.

use super::*;

#[test]
fn body_in_place_gets_all() {
    watched(|| {
        for &size in SIZES {
            let group = InPlaceGroup::<()>::new(&Context::background());
            let forks: Vec<_> = (0..size)
                .map(|n| group.fork(format!("f{n}"), work(n)))
                .collect();
            let body = async { Ok(futures::future::try_join_all(forks).await?) };
            assert!(
                block_on(group.run(body)).unwrap().into_iter().eq(0..size),
                "{size}"
            );
        }
    });
}

#[test]
fn body_on_executors_gets_all() {
    for host in HOSTS {
        watched(move || {
            for size in sizes() {
                let group = Group::<()>::new(host.spawn);
                let forks: Vec<_> = (0..size)
                    .map(|n| group.fork(format!("f{n}"), work(n)))
                    .collect();
                let body = async { Ok(futures::future::try_join_all(forks).await?) };
                let all = block_on(group.run(body)).unwrap();
                assert!(all.into_iter().eq(0..size), "{}, {size}", host.name);
            }
        });
    }
}

#[test]
fn task_at_a_limit_of_one_awaits_all_its_forks() {
    watched(|| {
        for size in SIZES.iter().copied().filter(|size| *size <= 257) {
            let executor = Executor::new();
            let group = Group::new(executor.spawner()).with_limit(at_most(1));
            let handle = group.handle();
            group.spawn(async move {
                let forks = (0..size).map(|n| handle.fork(format!("f{n}"), work(n)));
                let all = futures::future::try_join_all(forks.collect::<Vec<_>>()).await?;
                Ok::<_, failfast::Error>(all.into_iter().sum::<usize>())
            });
            assert_eq!(
                executor.drive(group.wait()).unwrap(),
                [(0..size).sum::<usize>()]
            );
        }
    });
}

#[test]
fn those_that_are_cancelled_fail_no_group() {
    watched(|| {
        for &size in SIZES {
            let group = InPlaceGroup::<()>::new(&Context::background());
            let living = Living::default();
            let forks: Vec<_> = (0..size)
                .map(|n| {
                    let life = living.one();
                    group.fork(format!("f{n}"), async move {
                        yields(n % 3).await;
                        Ok::<_, Infallible>(life)
                    })
                })
                .collect();
            forks.iter().step_by(2).for_each(failfast::Fork::cancel);
            assert!(block_on(group.wait()).is_ok());
            for (n, fork) in forks.into_iter().enumerate() {
                match block_on(fork) {
                    Ok(life) => assert_eq!((n % 2, life.count() > 0), (1, true)),
                    Err(error) => assert_eq!((n % 2, error.kind()), (0, ErrorKind::Canceled)),
                }
            }
            assert_eq!(living.count(), 0);
        }
    });
}
