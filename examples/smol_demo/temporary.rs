//! Stands in for the library's context until it is there.

use std::time::{Duration, Instant};

use smol::Timer;

pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Context {
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("context deadline exceeded")]
pub(crate) struct DeadlineExceeded;

impl Context {
    pub(crate) fn background() -> Self {
        Self { deadline: None }
    }

    pub(crate) fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            deadline: Some(Instant::now() + timeout),
        }
    }

    #[expect(dead_code)]
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|at| at.saturating_duration_since(Instant::now()))
    }

    pub(crate) async fn sleep(&self, time: Duration) -> Result<(), DeadlineExceeded> {
        self.run(async {
            Timer::after(time).await;
        })
        .await
    }

    pub(crate) async fn run<F: Future>(&self, work: F) -> Result<F::Output, DeadlineExceeded> {
        let end = async {
            match self.deadline {
                Some(at) => drop(Timer::at(at).await),
                None => futures::future::pending().await,
            }
            Err(DeadlineExceeded)
        };
        smol::future::or(end, async { Ok(work.await) }).await
    }
}
