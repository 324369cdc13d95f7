//! Bodies of `run` beside tasks in place.

use super::*;

/// Hazard 32: in place, `run` polls the body and the tasks, whichever was woken; neither starves the other.
#[test]
fn body_of_run_and_tasks_in_place_take_turns() {
    watched(|| {
        let (clock, ctx) = manual();
        let group = InPlaceGroup::<()>::new(&ctx);
        let beats = Count::default();
        for _ in 0..3 {
            let (ctx, beats) = (ctx.clone(), beats.clone());
            group.spawn_background(async move {
                loop {
                    ctx.sleep(SECOND).await?;
                    beats.add();
                }
                #[allow(unreachable_code)]
                Ok::<_, ContextError>(())
            });
        }
        let slow = ctx.sleep(10 * SECOND + SECOND / 2);
        let mut run = Polled::new(group.run(async {
            slow.await?;
            Ok(5)
        }));
        for _ in 0..10 {
            assert!(run.is_pending());
            clock.advance(SECOND);
            assert!(run.is_woken(), "the tasks starve");
        }
        assert!(run.is_pending());
        assert_eq!(beats.get(), 30);
        clock.advance(SECOND);
        assert_eq!(run.ready().unwrap(), 5);
    });
}

/// Hazard 32: a body that is always ready to go on leaves turns for the tasks.
#[test]
fn body_that_is_always_ready_starves_no_task() {
    watched(|| {
        let group = InPlaceGroup::<()>::new(&Context::background());
        let fork = group.fork("fork", async {
            yields(100).await;
            Ok::<_, Infallible>(7)
        });
        let mut fork = Box::pin(fork);
        let body = poll_fn(move |cx| match fork.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer.map_err(BoxError::from)),
            Poll::Pending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        assert_eq!(block_on(group.run(body)).unwrap(), 7);
    });
}
