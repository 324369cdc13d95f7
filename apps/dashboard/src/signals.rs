//! When to stop.

use std::io;

use async_signal::{Signal, Signals};
use futures::StreamExt as _;

#[cfg(unix)]
const SIGNALS: &[Signal] = &[Signal::Int, Signal::Term];
#[cfg(not(unix))]
const SIGNALS: &[Signal] = &[Signal::Int];

/// The signals that stop the process: SIGINT and SIGTERM.
pub struct ShutdownSignal(Signals);

impl ShutdownSignal {
    /// Listens from here on: the signals don't end the process any more.
    ///
    /// # Errors
    ///
    /// The system's, if a handler can't be installed.
    pub fn listen() -> io::Result<Self> {
        Signals::new(SIGNALS).map(Self)
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        // An error ends the wait too, because it would come again with every further call.
        let _ = self.0.next().await;
    }
}
