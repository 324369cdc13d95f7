//! Wakers that change from poll to poll.

use crate::executor::{on_wake, watched};
use crate::support::{Count, GENEROUS};
use failfast::{BoxError, Group, Task};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::{task, thread};

/// A task's poll stored its waker while the group's cancellation took it: the slot was read half written.
#[test]
fn waker_is_stored_while_a_cancellation_takes_it() {
    watched(|| {
        for _ in 0..100 {
            let kept = Arc::new(Mutex::new(Vec::<Task>::new()));
            let group = {
                let kept = kept.clone();
                Group::<()>::new(move |task: Task| kept.lock().unwrap().push(task))
                    .with_grace(GENEROUS)
            };
            for _ in 0..16 {
                group.spawn(pending::<Result<(), BoxError>>());
            }
            let mut tasks = std::mem::take(&mut *kept.lock().unwrap());
            let stop = AtomicBool::new(false);
            let go = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        for task in &mut tasks {
                            let waker = on_wake(Count::default().adder());
                            let mut cx = task::Context::from_waker(&waker);
                            let _ = Pin::new(task).poll(&mut cx);
                        }
                        go.store(true, SeqCst);
                    }
                });
                while !go.load(SeqCst) {
                    thread::yield_now();
                }
                group.cancel_with("over");
                stop.store(true, SeqCst);
            });
            drop(tasks);
        }
    });
}
