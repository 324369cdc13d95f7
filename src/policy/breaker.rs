//! `breaker`: no calls for a while after too many failures.

// | file | owns |
// |---|---|
// | `breaker.rs` | the public face, and a call that is let through |
// | `breaker/guard.rs` | the result of such a call: settled once, whatever happens |
// | `breaker/circuit.rs`, `window.rs` | the states, and the calls that decide |

mod circuit;
mod guard;
mod window;

use super::BreakerState;
use super::call::Call;
use super::record;
use super::trail::observe_refusal;
use super::watch::ended_before;
use super::wrapped::{Asked, POLLED_AGAIN, policy};
use crate::context::Context;
use crate::error::{Fault, FaultKind, Name, walk};
use crate::group::observe_attempt;
use crate::observe::AttemptKind;
use crate::source::Source;
use crate::sync::Mutex;
use circuit::{Admission, Circuit, Terms, Transition};
use guard::Guard;
use log::Level;
use pin_project_lite::pin_project;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

/// Stops calling a service that fails: [`SourceExt::breaker`](crate::SourceExt::breaker).
///
/// One value for each backend, shared: all sources that were given it, and all its clones, have one state.
///
/// ```text
///            5 failures among the last 10 calls of 10 s
///   closed ─────────────────────────────────────────────▶ open
///      ▲                                    a failure   ▲  │
///      │                            ┌───────────────────┘  │ after 5 s
///      └─────────────────────── half open ◀────────────────┘
///        as many successes as probes
/// ```
///
/// # Semantics
///
/// * **Closed** it admits every call. A failure that makes too many of the last calls opens it.
/// * **Open** it refuses every call, for a while that the clock alone ends.
/// * **Half open** it admits so many calls as *probes*, and refuses the others. When as many as there are probes
///   have succeeded it closes; a failure opens it again. A probe that has not ended after the open time loses its place.
/// * What counts: a panic, a timeout or an error is a failure, but for an error that [`counting`](Self::counting) excludes.
///   Such an error is a success, as an answer is. The caller's end, a call that is dropped, and a call that a policy inside
///   refused are neither. With [`with_slow_after`](Self::with_slow_after), slowness is a failure,
///   whatever else the call was.
/// * A result counts only in the state in which its call was admitted.
/// * It reads the clock of the call at hand. Under two clocks, or one that is set back, it is open no longer than
///   its open time after the last reading.
///
/// Each transition is a log record of level debug.
///
/// # Examples
///
/// ```
/// use failfast::policy::Breaker;
/// use failfast::{BoxError, Context, Source, SourceExt};
///
/// async fn orders(_: Context, _: u64) -> Result<u32, BoxError> { Ok(5) }
/// async fn invoices(_: Context, _: u64) -> Result<u32, BoxError> { Ok(3) }
///
/// # smol::block_on(async {
/// let orders_db = Breaker::new("orders-db");
/// let (orders, invoices) = (orders.breaker(&orders_db), invoices.breaker(&orders_db)); // they open together
/// assert_eq!(orders.fetch(Context::background(), 7).await.unwrap(), 5);
/// assert_eq!(invoices.fetch(Context::background(), 7).await.unwrap(), 3);
/// # });
/// ```
#[derive(Clone)]
#[must_use = "a breaker does nothing unless a source is given it"]
pub struct Breaker(Arc<Settings>);

/// What a breaker goes by. Clones that were set otherwise share the circuit all the same.
#[derive(Clone)]
struct Settings {
    name: Name,
    terms: Terms,
    slow_after: Option<Duration>,
    counting: Vec<Rule>,
    circuit: Arc<Mutex<Circuit>>,
}

/// Whether a fault counts. `None`: it is not of the type that the rule is about.
type Rule = Arc<dyn Fn(&Fault) -> Option<bool> + Send + Sync>;

/// Making one. Each `with_` and `counting` is for this value and the clones that are made of it from now on. It still
/// shares its state with the clones made before.
impl Breaker {
    /// Opens at 5 failures among the last 10 calls of 10 s, for 5 s, and probes with 1 call. The name is for faults and
    /// log records: that of the backend.
    ///
    /// # Examples
    ///
    /// ```
    /// let orders_db = failfast::policy::Breaker::new("orders-db");
    /// ```
    pub fn new(name: impl Into<Name>) -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();
        const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();
        Self(Arc::new(Settings {
            name: name.into(),
            terms: Terms {
                failures: FIVE,
                of_calls: TEN,
                window: Duration::from_secs(10),
                open: Duration::from_secs(5),
                probes: NonZeroU32::MIN,
            },
            slow_after: None,
            counting: Vec::new(),
            circuit: Arc::default(),
        }))
    }

    /// Opens at `failures` failures among the last `of_calls` calls. Fewer calls than failures means: that many failures
    /// in a row.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Breaker;
    /// let half_of_the_last_hundred = Breaker::new("orders-db").with_trip(50.try_into()?, 100.try_into()?);
    /// # Ok::<(), std::num::TryFromIntError>(())
    /// ```
    pub fn with_trip(self, failures: NonZeroU32, of_calls: NonZeroU32) -> Self {
        self.with(|settings| {
            settings.terms.failures = failures;
            settings.terms.of_calls = of_calls;
        })
    }

    /// A failure counts for so long.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Breaker;
    /// use std::time::Duration;
    /// let breaker = Breaker::new("orders-db").with_window(Duration::from_secs(60));
    /// ```
    pub fn with_window(self, window: Duration) -> Self {
        self.with(|settings| settings.terms.window = window)
    }

    /// It stays open for so long. A probe that has not ended after as long again loses its place.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Breaker;
    /// use std::time::Duration;
    /// let breaker = Breaker::new("orders-db").with_open(Duration::from_secs(30));
    /// ```
    pub fn with_open(self, open: Duration) -> Self {
        self.with(|settings| settings.terms.open = open)
    }

    /// How many probes it admits, and how many successes close it.
    ///
    /// Of this value and the clones that are made of it from now on. As they share one state, one that needs fewer
    /// also counts the successes of the others' probes.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Breaker;
    /// let breaker = Breaker::new("orders-db").with_probes(3.try_into().unwrap());
    /// ```
    pub fn with_probes(self, probes: NonZeroU32) -> Self {
        self.with(|settings| settings.terms.probes = probes)
    }

    /// A call that takes so long, or longer, is a failure however it ends: with an answer, which its caller gets all the
    /// same, by its caller's end, or dropped. So a service that hangs opens the breaker, also if all of its callers give
    /// up by themselves.
    ///
    /// A wait for a permit or a token, of a [`Limit`](super::Limit) or [`Rate`](super::Rate) inside, does not count. But
    /// with [`coalesce`](crate::SourceExt::coalesce) between the two it does, for each caller but the one that polls the
    /// shared call: put the limit or the rate outside the breaker then. Without this, slowness is no failure.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Breaker;
    /// use std::time::Duration;
    /// let breaker = Breaker::new("orders-db").with_slow_after(Duration::from_secs(2));
    /// ```
    pub fn with_slow_after(self, slow_after: Duration) -> Self {
        self.with(|settings| settings.slow_after = Some(slow_after))
    }

    /// Which errors of type `E` are failures. One that is none is a success: the service has answered.
    ///
    /// The error is looked for as [`Fault::downcast_ref`] does. Of several rules, the first whose type is found decides.
    /// Where none is found, and for timeouts and panics, it is a failure. For a source that returns a
    /// [`BoxError`](crate::BoxError), `E` is the concrete type in it.
    ///
    /// # Panics
    ///
    /// If `counting` panics, the call does, and it is a failure.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::policy::Breaker;
    /// use std::io;
    ///
    /// // A missing file is no fault of the disk.
    /// let disk = Breaker::new("disk").counting(|error: &io::Error| error.kind() != io::ErrorKind::NotFound);
    /// ```
    pub fn counting<E: StdError + 'static>(
        self,
        counting: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        let rule = move |fault: &Fault| {
            let error = walk(fault).find_map(|error| error.downcast_ref::<E>());
            error.map(&counting)
        };
        self.with(|settings| settings.counting.push(Arc::new(rule)))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// Its state, and the admission of calls.
impl Breaker {
    /// Its state, by the clock of `ctx`: half open as soon as the open time has passed, whether a call came or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use failfast::Context;
    /// use failfast::policy::{Breaker, BreakerState};
    ///
    /// let orders_db = Breaker::new("orders-db");
    /// let is_healthy = orders_db.state(&Context::background()) == BreakerState::Closed;
    /// assert!(is_healthy);
    /// ```
    #[must_use]
    pub fn state(&self, ctx: &Context) -> BreakerState {
        let now = ctx.now();
        let mut circuit = self.0.circuit.lock();
        let transition = circuit.advance(&self.0.terms, now);
        let state = circuit.state();
        drop(circuit);
        self.record(ctx, None, transition);
        state
    }

    /// Admits a call, or returns for how long it will be refused. A closed circuit reads no clock for it.
    #[inline]
    fn admit(&self, ctx: &Context, source: Option<&Name>) -> Result<Admission, Duration> {
        let admitted = self.0.circuit.lock().admit_closed();
        admitted.map_or_else(|| self.admit_by_clock(ctx, source), Ok)
    }

    fn admit_by_clock(&self, ctx: &Context, source: Option<&Name>) -> Result<Admission, Duration> {
        let now = ctx.now();
        let mut circuit = self.0.circuit.lock();
        let transition = circuit.advance(&self.0.terms, now);
        let admitted = circuit.admit(&self.0.terms, now);
        drop(circuit);
        self.record(ctx, source, transition);
        admitted
    }

    /// Whether an error is a failure of the service. `None`: it is neither a failure nor a success.
    fn counts(&self, fault: &Fault) -> Option<bool> {
        match fault.kind() {
            FaultKind::Ended(_) | FaultKind::Rejected(_) => None,
            _ if fault.is_panic() => Some(true),
            _ => {
                let decided = self.0.counting.iter().find_map(|rule| rule(fault));
                Some(decided.unwrap_or(true))
            }
        }
    }

    fn record(&self, ctx: &Context, source: Option<&Name>, transition: Option<Transition>) {
        let Some((from, to)) = transition else { return };
        let name = &self.0.name;
        record::write(ctx, source.or(Some(name)), Level::Debug, || {
            format!("breaker {name} was {from} and is {to}")
        });
        observe_attempt(ctx.attempt(), AttemptKind::Transition(from, to), None);
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.circuit.lock().state(); // as of the last call: there is no clock to read here
        f.debug_struct("Breaker")
            .field("name", &self.0.name)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// # States
    ///
    /// ```text
    /// Asked ──▶ Called ──▶ Over
    ///   └──────────────────▲    nothing begins: the breaker is open, or the caller's context has ended
    /// ```
    #[project = GuardedState]
    #[must_use = "a future does nothing until it is awaited"]
    pub enum Guarded<A, F, R> {
        Asked { asked: Option<Asked<A, Breaker, R>> },
        // The source is dropped before a probe's place is given back.
        Called { #[pin] call: Call<F>, guard: Guard },
        Over,
    }
}

/// See `LimitedOf` for why the source's future is a parameter.
type GuardedOf<A, R> = Guarded<A, <A as Source<R>>::Future, R>;

policy!(Breaker => GuardedOf);

impl<A: Source<R>, R> GuardedOf<A, R> {
    #[inline]
    pub(super) fn new(asked: Asked<A, Breaker, R>) -> Self {
        Self::Asked { asked: Some(asked) }
    }

    #[inline]
    fn begin(asked: Asked<A, Breaker, R>) -> Result<Self, Fault> {
        let mut guard = match asked.policy().admit(&asked.ctx, asked.name.as_ref()) {
            Ok(admission) => Guard::new(&asked, admission),
            Err(retry_after) => return Err(refused(&asked, retry_after)),
        };
        let call = guard.settle_panic(|| asked.call())?;
        Ok(Self::Called { call, guard })
    }
}

/// The caller's end goes before the breaker.
#[cold]
fn refused<A, R>(asked: &Asked<A, Breaker, R>, retry_after: Duration) -> Fault {
    let name = || asked.policy().0.name.clone();
    let open = || Fault::breaker_open(name(), retry_after);
    observe_refusal(&asked.ctx, ended_before(&asked.ctx).unwrap_or_else(open))
}

impl<A: Source<R>, R> Future for GuardedOf<A, R> {
    type Output = Result<A::Output, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let GuardedState::Asked { asked } = self.as_mut().project() {
            let asked = asked.take().expect(POLLED_AGAIN);
            match Self::begin(asked) {
                Ok(called) => self.set(called),
                Err(fault) => {
                    self.set(Self::Over);
                    return Poll::Ready(Err(fault));
                }
            }
        }
        let GuardedState::Called { call, guard } = self.as_mut().project() else {
            unreachable!("a policy was polled after it had completed")
        };
        let answer = ready!(guard.poll(|| call.poll(cx)));
        guard.settle(answer.as_ref().err());
        self.set(Self::Over);
        Poll::Ready(answer)
    }
}
