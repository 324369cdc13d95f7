//! What `spawn` returns, and handles to groups.

use super::*;

/// Hazard 1.
#[test]
fn handle_is_kept_until_its_task_has_ended() {
    watched(|| {
        let executor = Executor::new();
        let dropped = Count::default();
        let (count, spawner) = (dropped.clone(), executor.spawner());
        let group = Group::new(move |task: Task| {
            failfast::Spawn::spawn(&spawner, task);
            crate::support::OnDrop(count.clone())
        });
        for n in 0..40 {
            group.spawn(async move {
                yields(2).await;
                Ok::<_, Infallible>(n)
            });
        }
        assert!(executor.step());
        assert_eq!(
            dropped.get(),
            0,
            "a handle was dropped before its task had ended"
        );
        executor.run();
        assert_eq!(dropped.get(), 40);
        assert_eq!(executor.drive(group.wait()).unwrap().len(), 40);
    });
}

/// Hazard 15.
#[test]
fn handles_that_are_kept_do_not_hold_wait_up() {
    watched(|| {
        let group = InPlaceGroup::new(&Context::background());
        let handles: Vec<_> = (0..3).map(|_| group.handle()).collect();
        group.spawn(ready(Ok::<_, Infallible>(5)));
        assert_eq!(block_on(group.wait()).unwrap(), [5]);
        assert!(
            handles
                .iter()
                .all(|handle| handle.spawn(ready(Ok::<_, Infallible>(6))).is_err())
        );
    });
}
