//! The front: the server that people and their browsers talk to.

mod assets;
mod live;
mod page;
mod recent;
mod settings;
mod stats;

pub use page::PageBuilder;
pub use settings::Settings;
pub use stats::{LATENCY_BOUNDS_MS, Outcome, Outcomes, Stats};

use std::sync::Arc;

use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Response, StatusCode};
use matchit::{Params, Router};

use crate::http::{self, Body, Call, Limits, Problem, json, problem, text};
use crate::upstream::Controls;
use assets::Asset;
use live::Live;
use recent::Recent;

const TEXT: &str = "text/plain; charset=utf-8";

/// What is served where, and to which method.
#[derive(Clone, Copy)]
enum Route {
    Asset(&'static Asset),
    Page,
    Settings,
    Stats,
    Tree,
    TreeJson,
    Live,
    Recent,
}

impl Route {
    fn allows(self, method: &Method) -> bool {
        let changes = matches!(self, Self::Settings) && method == Method::PUT;
        method == Method::GET || changes
    }

    fn allowed(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Settings => "GET, PUT",
            _ => "GET",
        })
    }
}

fn router() -> Router<Route> {
    let mut router = Router::new();
    let mut insert = |path: &str, route| router.insert(path, route).expect("paths differ");
    for asset in &assets::ALL {
        insert(asset.path, Route::Asset(asset));
    }
    insert("/api/pages/{user}", Route::Page);
    insert("/api/settings", Route::Settings);
    insert("/api/stats", Route::Stats);
    insert("/api/tree", Route::Tree);
    insert("/api/tree.json", Route::TreeJson);
    insert("/api/live", Route::Live);
    insert("/api/recent/{id}/{view}", Route::Recent);
    router
}

/// The front's service.
pub struct Front {
    router: Router<Route>,
    builder: Arc<PageBuilder>,
    controls: Controls,
    limits: Limits,
    stats: Stats,
    live: Live,
    recent: Recent,
}

impl Front {
    /// One that makes its pages so.
    pub fn new(builder: Arc<PageBuilder>, controls: Controls, limits: Limits) -> Self {
        Self {
            router: router(),
            builder,
            controls,
            limits,
            stats: Stats::default(),
            live: Live::default(),
            recent: Recent::default(),
        }
    }

    async fn route(&self, route: Route, params: Params<'_, '_>, call: Call) -> Response<Body> {
        let param = |name| params.get(name).unwrap_or_default();
        let server = &call.server;
        match route {
            Route::Asset(asset) => asset.answer(),
            Route::Page => self.page(param("user"), &call).await,
            Route::Settings if call.request.method() == Method::PUT => self.set(call).await,
            Route::Settings => json(StatusCode::OK, &self.settings()),
            Route::Stats => json(StatusCode::OK, &self.figures(&call)),
            Route::Tree => text(TEXT, server.group.snapshot().to_string()),
            Route::TreeJson => text("application/json", server.group.snapshot().to_json()),
            Route::Live => self.live.answer(&server.draining),
            Route::Recent => self.recent.answer(param("id"), param("view")),
        }
    }
}

impl http::Service for Front {
    async fn answer(&self, call: Call) -> Response<Body> {
        let path = call.request.uri().path().to_owned();
        let Ok(found) = self.router.at(&path) else {
            return problem(
                StatusCode::NOT_FOUND,
                &Problem::new("there is no such page"),
            );
        };
        let route = *found.value;
        if route.allows(call.request.method()) {
            return self.route(route, found.params, call).await;
        }
        let text = format!("{} is not allowed here", call.request.method());
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &Problem::new(text));
        response.headers_mut().insert(ALLOW, route.allowed());
        response
    }
}
