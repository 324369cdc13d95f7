//! Section 1 of the contract: the runtime's own spawn function is the adapter, in every form that it has.

use failfast::{
    Aggregator, Context, Error, ErrorKind, Group, LocalAggregator, LocalGroup, LocalTask, Spawn,
    Task,
};
use futures::executor::{LocalPool, ThreadPool, block_on};
use futures::task::LocalSpawnExt as _;
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task;

async fn answer(answer: u32) -> Result<u32, Infallible> {
    smol::future::yield_now().await;
    Ok(answer)
}

/// What a generic user writes.
async fn works<S>(spawn: S)
where
    S: Spawn + Send + Sync + 'static,
    S::Handle: Send + 'static,
{
    let group = Group::new(spawn);
    group.spawn(answer(1));
    group.spawn(answer(2));
    assert_eq!(group.wait().await.unwrap(), [1, 2]);
}

/// And `S: Spawn<LocalTask>` for a thread-bound executor; what tasks hold and return is `!Send` here.
async fn works_locally<S>(spawn: S)
where
    S: Spawn<LocalTask> + 'static,
    S::Handle: 'static,
{
    let group = LocalGroup::new(spawn);
    let shared = Rc::new(3);
    for _ in 0..2 {
        let shared = shared.clone();
        group.spawn(async move {
            smol::future::yield_now().await;
            Ok::<_, Infallible>(shared)
        });
    }
    assert_eq!(group.wait().await.unwrap(), [Rc::new(3), Rc::new(3)]);
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap()
}

mod functions {
    use super::*;

    #[test]
    fn smol_spawn() {
        smol::block_on(async {
            let group = Group::new(smol::spawn);
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
        });
        smol::block_on(works(smol::spawn));
    }

    #[test]
    fn tokio_spawn() {
        tokio().block_on(async {
            let group = Group::new(tokio::spawn);
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
        });
        tokio().block_on(works(tokio::spawn));
    }

    #[test]
    fn async_std_spawn() {
        async_std::task::block_on(async {
            let group = Group::new(async_std::task::spawn);
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
        });
        async_std::task::block_on(works(async_std::task::spawn));
    }

    #[test]
    fn tokio_spawn_local() {
        let set = tokio::task::LocalSet::new();
        set.block_on(&tokio(), async {
            let group = LocalGroup::new(tokio::task::spawn_local);
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
            works_locally(tokio::task::spawn_local).await;
        });
    }
}

mod closures {
    use super::*;

    #[test]
    fn over_a_tokio_handle() {
        let runtime = tokio();
        let handle = runtime.handle().clone();
        block_on(async {
            let group = Group::new(move |task| handle.spawn(task));
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
        });
    }

    #[test]
    fn over_a_smol_executor() {
        let executor = Arc::new(smol::Executor::new());
        let spawner = executor.clone();
        block_on(executor.run(async {
            let group = Group::new(move |task| spawner.spawn(task));
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
        }));
    }

    /// Nor need the executor be counted: a borrow will do, if it is `'static`.
    #[test]
    fn over_a_borrowed_smol_executor() {
        let executor: &'static smol::Executor<'static> = Box::leak(Box::default());
        block_on(executor.run(async {
            let group = Group::new(|task| executor.spawn(task));
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
        }));
    }

    #[test]
    fn over_a_futures_thread_pool() {
        let pool = ThreadPool::builder().pool_size(1).create().unwrap();
        block_on(async {
            let group = Group::new(move |task| pool.spawn_ok(task));
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
        });
    }

    #[test]
    fn over_a_smol_local_executor() {
        let local_executor = Rc::new(smol::LocalExecutor::new());
        let executor = local_executor.clone();
        block_on(executor.run(async move {
            let spawner = local_executor.clone();
            let group = LocalGroup::new(move |task| local_executor.spawn(task).detach());
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
            works_locally(move |task| spawner.spawn(task).detach()).await;
        }));
    }

    #[test]
    fn over_a_futures_local_pool() {
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        pool.run_until(works_locally(move |task| spawner.spawn_local(task)));
    }
}

mod shared {
    use super::*;

    #[test]
    fn dyn_spawn_in_an_arc() {
        let f = |task| smol::spawn(task).detach();
        smol::block_on(async {
            let group = Group::new(Arc::new(f) as Arc<dyn Spawn<Task, Handle = ()> + Send + Sync>);
            group.spawn(answer(1));
            assert_eq!(group.wait().await.unwrap(), [1]);
        });
    }

    #[test]
    fn dyn_spawn_in_an_rc() {
        let executor = Rc::new(smol::LocalExecutor::new());
        let spawner = executor.clone();
        let spawn: Rc<dyn Spawn<LocalTask, Handle = ()>> =
            Rc::new(move |task| spawner.spawn(task).detach());
        smol::block_on(executor.run(works_locally(spawn.clone())));
        smol::block_on(executor.run(works_locally(spawn)));
    }

    #[test]
    fn generic_spawn_in_an_arc_or_rc() {
        smol::block_on(works(Arc::new(smol::spawn::<()>)));
        let set = tokio::task::LocalSet::new();
        let spawn = Rc::new(tokio::task::spawn_local::<LocalTask>);
        set.block_on(&tokio(), works_locally(spawn));
    }

    #[test]
    fn type_of_the_users() {
        struct Counting(AtomicUsize);

        impl Spawn for Counting {
            type Handle = smol::Task<()>;

            fn spawn(&self, task: Task) -> Self::Handle {
                self.0.fetch_add(1, SeqCst);
                smol::spawn(task)
            }
        }

        let counting = Arc::new(Counting(AtomicUsize::new(0)));
        smol::block_on(works(counting.clone()));
        assert_eq!(counting.0.load(SeqCst), 2);
    }

    #[test]
    fn thread_bound_type_of_the_users() {
        struct Counting(RefCell<usize>, smol::LocalExecutor<'static>);

        impl Spawn<LocalTask> for Counting {
            type Handle = smol::Task<()>;

            fn spawn(&self, task: LocalTask) -> Self::Handle {
                *self.0.borrow_mut() += 1;
                self.1.spawn(task)
            }
        }

        let counting = Rc::new(Counting(RefCell::new(0), smol::LocalExecutor::new()));
        smol::block_on(counting.1.run(works_locally(counting.clone())));
        assert_eq!(*counting.0.borrow(), 2);
    }

    /// The spawner's type shows in no type: groups over two executors are of one.
    #[test]
    fn spawner_shows_in_no_type() {
        smol::block_on(async {
            let counted = Arc::new(smol::spawn::<()>);
            let groups: [Group<u32>; 2] = [Group::new(smol::spawn), Group::new(counted)];
            for group in groups {
                group.spawn(answer(1));
                assert_eq!(group.wait().await.unwrap(), [1]);
            }
        });
    }
}

mod aggregators {
    use super::*;

    async fn source(_: Context, id: u32) -> Result<u32, Infallible> {
        answer(id).await
    }

    #[test]
    fn over_a_function_a_closure_and_a_dyn() {
        let ctx = Context::background();
        let executor = Arc::new(smol::Executor::new());
        let spawner = executor.clone();
        let shared: Arc<dyn Spawn<Task, Handle = ()> + Send + Sync> =
            Arc::new(|task| smol::spawn(task).detach());
        block_on(executor.run(async {
            let function = Aggregator::new(smol::spawn).source("it", source);
            assert_eq!(function.aggregate(&ctx, 5).await.unwrap(), (5,));
            let closure = Aggregator::new(move |task| spawner.spawn(task)).source("it", source);
            assert_eq!(closure.aggregate(&ctx, 5).await.unwrap(), (5,));
            let dynamic = Aggregator::new(shared).source("it", source);
            assert_eq!(dynamic.aggregate(&ctx, 5).await.unwrap(), (5,));
        }));
    }

    #[test]
    fn local_over_a_closure() {
        let ctx = Context::background();
        let executor = Rc::new(smol::LocalExecutor::new());
        let spawner = executor.clone();
        block_on(executor.run(async {
            let shared = Rc::new(7);
            let local = LocalAggregator::new(move |task| spawner.spawn(task)).source(
                "it",
                move |_: Context, _: ()| {
                    let shared = shared.clone();
                    async move { Ok::<_, Infallible>(shared) }
                },
            );
            assert_eq!(local.aggregate(&ctx, ()).await.unwrap(), (Rc::new(7),));
        }));
    }
}

/// An executor that refuses, drops or never runs a task never makes the group hang or lie: kind `Lost`, with its
/// name.
mod lost {
    use super::*;

    #[track_caller]
    fn assert_lost<T: std::fmt::Debug>(outcome: Result<T, Error>, lost: &str) {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost, "{error:?}");
        assert_eq!(error.task().unwrap(), lost);
        assert!(
            error.to_string().starts_with(&format!("{lost}: ")),
            "{error}"
        );
    }

    fn poll_once<F: Future + Unpin>(future: &mut F) {
        let mut cx = task::Context::from_waker(task::Waker::noop());
        assert!(Pin::new(future).poll(&mut cx).is_pending());
    }

    #[test]
    fn refused() {
        let group = Group::new(|task: Task| drop(task));
        group.spawn_named("profile", answer(1));
        assert_lost(block_on(group.wait()), "profile");
    }

    #[test]
    fn refused_locally() {
        let group = LocalGroup::new(|task: LocalTask| drop(task));
        group.spawn_named("profile", answer(1));
        assert_lost(block_on(group.wait()), "profile");
    }

    /// Unnamed: `task 0`, counted from 0.
    #[test]
    fn refused_without_a_name() {
        let group = Group::new(|task: Task| drop(task));
        group.spawn(answer(1));
        assert_lost(block_on(group.wait()), "task 0");
    }

    #[test]
    fn dropped_half_way_while_wait_is_pending() {
        let queue = Arc::new(Mutex::new(Vec::new()));
        let tasks = queue.clone();
        let group = Group::new(move |task: Task| tasks.lock().unwrap().push(task));
        group.spawn_named("profile", answer(1));
        group.spawn_named("orders", std::future::pending::<Result<u32, Infallible>>());
        let mut wait = Box::pin(group.wait());
        poll_once(&mut wait);
        let mut tasks = std::mem::take(&mut *queue.lock().unwrap());
        tasks.iter_mut().for_each(poll_once);
        drop(tasks.pop()); // orders
        let mut cx = task::Context::from_waker(task::Waker::noop());
        assert!(Pin::new(&mut tasks[0]).poll(&mut cx).is_ready());
        assert_lost(block_on(wait), "orders");
    }

    #[test]
    fn dropped_half_way_locally() {
        let queue = Rc::new(RefCell::new(Vec::new()));
        let tasks = queue.clone();
        let group = LocalGroup::new(move |task: LocalTask| tasks.borrow_mut().push(task));
        group.spawn_named("profile", answer(1));
        let mut wait = Box::pin(group.wait());
        poll_once(&mut wait);
        let mut tasks = queue.take();
        poll_once(&mut tasks[0]);
        drop(tasks);
        assert_lost(block_on(wait), "profile");
    }

    #[test]
    fn executor_is_dropped_with_its_tasks() {
        let executor = Arc::new(Mutex::new(Some(smol::Executor::new())));
        let spawner = executor.clone();
        let group = Group::new(move |task| {
            let executor = spawner.lock().unwrap();
            executor.as_ref().map(|executor| executor.spawn(task))
        });
        group.spawn_named("profile", std::future::pending::<Result<u32, Infallible>>());
        let gone = executor.lock().unwrap().take();
        drop(gone);
        group.spawn_named("orders", answer(1));
        assert_lost(block_on(group.wait()), "profile");
    }

    #[test]
    fn runtime_is_shut_down() {
        let runtime = tokio();
        let handle = runtime.handle().clone();
        let group = Group::new(move |task| handle.spawn(task));
        group.spawn_named("profile", std::future::pending::<Result<u32, Infallible>>());
        drop(runtime);
        assert_lost(block_on(group.wait()), "profile");
    }

    #[test]
    fn runtime_was_shut_down_before() {
        let runtime = tokio();
        let handle = runtime.handle().clone();
        drop(runtime);
        let group = Group::new(move |task| handle.spawn(task));
        group.spawn_named("profile", answer(1));
        assert_lost(block_on(group.wait()), "profile");
    }

    #[test]
    fn local_pool_is_dropped() {
        let pool = LocalPool::new();
        let spawner = pool.spawner();
        let group = LocalGroup::new(move |task| spawner.spawn_local(task));
        group.spawn_named("profile", answer(1));
        drop(pool);
        assert_lost(block_on(group.wait()), "profile");
    }

    #[test]
    fn source_of_an_aggregator() {
        async fn source(_: Context, _: ()) -> Result<u32, Infallible> {
            answer(1).await
        }
        let ctx = Context::background();
        let sends = Aggregator::new(|task: Task| drop(task)).source("profile", source);
        assert_lost(block_on(sends.aggregate(&ctx, ())), "profile");
        let local = LocalAggregator::new(|task: LocalTask| drop(task)).source("orders", source);
        assert_lost(block_on(local.aggregate(&ctx, ())), "orders");
    }
}
