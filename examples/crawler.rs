//! A crawler whose tasks spawn further ones, four at a time, within half a minute: `cargo run --example crawler`.

use failfast::{BoxError, Context, Group, GroupHandle};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Stands for a client: page n links to 2n and 2n + 1, modulo 32.
async fn links(ctx: &Context, page: u32) -> Result<Vec<u32>, BoxError> {
    ctx.sleep(Duration::from_millis(1)).await?;
    Ok(vec![page * 2 % 32, (page * 2 + 1) % 32])
}

struct Crawler {
    tasks: GroupHandle<u32>,
    ctx: Context,
    seen: Mutex<BTreeSet<u32>>,
}

impl Crawler {
    /// Spawns the task of a page that has not been seen.
    fn visit(self: Arc<Self>, page: u32) {
        if !self.seen.lock().unwrap().insert(page) {
            return;
        }
        let tasks = self.tasks.clone();
        let _ = tasks.spawn_named(format!("page {page}"), async move {
            for link in links(&self.ctx, page).await? {
                self.clone().visit(link);
            }
            Ok::<_, BoxError>(page)
        }); // refused once the group has ended, and then the task is not needed
    }
}

fn main() -> Result<(), failfast::Error> {
    let request = Context::background().with_timeout(Duration::from_secs(30));
    let (group, ctx) = Group::with_context(&request, smol::spawn);
    let group = group.with_limit(NonZeroUsize::new(4).expect("four"));
    let crawler = Crawler {
        tasks: group.handle(),
        ctx,
        seen: Mutex::default(),
    };
    Arc::new(crawler).visit(1);
    let pages = smol::block_on(group.wait())?;
    println!("{} pages, the first is {}", pages.len(), pages[0]);
    Ok(())
}
