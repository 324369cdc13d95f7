//! Nested groups of every depth.

use super::*;

/// A group below a group, so many levels deep.
fn nested(
    ctx: Context,
    depth: usize,
) -> std::pin::Pin<Box<dyn Future<Output = Result<usize, failfast::Error>> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            return Ok(0);
        }
        let group = InPlaceGroup::new(&ctx);
        group.spawn(nested(group.context().clone(), depth - 1));
        Ok(group.wait().await?[0] + 1)
    })
}

#[test]
fn groups_in_place_nest_to_any_depth_that_the_stack_holds() {
    watched(|| {
        for depth in [0, 1, 2, 3, 12, 13, 31, 33, 64] {
            assert_eq!(
                block_on(nested(Context::background(), depth)).unwrap(),
                depth
            );
        }
    });
}

#[test]
fn deadline_of_the_outermost_ends_every_level() {
    watched(|| {
        for depth in [1, 2, 31, 65] {
            let (clock, ctx) = manual();
            let top = ctx.with_timeout(HOUR);
            let mut groups = Vec::new();
            let mut ctx = top;
            for _ in 0..depth {
                let executor = Executor::new();
                let (group, below) = Group::<()>::with_context(&ctx, executor.spawner());
                group.spawn(pending::<Result<_, Infallible>>());
                executor.run();
                groups.push((group, executor));
                ctx = below;
            }
            clock.advance(HOUR);
            for (group, executor) in groups {
                let error = executor.drive(group.wait()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            }
        }
    });
}
