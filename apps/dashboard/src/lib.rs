//! A page from several services that fails fast: [failfast] in use, from the database to the browser.
//!
//! [`app`] starts it all; [`front`] is what the browser talks to; [`page`] puts the page together, which is where the
//! library is; [`upstream`] holds the services behind it; [`http`] is the server and the client of all of them.

pub mod app;
pub mod front;
pub mod http;
pub mod page;
pub mod signals;
pub mod upstream;
