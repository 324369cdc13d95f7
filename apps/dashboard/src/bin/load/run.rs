//! One run: a server, its readers, the faults, and what is left after the drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashboard::app::{App, Config};
use dashboard::http::{Client, Endpoint, ShutdownOutcome};
use dashboard::upstream::{Controls, Waste};
use failfast::{BoxError, Context, Group};
use smol::Timer;

use crate::Arguments;
use crate::faults;
use crate::memory::Samples;
use crate::readers::{Tally, read};

/// How long everything may take to be gone once the last reader is.
const DRAIN: Duration = Duration::from_secs(5);

/// What was seen in one run.
pub(crate) struct Seen {
    pub(crate) tally: Arc<Tally>,
    pub(crate) waste: Waste,
    pub(crate) memory: Samples,
    pub(crate) left: Left,
    pub(crate) outcome: ShutdownOutcome,
}

/// What was there when all had gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) connections: usize,
    pub(crate) tasks: usize,
    pub(crate) calls: u64,
}

pub(crate) async fn run(arguments: &Arguments, plain: bool) -> Result<Seen, BoxError> {
    let app = App::start(Config {
        plain,
        ..Config::default()
    })
    .await?;
    let tally = Arc::new(Tally::new(arguments.pages));
    let memory = read_all(arguments, &app, &tally).await?;
    let left = drained(&app).await;
    let controls = app.controls().clone();
    let outcome = app.shutdown(DRAIN).await;
    Ok(Seen {
        tally,
        waste: controls.ledger().read(),
        memory,
        left,
        outcome,
    })
}

/// The readers, until each has had its last page.
async fn read_all(
    arguments: &Arguments,
    app: &App,
    tally: &Arc<Tally>,
) -> Result<Samples, BoxError> {
    let time = Context::background().with_timeout(arguments.time());
    let (client, front) = (Arc::new(Client::default()), app.endpoint());
    let (group, _) = Group::<()>::with_context(&Context::background(), smol::spawn);
    let memory = group.fork("memory", Samples::take(time.clone()));
    group.spawn_named(
        "faults",
        faults::inject(time.clone(), app.controls().clone(), arguments.time()),
    );
    for number in 0..arguments.readers.get() {
        let reader = reader(time.clone(), client.clone(), front, tally.clone());
        group.spawn_named(format!("reader {number}"), reader);
    }
    Ok(group.run(async { Ok(memory.await?) }).await?)
}

async fn reader(
    time: Context,
    client: Arc<Client>,
    front: Endpoint,
    tally: Arc<Tally>,
) -> Result<(), BoxError> {
    read(&time, &client, front, &tally).await;
    Ok(())
}

/// Waits until nothing is left, though not for ever.
async fn drained(app: &App) -> Left {
    let since = Instant::now();
    app.close_idle();
    loop {
        let left = left(app, app.controls());
        if left == Left::default() || since.elapsed() > DRAIN {
            return left;
        }
        Timer::after(Duration::from_millis(10)).await;
    }
}

fn left(app: &App, controls: &Controls) -> Left {
    let (front, _) = app.open_connections();
    // The listener is a task as well.
    let tasks = app.snapshot().tasks().len() - 1;
    let calls = controls
        .counts()
        .into_iter()
        .map(|(_, seen)| seen.in_flight);
    Left {
        connections: front,
        tasks,
        calls: calls.sum(),
    }
}
