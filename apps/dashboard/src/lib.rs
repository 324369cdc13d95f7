//! A page from several services that fails fast: [failfast](failfast) in use, from the database to the browser.

pub mod http;
pub mod upstream;
