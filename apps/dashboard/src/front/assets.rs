//! The page's files, compiled in.

use hyper::Response;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use crate::http::{Body, text};

/// Nothing from anywhere else, and no script in the page itself.
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'";

/// One file.
pub(super) struct Asset {
    pub(super) path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    pub(super) fn answer(&self) -> Response<Body> {
        let mut response = text(self.content_type, self.content);
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal $file:literal $type:ident;)*) => {
        [$(Asset {
            path: $path,
            content_type: $type,
            content: include_str!(concat!("../../web/", $file)),
        }),*]
    };
}

pub(super) static ALL: [Asset; 8] = assets! {
    "/" "index.html" HTML;
    "/style.css" "style.css" CSS;
    "/icon.svg" "icon.svg" SVG;
    "/app.js" "app.js" SCRIPT;
    "/page.js" "page.js" SCRIPT;
    "/knobs.js" "knobs.js" SCRIPT;
    "/timeline.js" "timeline.js" SCRIPT;
    "/stats.js" "stats.js" SCRIPT;
};
