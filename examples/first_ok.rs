//! Three mirrors are called at once, and the first answer is enough: `cargo run --example first_ok`.

use failfast::{Context, Ending, Group};
use std::io;
use std::time::Duration;

/// Stands for a client. The fast mirror is down, and the slow one is never waited for.
async fn ask(ctx: Context, mirror: &'static str, millis: u64) -> Result<String, io::Error> {
    let latency = Duration::from_millis(millis);
    ctx.sleep(latency).await.map_err(io::Error::other)?;
    match mirror {
        "eu" => Err(io::Error::other("connection refused")),
        mirror => Ok(format!("answered by {mirror}")),
    }
}

fn main() -> Result<(), failfast::Error> {
    let (group, ctx) = Group::with_context(&Context::background(), smol::spawn);
    let group = group.with_ending(Ending::FirstOk);
    for (mirror, millis) in [("eu", 1), ("us", 5), ("ap", 60_000)] {
        group.spawn_named(mirror, ask(ctx.clone(), mirror, millis));
    }
    let answers = smol::block_on(group.wait())?;
    println!("{}", answers[0]);
    Ok(())
}
