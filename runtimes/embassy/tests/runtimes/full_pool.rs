//! A pool of two tasks, and a third.

use super::run::run;
use failfast::{ErrorKind, LocalGroup, LocalTask};
use std::convert::Infallible;
use std::future::pending;

#[embassy_executor::task(pool_size = 2)]
async fn one_of_two(task: LocalTask) {
    task.await;
}

/// The pool refuses the third, whose name is in the error; the other two are canceled.
pub(crate) fn task_that_a_full_pool_refuses_is_lost() {
    run(|spawner| async move {
        let group = LocalGroup::<()>::new(move |task| {
            if let Ok(token) = one_of_two(task) {
                spawner.spawn(token);
            }
        });
        for name in ["profile", "orders", "basket"] {
            group.spawn_named(name, pending::<Result<(), Infallible>>());
        }
        let error = group.wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert_eq!(error.task().unwrap(), "basket");
        assert!(error.others().is_empty(), "{error:?}");
    });
}
