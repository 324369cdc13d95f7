//! The whole: the services, and the front before them.

use std::sync::Arc;
use std::time::Duration;

use failfast::BoxError;
use failfast::observe::Snapshot;

use crate::front::{Front, PageBuilder};
use crate::http::{Client, Endpoint, Limits, Server, ShutdownOutcome};
use crate::page::{FailFast, Plain};
use crate::upstream::{Controls, Options, PerService, Upstreams};

/// How long the services may take to end once the front has: they have no client any more.
const SERVICES_BOUND: Duration = Duration::from_millis(500);

/// How it is started.
#[derive(Clone, Debug)]
pub struct Config {
    /// The front's port; 0 for one of the system's choice.
    pub port: u16,
    /// What a reader may cost the front.
    pub limits: Limits,
    /// How the services are started.
    pub services: Options,
    /// How long the recommendations are left alone once they keep failing.
    pub breaker_open: Duration,
    /// Makes the pages with `try_join!` and a timeout instead.
    pub plain: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            limits: Limits::default(),
            services: Options::default(),
            breaker_open: Duration::from_secs(5),
            plain: false,
        }
    }
}

/// All of it, running.
pub struct App {
    front: Server,
    upstreams: Upstreams,
    client: Arc<Client>,
}

impl App {
    /// Starts the services, then the front.
    ///
    /// # Errors
    ///
    /// The system's or the database's, with what could not be started.
    pub async fn start(config: Config) -> Result<Self, BoxError> {
        let upstreams = Upstreams::start(config.services).await?;
        let client = Arc::new(Client::default());
        let endpoints = upstreams.endpoints();
        let builder = match config.plain {
            true => PageBuilder::Plain(Plain::new(client.clone(), endpoints)),
            false => PageBuilder::FailFast(FailFast::new(
                client.clone(),
                endpoints,
                config.breaker_open,
            )),
        };
        let front = Front::new(
            Arc::new(builder),
            upstreams.controls().clone(),
            config.limits.clone(),
        );
        let front = Server::start("front", config.port, config.limits, front).await;
        let front = front.map_err(|error| {
            format!(
                "can't listen on port {}: {error} (port 0 is one that is free)",
                config.port
            )
        })?;
        Ok(Self {
            front,
            upstreams,
            client,
        })
    }

    /// Where a browser finds it.
    pub fn url(&self) -> String {
        format!("http://{}", self.front.address())
    }

    /// Where a client finds it.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            service: self.front.name(),
            address: self.front.address(),
        }
    }

    /// Where the services listen.
    pub fn services(&self) -> PerService<Endpoint> {
        self.upstreams.endpoints()
    }

    /// What the services can be set and read by.
    pub fn controls(&self) -> &Controls {
        self.upstreams.controls()
    }

    /// What the front is doing.
    pub fn snapshot(&self) -> Snapshot {
        self.front.snapshot()
    }

    /// How many connections are open: the front's, and the services'.
    pub fn open_connections(&self) -> (usize, usize) {
        (
            self.front.open_connections(),
            self.upstreams.open_connections(),
        )
    }

    /// Closes the connections to the services that are kept for later.
    pub fn close_idle(&self) {
        self.client.close_idle();
    }

    /// Stops accepting, waits for the requests under way for as long as `bound`, cuts what is left, and ends the
    /// services.
    pub async fn shutdown(self, bound: Duration) -> ShutdownOutcome {
        let outcome = self.front.shutdown(bound).await;
        self.client.close_idle();
        self.upstreams.shutdown(SERVICES_BOUND).await;
        outcome
    }
}
