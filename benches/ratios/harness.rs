//! Lanes, races, and how they are timed.
//!
//! Why not criterion or divan: what we ask is a ratio, and on a busy machine a ratio of two figures taken
//! seconds apart is mostly noise. Both measure one benchmark to its end before they start the next. Here the
//! lanes of a race take turns, a few milliseconds each, so whatever slows the machine slows all of them.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Runs so many iterations and says how long they took: only what is to be measured, not what prepares it.
type Run = Box<dyn FnMut(u64) -> Duration>;

/// One contestant in a race.
pub(crate) struct Lane {
    pub(crate) name: String,
    /// What the first lane's time over this one's is to reach at most.
    pub(crate) target: Option<f64>,
    run: Run,
}

impl Lane {
    pub(crate) fn new(name: &str, run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self {
            name: name.to_owned(),
            target: None,
            run: Box::new(run),
        }
    }

    /// Times a call with all that is around it: for what takes long, or nanoseconds.
    pub(crate) fn tight<R>(name: &str, mut once: impl FnMut() -> R + 'static) -> Self {
        Self::new(name, move |iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                black_box(once());
            }
            start.elapsed()
        })
    }

    /// Times `act`, but neither the making of what it works on nor the dropping of what it leaves.
    pub(crate) fn staged<S, R>(
        name: &str,
        mut set: impl FnMut() -> S + 'static,
        mut act: impl FnMut(&mut S) -> R + 'static,
    ) -> Self {
        Self::new(name, move |iterations| {
            let once = |_| {
                let mut stage = set();
                let start = Instant::now();
                let left = black_box(act(&mut stage));
                let took = start.elapsed();
                drop((left, stage));
                took
            };
            (0..iterations).map(once).sum()
        })
    }

    /// Sets the figure to reach, if there is one for this case.
    pub(crate) fn aim(mut self, target: impl Into<Option<f64>>) -> Self {
        self.target = target.into();
        self
    }

    pub(crate) fn run(&mut self, iterations: u64) -> Duration {
        (self.run)(iterations)
    }

    /// How many iterations fill a round: by the wall's clock, so that a slow preparation counts too.
    fn calibrate(&mut self, round: Duration) -> u64 {
        let mut iterations = 1;
        loop {
            let start = Instant::now();
            self.run(iterations);
            let took = start.elapsed();
            if took * 2 > round {
                let fit = iterations as f64 * round.as_secs_f64() / took.as_secs_f64();
                return (fit as u64).max(1);
            }
            iterations *= 2;
        }
    }
}

/// Several ways to do the same work. The first lane is the one that is judged against each of the others.
pub(crate) struct Race {
    pub(crate) title: String,
    /// How many tasks, calls or waiters one iteration comes to, and what they are called.
    pub(crate) units: (usize, &'static str),
    pub(crate) lanes: Vec<Lane>,
}

impl Race {
    pub(crate) fn new(
        title: impl Into<String>,
        units: (usize, &'static str),
        judged: Lane,
    ) -> Self {
        Self {
            title: title.into(),
            units,
            lanes: vec![judged],
        }
    }

    pub(crate) fn against(mut self, lane: Lane) -> Self {
        self.lanes.push(lane);
        self
    }

    pub(crate) fn has_target(&self) -> bool {
        self.lanes.iter().any(|lane| lane.target.is_some())
    }

    /// Runs the lanes in turns, there and back, so that no lane always follows the same neighbour.
    pub(crate) fn run(&mut self, pace: Pace) -> Vec<Samples> {
        let plan: Vec<u64> = self
            .lanes
            .iter_mut()
            .map(|lane| lane.calibrate(pace.round))
            .collect();
        let mut samples = vec![Samples::default(); self.lanes.len()];
        let start = Instant::now();
        for round in 0..pace.rounds {
            if round >= ENOUGH && start.elapsed() > pace.limit() * self.lanes.len() as u32 {
                break;
            }
            for turn in 0..plan.len() {
                let at = if round % 2 == 0 {
                    turn
                } else {
                    plan.len() - 1 - turn
                };
                let took = self.lanes[at].run(plan[at]);
                let units = plan[at] as f64 * self.units.0 as f64;
                samples[at].0.push(took.as_secs_f64() * 1e9 / units);
            }
        }
        samples
    }
}

/// Rounds after which a race may end because its iterations are much longer than a round.
const ENOUGH: usize = 15;

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
}

impl Pace {
    /// What a lane may take, all rounds together, where one iteration already fills many rounds.
    fn limit(self) -> Duration {
        self.round * self.rounds as u32 * 4
    }

    pub(crate) const FULL: Self = Self {
        rounds: 101,
        round: Duration::from_millis(5),
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 9,
        round: Duration::from_millis(2),
    };
    /// Each lane a few times: does it run at all?
    pub(crate) const SMOKE: Self = Self {
        rounds: 1,
        round: Duration::from_nanos(1),
    };
}

/// A lane's nanoseconds per unit, one figure a round.
#[derive(Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn one(figure: f64) -> Self {
        Self(vec![figure])
    }

    /// Each round's own ratio: the two were measured within milliseconds of each other.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(ours, theirs)| ours / theirs)
                .collect(),
        )
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The lower and the upper quartile.
    pub(crate) fn quartiles(&self) -> (f64, f64) {
        (self.quantile(0.25), self.quantile(0.75))
    }

    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * part).round() as usize]
    }
}
