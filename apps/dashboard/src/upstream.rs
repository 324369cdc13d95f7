//! The services behind the page: each a server of its own on a loopback port, as real as the front.

mod ads;
mod behavior;
mod counts;
mod inventory;
mod ledger;
mod orders;
mod per_service;
mod prices;
mod profile;
mod recommendations;
mod service;

pub use ads::Ad;
pub use behavior::{Behavior, Knob};
pub use counts::{Counted, Counts};
pub use inventory::Stock;
pub use ledger::{Account, Ledger, Waste};
pub use orders::Order;
pub use per_service::PerService;
pub use prices::Price;
pub use profile::Profile;
pub use recommendations::Recommendation;
pub use service::ServiceError;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use failfast::BoxError;
use futures::future::join_all;

use crate::http::{Client, Endpoint, Limits, Server};
use service::{Handler, Work};

/// All services, running.
pub struct Upstreams {
    servers: PerService<Server>,
    controls: Controls,
    /// The orders service's own.
    client: Arc<Client>,
}

/// How the services are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the profiles are kept: seeded if it is new. In memory if there is none.
    pub database: Option<PathBuf>,
    /// How many requests each works on at once; one more is answered with 429.
    pub at_once: u64,
    /// What each may cost.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            database: None,
            at_once: 256,
            limits: Limits::default(),
        }
    }
}

impl Upstreams {
    /// Starts all of them, each on a port of the system's choice.
    ///
    /// # Errors
    ///
    /// The database's, or the system's.
    pub async fn start(options: Options) -> Result<Self, BoxError> {
        let profiles = profile::Profiles::open(options.database.as_deref()).await?;
        let starting = Starting {
            limits: options.limits,
            at_once: options.at_once,
            controls: Controls::new(),
        };
        let client = Arc::new(Client::default());
        let inventory = starting.start("inventory", inventory::Inventory);
        let inventory = inventory.await?;
        let prices = starting.start("prices", prices::Prices);
        let prices = prices.await?;
        let orders = orders::Orders::new(&client, endpoint(&inventory), endpoint(&prices));
        let servers = PerService {
            profile: starting.start("profile", profiles).await?,
            orders: starting.start("orders", orders).await?,
            inventory,
            prices,
            recommendations: starting
                .start("recommendations", recommendations::Recommendations)
                .await?,
            ads: starting.start("ads", ads::Ads).await?,
        };
        Ok(Self {
            servers,
            controls: starting.controls,
            client,
        })
    }

    /// Where each listens.
    pub fn endpoints(&self) -> PerService<Endpoint> {
        self.servers.as_ref().map(endpoint)
    }

    /// What they can be set and read by.
    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    /// How many connections they hold open.
    pub fn open_connections(&self) -> usize {
        let each = self.servers.as_ref().map(Server::open_connections);
        each.into_iter().map(|(_, open)| open).sum()
    }

    /// Shuts all of them down at once.
    pub async fn shutdown(self, bound: Duration) {
        self.client.close_idle();
        join_all(
            self.servers
                .into_iter()
                .map(|(_, server)| server.shutdown(bound)),
        )
        .await;
    }
}

fn endpoint(server: &Server) -> Endpoint {
    Endpoint {
        service: server.name(),
        address: server.address(),
    }
}

/// What the services can be set and read by, from outside of them.
#[derive(Clone)]
pub struct Controls {
    knobs: PerService<Knob>,
    counts: PerService<Arc<Counts>>,
    ledger: Arc<Ledger>,
}

impl Controls {
    fn new() -> Self {
        Self {
            knobs: Behavior::by_design().map(Knob::new),
            counts: PerService::default(),
            ledger: Arc::default(),
        }
    }

    /// How each behaves.
    pub fn behaviors(&self) -> PerService<Behavior> {
        self.knobs.as_ref().map(Knob::get)
    }

    /// Sets how each behaves from its next request on.
    pub fn set_behaviors(&self, behaviors: PerService<Behavior>) {
        for ((_, knob), (_, behavior)) in self.knobs.as_ref().into_iter().zip(behaviors) {
            knob.set(behavior);
        }
    }

    /// What each has seen so far.
    pub fn counts(&self) -> PerService<Counted> {
        self.counts.as_ref().map(|counts| counts.read())
    }

    /// The account of calls by page.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }
}

struct Starting {
    limits: Limits,
    at_once: u64,
    controls: Controls,
}

impl Starting {
    async fn start(&self, name: &'static str, work: impl Work) -> io::Result<Server> {
        let (knob, counts) = (
            self.controls.knobs.get(name),
            self.controls.counts.get(name),
        );
        let handler = Handler {
            name,
            at_once: self.at_once,
            knob: knob.expect("a service's name").clone(),
            counts: counts.expect("a service's name").clone(),
            ledger: self.controls.ledger.clone(),
            work,
        };
        Server::start(name, 0, self.limits.clone(), handler).await
    }
}
