//! Reading time and sleeping: the port, the future it gives, and the clocks that come with
//! the crate.
//!
//! [`SystemClock`] is the default. A runtime's own sleep function is a clock
//! too, alone or in a pair with the runtime's own `now`; [`LocalClock`] takes
//! those whose timers are bound to a thread; [`ManualClock`] is for tests. A
//! clock of your own implements [`Clock`] and returns [`Sleep::new`].

// | file | owns |
// |---|---|
// | `clock.rs` | the trait |
// | `clock/sleep.rs` | the future, and a user's own timer in it |
// | `clock/function.rs` | functions as clocks |
// | `clock/local.rs`, `clock/confined.rs` | thread-bound timers; values that stay on their thread (unsafe) |
// | `clock/manual.rs` | time that stands still |
// | `clock/system.rs` | the process's one shared timer |
// | `clock/counted.rs` | a context's sleep, armed while it is wanted (unsafe) |
// | `clock/shard.rs` | a part of its sleeps, under a lock of its own |
// | `clock/alarm.rs` | what wakes that timer up, and when |
// | `clock/fork.rs` | what a forked child must not share (unsafe) |
// | `clock/dispatch.rs` | the threads that run wakers and callbacks |
// | `clock/nudge.rs` | small jobs a little later |
// | `clock/reach.rs` | whether those threads can wake the tasks of this one |
// | `clock/heap.rs`, `clock/slab.rs`, `clock/entry.rs` | armed sleeps |
// | `clock/web.rs`, `clock/time.rs` | the same in a browser |

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod alarm;
#[allow(
    unsafe_code,
    reason = "a value that stays on its thread, in a type that may leave it"
)]
mod confined;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
#[allow(
    unsafe_code,
    reason = "what a lock of the clock's guards lies in its owner"
)]
mod counted;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod dispatch;
mod entry;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
#[allow(
    unsafe_code,
    reason = "`pthread_atfork`, and statics that a forked child replaces"
)]
mod fork;
mod function;
mod heap;
mod local;
mod manual;
mod nudge;
pub(crate) mod reach;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod shard;
mod slab;
mod sleep;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod system;
mod time;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod web;

pub use local::LocalClock;
pub use manual::ManualClock;
pub use sleep::{Sleep, TimerError};
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub use system::SystemClock;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub use web::SystemClock;

pub(crate) use confined::{in_wake, is_in_wake};
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub(crate) use counted::{CountedSleep, Sleeper};
pub(crate) use nudge::nudge;
pub(crate) use time::Instant;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub(crate) use web::{CountedSleep, Sleeper};

/// Gives the time, and wakes when a moment has come.
///
/// [`SystemClock`] is the one to use unless there is a reason. A runtime's own
/// sleep function is a clock too (`smol::Timer::after`, `tokio::time::sleep`),
/// as is any `Fn(Duration) -> impl Future` that is `Clone`: `now` is then
/// [`Instant::now`](std::time::Instant::now), and the function is called on a
/// sleep's first poll, with what is left until its deadline.
///
/// Where a runtime's time can be paused, a pair `(now, sleep)` goes by it. What
/// is left until a deadline is then read off `now` when the sleep is made.
///
/// [`LocalClock`] is for timers that are bound to a thread, [`ManualClock`] for
/// tests. A clock of your own returns [`Sleep::new`] from `sleep_until`. The
/// trait can be made into an object, and an `Arc` of a clock is one.
///
/// # Examples
///
/// ```
/// use failfast::clock::{Clock, SystemClock};
/// use std::time::Duration;
///
/// async fn nap(clock: &dyn Clock) {
///     let deadline = clock.now() + Duration::from_millis(1);
///     clock.sleep_until(deadline).await.expect("time passes");
/// }
///
/// smol::block_on(nap(&SystemClock));
/// smol::block_on(nap(&smol::Timer::after));
/// ```
///
/// With tokio's time, which a test may pause:
///
/// ```
/// use failfast::clock::Clock;
/// use std::time::Duration;
///
/// let clock = (|| tokio::time::Instant::now().into_std(), tokio::time::sleep);
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// runtime.block_on(async {
///     let deadline = clock.now() + Duration::from_millis(1);
///     clock.sleep_until(deadline).await.expect("inside of tokio");
///     assert!(clock.now() >= deadline);
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Clock: Send + Sync {
    /// The time by this clock.
    ///
    /// A context asks for it inside of the wake-up of its sleep, too: it must not take a lock under which the clock wakes.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::clock::{Clock, SystemClock};
    /// assert!(SystemClock.now() <= std::time::Instant::now());
    /// ```
    fn now(&self) -> Instant;

    /// A future that is ready once this clock shows `deadline` or later; at once
    /// if it does already.
    ///
    /// Nothing is armed before the first poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::clock::{Clock, SystemClock};
    /// use std::time::Duration;
    ///
    /// let deadline = SystemClock.now() + Duration::from_millis(1);
    /// smol::block_on(SystemClock.sleep_until(deadline))?;
    /// assert!(SystemClock.now() >= deadline);
    /// # Ok::<(), failfast::clock::TimerError>(())
    /// ```
    fn sleep_until(&self, deadline: Instant) -> Sleep;
}

/// Runs foreign code on the dispatcher's threads, because the caller may be inside of an executor that holds locks of
/// its own. Never waits for it. Runs it in place only if not one thread can be had.
#[cfg(not(any(failfast_loom, all(target_family = "wasm", target_os = "unknown"))))]
pub(crate) fn aside(work: impl FnOnce() + Send + 'static) {
    let job = dispatch::Job::Call(Box::new(work));
    system::dispatcher().run([job].into_iter());
}

/// In a browser there is one thread, and the model checker has no executor that holds locks.
#[cfg(any(failfast_loom, all(target_family = "wasm", target_os = "unknown")))]
pub(crate) fn aside(work: impl FnOnce() + Send + 'static) {
    crate::unwind::shield("a callback", work);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn aside_runs_on_another_thread_and_lets_the_caller_go_on() {
        let (release, gate) = mpsc::channel::<()>();
        let (done, told) = mpsc::channel();
        aside(move || {
            gate.recv_timeout(Duration::from_secs(60))
                .expect("the caller goes on");
            done.send(thread::current().id()).unwrap();
        });
        release.send(()).unwrap();
        let ran_on = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_ne!(ran_on, thread::current().id());
    }
}
