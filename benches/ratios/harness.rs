//! Lanes, races, and how they are timed.
//!
//! Why not criterion or divan: what we measure is a ratio, and on a busy machine a ratio of two figures taken seconds
//! apart is mostly noise. Both measure one benchmark to its end before they start the next. Here the lanes of a race
//! take turns, a millisecond each, so whatever slows the machine slows all of them.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// Runs so many iterations and returns how long they took: only what is to be measured, not what prepares it.
type Run = Box<dyn FnMut(u64) -> Duration>;

/// What a figure must be at most, and what it had better be.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) must: f64,
    pub(crate) aim: f64,
}

pub(crate) const fn goal(must: f64, aim: f64) -> Goal {
    Goal { must, aim }
}

/// One contestant in a race.
pub(crate) struct Lane {
    pub(crate) name: String,
    /// What the first lane's figure over this one's is to reach.
    pub(crate) goal: Option<Goal>,
    run: Run,
}

impl Lane {
    pub(crate) fn new(name: &str, run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self {
            name: name.to_owned(),
            goal: None,
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

    /// Sets the figures to reach, if there are any for this case.
    pub(crate) fn must(mut self, goal: impl Into<Option<Goal>>) -> Self {
        self.goal = goal.into();
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

    pub(crate) fn has_goal(&self) -> bool {
        self.lanes.iter().any(|lane| lane.goal.is_some())
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

    /// Rounds shorter than a time slice: on a busy machine most of them are not interrupted, and the median is
    /// one of those.
    pub(crate) const FULL: Self = Self {
        rounds: 501,
        round: Duration::from_millis(1),
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 31,
        round: Duration::from_micros(500),
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

/// What `work` gives on so many threads at once, each on a core of its own while there are enough.
pub(crate) fn on_threads<R: Send>(threads: usize, work: impl Fn() -> R + Sync) -> Vec<R> {
    let work = &work;
    let on_core = |core| {
        move || {
            pin(core);
            work()
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|core| scope.spawn(on_core(core)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the work does not panic"))
            .collect()
    })
}

/// Keeps the thread on that core. Else the kernel starts threads on one core, and moves them apart only after
/// milliseconds, when the round is over.
#[cfg(target_os = "linux")]
fn pin(core: usize) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // SAFETY: a set of zeros is an empty one, and the core is within it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core % cores, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}

#[cfg(not(target_os = "linux"))]
fn pin(_core: usize) {}

/// From the first that began to the last that ended.
pub(crate) fn span(times: &[(Instant, Instant)]) -> Duration {
    let first = times
        .iter()
        .map(|(start, _)| start)
        .min()
        .expect("a thread at least");
    let last = times
        .iter()
        .map(|(_, end)| end)
        .max()
        .expect("a thread at least");
    *last - *first
}
