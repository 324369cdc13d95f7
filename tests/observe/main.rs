//! Observers, and what a recorder makes of the events.

mod attempts;
mod chrome;
mod hostile;
mod json;
mod order;
mod picture;
mod recorder;
mod snapshot;
mod subscription;
mod support;
mod timeline;
