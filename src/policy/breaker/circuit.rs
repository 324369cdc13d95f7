//! A breaker's states, by instants. Plain data, which its owner guards with a lock.
//!
//! ```text
//!              `failures` of the last `of_calls` calls, all within `window`
//!      ┌────────┐ ───────────────────────────────────────────────► ┌──────┐
//!      │ closed │                                                  │ open │
//!      └────────┘ ◄────────────┐                     ┌───────────► └──────┘
//!                              │ `probes` successes  │ a failure       │ `open` has passed
//!                              └─────────── ┌───────────┐ ◄────────────┘
//!                                           │ half open │
//!                                           └───────────┘
//! ```
//!
//! # Invariants
//!
//! 1. `generation` grows with each transition. A result counts only in the generation that admitted its call.
//! 2. Half open, the probes in flight and those that have succeeded are at most `probes`. Each probe has a number of its
//!    own, so a probe that has lost its place can't give it back.
//! 3. Open ends by the time alone: whatever reads the state at `since + open` or later finds it half open.
//! 4. A reading that lies before an instant kept here replaces it, so that under a clock that was set back, or under
//!    two clocks, nothing takes longer than `open`, or `window`.
//! 5. Half open, as many successes as the terms at hand need close it, also if other terms admitted the probes.
//!    Clones may differ in `probes`, and where there are enough successes for one, it has no place for another probe.

use super::window::Window;
use crate::clock::Instant;
use crate::policy::BreakerState;
use std::num::NonZeroU32;
use std::time::Duration;

/// What a circuit goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) failures: NonZeroU32,
    pub(super) of_calls: NonZeroU32,
    pub(super) window: Duration,
    pub(super) open: Duration,
    pub(super) probes: NonZeroU32,
}

#[derive(Debug, Default)]
pub(super) struct Circuit {
    generation: u64,
    stage: Stage,
    /// Empty unless closed.
    window: Window,
    /// Empty unless half open.
    probes: Probes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Closed,
    Open {
        since: Instant,
    },
    HalfOpen,
}

#[derive(Debug, Default)]
struct Probes {
    succeeded: u32,
    in_flight: Vec<Probe>,
    issued: u64,
}

#[derive(Debug)]
struct Probe {
    number: u64,
    since: Instant,
}

/// A call that was let through. It has to be given back, by [`Circuit::settle`] or [`Circuit::abandon`].
#[derive(Debug)]
pub(super) struct Admission {
    generation: u64,
    /// `None`: it was admitted by a closed circuit.
    probe: Option<u64>,
}

/// How a call counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    /// It failed, at this moment.
    Failure(Instant),
}

/// From which state to which.
pub(super) type Transition = (BreakerState, BreakerState);

impl Circuit {
    /// Admits a call if the circuit is closed, for which the time is of no interest.
    pub(super) fn admit_closed(&self) -> Option<Admission> {
        (self.stage == Stage::Closed).then_some(Admission {
            generation: self.generation,
            probe: None,
        })
    }

    /// Admits a call, or returns after how long one may be admitted again.
    pub(super) fn admit(&mut self, terms: &Terms, now: Instant) -> Result<Admission, Duration> {
        let probe = match self.stage {
            Stage::Closed => None,
            Stage::Open { since } => return Err(left(terms.open, since, now)),
            Stage::HalfOpen => Some(self.probes.reserve(terms, now)?),
        };
        Ok(Admission {
            generation: self.generation,
            probe,
        })
    }

    /// Makes the transitions that time and terms demand (invariants 3 to 5). To be called before `admit` and `state`.
    pub(super) fn advance(&mut self, terms: &Terms, now: Instant) -> Option<Transition> {
        match &mut self.stage {
            Stage::Closed => None,
            Stage::Open { since } => {
                *since = now.min(*since);
                let over = left(terms.open, *since, now).is_zero();
                over.then(|| self.enter(Stage::HalfOpen))
            }
            Stage::HalfOpen => self.close_if_enough(terms),
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.stage {
            Stage::Closed => BreakerState::Closed,
            Stage::Open { .. } => BreakerState::Open,
            Stage::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// A call has ended, and counts.
    pub(super) fn settle(
        &mut self,
        terms: &Terms,
        admission: Admission,
        verdict: Verdict,
    ) -> Option<Transition> {
        if admission.generation != self.generation {
            return None; // invariant 1
        }
        match admission.probe {
            None => self.record(terms, verdict),
            Some(probe) => self.conclude(terms, probe, verdict),
        }
    }

    /// A call has ended, and does not count: a probe's place is free again.
    pub(super) fn abandon(&mut self, admission: Admission) {
        if admission.generation == self.generation {
            if let Some(probe) = admission.probe {
                self.probes.release(probe);
            }
        }
    }

    fn record(&mut self, terms: &Terms, verdict: Verdict) -> Option<Transition> {
        match verdict {
            Verdict::Success => {
                self.window.success();
                None
            }
            Verdict::Failure(now) => {
                let trips = self.window.failure(terms, now);
                trips.then(|| self.enter(Stage::Open { since: now }))
            }
        }
    }

    fn conclude(&mut self, terms: &Terms, probe: u64, verdict: Verdict) -> Option<Transition> {
        if !self.probes.release(probe) {
            return None; // its place is another's by now (invariant 2)
        }
        match verdict {
            Verdict::Failure(now) => Some(self.enter(Stage::Open { since: now })),
            Verdict::Success => {
                self.probes.succeeded += 1;
                self.close_if_enough(terms)
            }
        }
    }

    /// Invariant 5.
    fn close_if_enough(&mut self, terms: &Terms) -> Option<Transition> {
        let enough = self.probes.succeeded >= terms.probes.get();
        enough.then(|| self.enter(Stage::Closed))
    }

    fn enter(&mut self, stage: Stage) -> Transition {
        let before = self.state();
        self.stage = stage;
        self.generation += 1;
        self.window.clear();
        self.probes.clear();
        (before, self.state())
    }
}

impl Probes {
    /// Reserves a place (invariant 2). Where all are taken, those of probes as old as `open` are free again.
    fn reserve(&mut self, terms: &Terms, now: Instant) -> Result<u64, Duration> {
        if self.is_full(terms) {
            for probe in &mut self.in_flight {
                probe.since = now.min(probe.since);
            }
            self.in_flight
                .retain(|probe| !left(terms.open, probe.since, now).is_zero());
        }
        if self.is_full(terms) {
            let waits = self.in_flight.iter();
            let wait = waits.map(|probe| left(terms.open, probe.since, now)).min();
            return Err(wait.unwrap_or_default());
        }
        let number = self.issued;
        self.issued += 1;
        self.in_flight.push(Probe { number, since: now });
        Ok(number)
    }

    fn is_full(&self, terms: &Terms) -> bool {
        let succeeded = usize::try_from(self.succeeded).unwrap_or(usize::MAX);
        let probes = usize::try_from(terms.probes.get()).unwrap_or(usize::MAX);
        succeeded.saturating_add(self.in_flight.len()) >= probes
    }

    /// Returns whether the probe still had its place.
    fn release(&mut self, number: u64) -> bool {
        let place = self
            .in_flight
            .iter()
            .position(|probe| probe.number == number);
        place
            .map(|place| self.in_flight.swap_remove(place))
            .is_some()
    }

    fn clear(&mut self) {
        self.succeeded = 0;
        self.in_flight.clear();
    }
}

/// What is left of `period`, which began at `since`.
fn left(period: Duration, since: Instant, now: Instant) -> Duration {
    period.saturating_sub(now.saturating_duration_since(since))
}

#[cfg(all(test, not(failfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn terms(failures: u32, of_calls: u32, probes: u32) -> Terms {
        Terms {
            failures: NonZeroU32::new(failures).unwrap(),
            of_calls: NonZeroU32::new(of_calls).unwrap(),
            window: 10 * SECOND,
            open: 5 * SECOND,
            probes: NonZeroU32::new(probes).unwrap(),
        }
    }

    fn call(circuit: &mut Circuit, terms: &Terms, verdict: Verdict) -> Option<Transition> {
        let admission = circuit.admit_closed().expect("it is closed");
        circuit.settle(terms, admission, verdict)
    }

    /// A circuit that opened at `now`.
    fn opened(terms: &Terms, now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        while circuit.state() == BreakerState::Closed {
            call(&mut circuit, terms, Verdict::Failure(now));
        }
        circuit
    }

    /// A circuit that is half open at `now`.
    fn half_open(terms: &Terms, now: Instant) -> Circuit {
        let before = now.checked_sub(terms.open).unwrap();
        let mut circuit = opened(terms, before);
        let to = circuit.advance(terms, now);
        assert_eq!(to, Some((BreakerState::Open, BreakerState::HalfOpen)));
        circuit
    }

    fn later() -> Instant {
        Instant::now() + 3600 * SECOND
    }

    #[test]
    fn the_last_of_so_many_failures_trips() {
        let (terms, now) = (terms(5, 10, 1), later());
        let mut circuit = Circuit::default();
        for _ in 0..4 {
            assert_eq!(call(&mut circuit, &terms, Verdict::Failure(now)), None);
        }
        let tripped = call(&mut circuit, &terms, Verdict::Failure(now));
        assert_eq!(tripped, Some((BreakerState::Closed, BreakerState::Open)));
        assert!(circuit.admit_closed().is_none());
    }

    #[test]
    fn failures_that_are_more_calls_ago_do_not_count() {
        let (terms, now) = (terms(2, 3, 1), later());
        let mut circuit = Circuit::default();
        for _ in 0..10 {
            call(&mut circuit, &terms, Verdict::Failure(now));
            call(&mut circuit, &terms, Verdict::Success);
            call(&mut circuit, &terms, Verdict::Success);
        }
        call(&mut circuit, &terms, Verdict::Failure(now));
        call(&mut circuit, &terms, Verdict::Success);
        assert_eq!(circuit.state(), BreakerState::Closed);
        call(&mut circuit, &terms, Verdict::Failure(now));
        assert_eq!(circuit.state(), BreakerState::Open);
    }

    #[test]
    fn failures_that_are_longer_ago_than_the_window_do_not_count() {
        let (terms, now) = (terms(2, 10, 1), later());
        for (gap, state) in [
            (terms.window, BreakerState::Closed),
            (terms.window - Duration::from_nanos(1), BreakerState::Open),
        ] {
            let mut circuit = Circuit::default();
            call(&mut circuit, &terms, Verdict::Failure(now));
            call(&mut circuit, &terms, Verdict::Failure(now + gap));
            assert_eq!(circuit.state(), state);
        }
    }

    #[test]
    fn more_failures_than_calls_means_that_many_in_a_row() {
        let (terms, now) = (terms(3, 1, 1), later());
        let mut circuit = Circuit::default();
        call(&mut circuit, &terms, Verdict::Failure(now));
        call(&mut circuit, &terms, Verdict::Failure(now));
        call(&mut circuit, &terms, Verdict::Success);
        call(&mut circuit, &terms, Verdict::Failure(now));
        assert_eq!(circuit.state(), BreakerState::Closed);
        call(&mut circuit, &terms, Verdict::Failure(now));
        call(&mut circuit, &terms, Verdict::Failure(now));
        assert_eq!(circuit.state(), BreakerState::Open);
    }

    #[test]
    fn open_lasts_to_the_nanosecond() {
        let (terms, now) = (terms(1, 1, 1), later());
        let mut circuit = opened(&terms, now);
        let last = now + terms.open - Duration::from_nanos(1);
        assert_eq!(circuit.advance(&terms, last), None);
        assert_eq!(
            circuit.admit(&terms, last).unwrap_err(),
            Duration::from_nanos(1)
        );
        assert!(circuit.advance(&terms, now + terms.open).is_some());
        assert!(circuit.admit(&terms, now + terms.open).is_ok());
    }

    #[test]
    fn half_open_admits_so_many_and_closes_after_as_many_successes() {
        for probes in [1, 2, 31, 32, 33, 64, 65, 1000] {
            let (terms, now) = (terms(1, 1, probes), later());
            let mut circuit = half_open(&terms, now);
            let admitted: Vec<_> = (0..probes)
                .map(|_| circuit.admit(&terms, now).unwrap())
                .collect();
            assert_eq!(circuit.admit(&terms, now).unwrap_err(), terms.open);
            for (number, admission) in (1..).zip(admitted) {
                let to = circuit.settle(&terms, admission, Verdict::Success);
                assert_eq!(to.is_some(), number == probes);
            }
            assert_eq!(circuit.state(), BreakerState::Closed);
        }
    }

    #[test]
    fn a_probe_that_has_succeeded_keeps_its_place() {
        let (terms, now) = (terms(1, 1, 2), later());
        let mut circuit = half_open(&terms, now);
        let first = circuit.admit(&terms, now).unwrap();
        circuit.settle(&terms, first, Verdict::Success);
        let _second = circuit.admit(&terms, now).unwrap();
        assert!(circuit.admit(&terms, now).is_err());
    }

    #[test]
    fn an_abandoned_probe_frees_its_place_once() {
        let (terms, now) = (terms(1, 1, 1), later());
        let mut circuit = half_open(&terms, now);
        let probe = circuit.admit(&terms, now).unwrap();
        circuit.abandon(probe);
        let next = circuit.admit(&terms, now).unwrap();
        assert!(circuit.admit(&terms, now).is_err());
        circuit.settle(&terms, next, Verdict::Failure(now));
        assert_eq!(circuit.state(), BreakerState::Open);
    }

    #[test]
    fn a_reclaimed_probe_changes_nothing_any_more() {
        let (terms, now) = (terms(1, 1, 1), later());
        let mut circuit = half_open(&terms, now);
        let lost = circuit.admit(&terms, now).unwrap();
        let next = circuit.admit(&terms, now + terms.open).unwrap();
        assert_eq!(circuit.settle(&terms, lost, Verdict::Success), None);
        assert!(circuit.admit(&terms, now + terms.open).is_err());
        assert!(circuit.settle(&terms, next, Verdict::Success).is_some());
    }

    #[test]
    fn results_of_an_older_generation_change_nothing() {
        let (terms, now) = (terms(1, 1, 1), later());
        let mut circuit = Circuit::default();
        let late: Vec<_> = (0..3).filter_map(|_| circuit.admit_closed()).collect();
        call(&mut circuit, &terms, Verdict::Failure(now));
        let verdicts = [
            Verdict::Failure(now + SECOND),
            Verdict::Success,
            Verdict::Success,
        ];
        for (admission, verdict) in late.into_iter().zip(verdicts) {
            assert_eq!(circuit.settle(&terms, admission, verdict), None);
        }
        assert_eq!(circuit.admit(&terms, now + SECOND).unwrap_err(), 4 * SECOND);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_it_open_no_longer_than_the_open_time() {
        let (terms, now) = (terms(1, 1, 1), later());
        let mut circuit = opened(&terms, now);
        let earlier = now.checked_sub(3600 * SECOND).unwrap();
        assert_eq!(circuit.advance(&terms, earlier), None);
        assert_eq!(circuit.admit(&terms, earlier).unwrap_err(), terms.open);
        assert!(circuit.advance(&terms, earlier + terms.open).is_some());
        let _probe = circuit.admit(&terms, now).unwrap();
        assert_eq!(circuit.admit(&terms, earlier).unwrap_err(), terms.open);
        assert!(circuit.admit(&terms, earlier + terms.open).is_ok());
    }

    #[test]
    fn extreme_terms_saturate() {
        let terms = Terms {
            window: Duration::MAX,
            open: Duration::MAX,
            ..terms(u32::MAX, u32::MAX, u32::MAX)
        };
        let mut circuit = Circuit::default();
        call(&mut circuit, &terms, Verdict::Failure(Instant::now()));
        let terms = Terms {
            failures: NonZeroU32::MIN,
            ..terms
        };
        let mut circuit = opened(&terms, Instant::now());
        assert_eq!(circuit.advance(&terms, later()), None);
        assert!(circuit.admit(&terms, later()).is_err());
    }

    /// What may happen to a breaker, in any order.
    #[derive(Clone, Debug)]
    enum Step {
        Admit,
        Settle(usize, bool),
        Abandon(usize),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Admit),
            4 => (0_usize..8, any::<bool>()).prop_map(|(which, ok)| Step::Settle(which, ok)),
            1 => (0_usize..8).prop_map(Step::Abandon),
            1 => (0_u64..7000).prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Against a breaker that remembers every call of the closed state and looks through them all.
        #[test]
        fn closed_it_trips_exactly_by_the_window(
            failures in 1_u32..5,
            of_calls in 1_u32..8,
            calls in prop::collection::vec((any::<bool>(), 0_u64..4000), 0..100),
        ) {
            let terms = terms(failures, of_calls.max(failures), 1);
            let (mut circuit, mut now, mut all) = (Circuit::default(), later(), Vec::new());
            for (ok, gap) in calls {
                now += Duration::from_millis(gap);
                all.push((ok, now));
                let verdict = if ok { Verdict::Success } else { Verdict::Failure(now) };
                let tripped = call(&mut circuit, &terms, verdict).is_some();
                let last = all.iter().rev().take(terms.of_calls.get() as usize);
                let bad = last.filter(|(ok, at)| !ok && now - *at < terms.window).count();
                prop_assert_eq!(tripped, !ok && bad >= failures as usize);
                if tripped {
                    break;
                }
            }
        }

        /// Whatever happens: half open, never more calls than probes; and once all are gone, a call is admitted again.
        #[test]
        fn no_place_is_lost_and_none_is_given_twice(probes in 1_u32..4, steps in steps()) {
            let terms = terms(1, 1, probes);
            let (mut circuit, mut now) = (Circuit::default(), later());
            let mut calls: Vec<Admission> = Vec::new();
            for step in steps {
                circuit.advance(&terms, now);
                match step {
                    Step::Admit => calls.extend(circuit.admit(&terms, now)),
                    Step::Pass(millis) => now += Duration::from_millis(millis),
                    Step::Settle(which, ok) if which < calls.len() => {
                        let verdict = if ok { Verdict::Success } else { Verdict::Failure(now) };
                        circuit.settle(&terms, calls.swap_remove(which), verdict);
                    }
                    Step::Abandon(which) if which < calls.len() => {
                        circuit.abandon(calls.swap_remove(which));
                    }
                    Step::Settle(..) | Step::Abandon(_) => {}
                }
                let probing = u32::try_from(circuit.probes.in_flight.len()).unwrap();
                prop_assert!(probing + circuit.probes.succeeded <= probes);
            }
            calls.into_iter().for_each(|call| circuit.abandon(call));
            circuit.advance(&terms, now + terms.open);
            prop_assert!(circuit.admit(&terms, now + terms.open).is_ok());
        }
    }
}
