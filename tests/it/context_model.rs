//! Random programs over trees of contexts, held against a model that has one thread, one clock and no tricks.
//!
//! The model ends a context at the very moment its deadline passes; the real one when a timer fires or when it is
//! read. The difference must not be observable.

use crate::support::{Count, counting, manual, poll};
use failfast::clock::ManualClock;
use failfast::context::{ContextErrorKind, Done, OnDone};
use failfast::{Canceller, Context};
use fastrand::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

const PROGRAMS: u64 = 3_000;
const STEPS: usize = 60;

type End = (ContextErrorKind, String);

/// What can end: a layer of a context that has a lifetime of its own.
struct Life {
    above: Vec<usize>,
    deadline: Option<Duration>,
    /// The earliest of its own and all above.
    effective: Option<Duration>,
    ended: Option<End>,
    canceller: Option<Canceller>,
}

struct Node {
    ctx: Option<Context>,
    life: Option<usize>,
    value: Option<u64>,
}

struct Waiter {
    done: Done,
    life: Option<usize>,
    woken: Count,
    waker: Waker,
}

struct Callback {
    handle: Option<OnDone>,
    life: Option<usize>,
    called: Count,
    stopped: bool,
}

struct World {
    random: Rng,
    clock: ManualClock,
    start: Instant,
    now: Duration,
    lives: Vec<Life>,
    nodes: Vec<Node>,
    waiters: Vec<Waiter>,
    callbacks: Vec<Callback>,
    told: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let (clock, root) = manual();
        let root = Node {
            ctx: Some(root),
            life: None,
            value: None,
        };
        Self {
            random: Rng::with_seed(seed),
            start: clock.now(),
            clock,
            now: Duration::ZERO,
            lives: Vec::new(),
            nodes: vec![root],
            waiters: Vec::new(),
            callbacks: Vec::new(),
            told: 0,
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
            self.check_heard();
            if self.random.u8(..4) == 0 {
                self.check_some();
            }
        }
        self.finish();
    }

    fn step(&mut self) {
        match self.random.u8(..20) {
            0..=2 => self.with_cancel(),
            3..=5 => self.with_timeout(),
            6 => self.linked(),
            7 => self.without_cancel(),
            8 => self.with_value(),
            9..=10 => self.cancel(),
            11..=12 => self.advance(),
            13 => self.drop_context(),
            14..=15 => self.wait(),
            16 => self.wait_again_or_drop(),
            17..=18 => self.on_done(),
            _ => self.stop_or_leave(),
        }
    }

    fn any_node(&mut self) -> usize {
        // One is always there: the root is never dropped.
        loop {
            let node = self.random.usize(..self.nodes.len());
            if self.nodes[node].ctx.is_some() {
                return node;
            }
        }
    }

    fn ctx(&self, node: usize) -> Context {
        self.nodes[node].ctx.clone().expect("a node that is there")
    }

    fn fresh(&mut self, what: &str) -> String {
        self.told += 1;
        format!("{what} {}", self.told)
    }

    /// The model's birth of a life.
    fn life(&mut self, above: Vec<usize>, deadline: Option<Duration>, cause: String) -> usize {
        let ended = above
            .iter()
            .find_map(|&life| self.lives[life].ended.clone());
        let late = deadline.is_some_and(|at| at <= self.now);
        let ended = ended.or(late.then_some((ContextErrorKind::DeadlineExceeded, cause)));
        let inherited = above.iter().filter_map(|&life| self.lives[life].effective);
        self.lives.push(Life {
            effective: inherited.chain(deadline).min(),
            above,
            deadline,
            ended,
            canceller: None,
        });
        self.lives.len() - 1
    }

    fn add(&mut self, ctx: Context, life: Option<usize>, value: Option<u64>) {
        let ctx = Some(ctx);
        self.nodes.push(Node { ctx, life, value });
    }

    fn with_cancel(&mut self) {
        let parent = self.any_node();
        let (ctx, canceller) = self.ctx(parent).with_cancel();
        let life = self.life(
            self.nodes[parent].life.into_iter().collect(),
            None,
            String::new(),
        );
        if self.random.u8(..4) == 0 {
            canceller.disarm();
        } else {
            self.lives[life].canceller = Some(canceller);
        }
        self.add(ctx, Some(life), self.nodes[parent].value);
    }

    fn with_timeout(&mut self) {
        let parent = self.any_node();
        // Nanoseconds of chance, so that no two deadlines are the same.
        let timeout = match self.random.u8(..8) {
            0 => Duration::ZERO,
            _ => Duration::from_nanos(self.random.u64(1..10_000_000_000)),
        };
        let at = self.now + timeout;
        // The cause holds the deadline, so that the model needs to keep no more.
        let cause = format!("deadline {at:?}");
        let ctx = self.ctx(parent).with_timeout_cause(timeout, cause.clone());
        let above = self.nodes[parent].life.into_iter().collect();
        let life = self.life(above, Some(at), cause);
        self.add(ctx, Some(life), self.nodes[parent].value);
    }

    fn linked(&mut self) {
        let count = self.random.usize(1..4);
        let sources: Vec<usize> = (0..count).map(|_| self.any_node()).collect();
        let contexts: Vec<Context> = sources.iter().map(|&source| self.ctx(source)).collect();
        // Of several that have ended the first in the list counts, once it is known that they have.
        for ctx in &contexts {
            let _ = ctx.is_done();
        }
        let ctx = Context::linked(contexts);
        let above: Vec<_> = sources
            .iter()
            .filter_map(|&source| self.nodes[source].life)
            .collect();
        let value = sources.iter().find_map(|&source| self.nodes[source].value);
        let life = (!above.is_empty()).then(|| self.life(above, None, String::new()));
        self.add(ctx, life, value);
    }

    fn without_cancel(&mut self) {
        let of = self.any_node();
        self.add(self.ctx(of).without_cancel(), None, self.nodes[of].value);
    }

    fn with_value(&mut self) {
        let of = self.any_node();
        let value = self.random.u64(..);
        self.add(
            self.ctx(of).with_value(value),
            self.nodes[of].life,
            Some(value),
        );
    }

    fn cancel(&mut self) {
        let Some(life) = self.any_cancelable() else {
            return;
        };
        let cause = self.fresh("cancel");
        let canceller = self.lives[life]
            .canceller
            .take()
            .expect("an armed canceller");
        match self.random.u8(..3) {
            0 => {
                drop(canceller);
                self.end(
                    life,
                    (
                        ContextErrorKind::Canceled,
                        "its canceller was dropped".to_owned(),
                    ),
                );
            }
            kept => {
                canceller.cancel_with(cause.clone());
                self.end(life, (ContextErrorKind::Canceled, cause));
                if kept == 1 {
                    self.lives[life].canceller = Some(canceller); // and once more, later, to no effect
                }
            }
        }
    }

    fn any_cancelable(&mut self) -> Option<usize> {
        let lives = 0..self.lives.len();
        let armed: Vec<_> = lives
            .filter(|&life| self.lives[life].canceller.is_some())
            .collect();
        self.random.choice(armed)
    }

    /// The model's end: the first counts, and reaches every node below. Those below come later in the list.
    fn end(&mut self, life: usize, end: End) {
        if self.lives[life].ended.is_some() {
            return;
        }
        self.lives[life].ended = Some(end.clone());
        for below in life + 1..self.lives.len() {
            let reached = self.lives[below]
                .above
                .iter()
                .any(|&above| self.lives[above].ended.is_some());
            if reached && self.lives[below].ended.is_none() {
                self.lives[below].ended = Some(end.clone());
            }
        }
    }

    fn advance(&mut self) {
        let step = Duration::from_nanos(self.random.u64(..4_000_000_000));
        self.clock.advance(step);
        self.now += step;
        let mut passed: Vec<(Duration, usize)> = Vec::new();
        for (life, state) in self.lives.iter().enumerate() {
            passed.extend(
                state
                    .deadline
                    .filter(|at| *at <= self.now)
                    .map(|at| (at, life)),
            );
        }
        passed.sort();
        for (at, life) in passed {
            self.end(
                life,
                (
                    ContextErrorKind::DeadlineExceeded,
                    format!("deadline {at:?}"),
                ),
            );
        }
    }

    fn drop_context(&mut self) {
        let node = self.any_node();
        if node > 0 {
            self.nodes[node].ctx = None;
        }
    }

    fn wait(&mut self) {
        let node = self.any_node();
        let (mut done, life) = (self.ctx(node).done(), self.nodes[node].life);
        let (woken, waker) = counting();
        let polled = poll(&mut done, &waker);
        assert_eq!(polled.is_ready(), self.ended(life).is_some());
        if polled.is_pending() {
            self.waiters.push(Waiter {
                done,
                life,
                woken,
                waker,
            });
        }
    }

    fn wait_again_or_drop(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let which = self.random.usize(..self.waiters.len());
        let ended = self.ended(self.waiters[which].life).is_some();
        if self.random.bool() {
            drop(self.waiters.swap_remove(which));
            return;
        }
        let other = self.random.bool();
        let waiter = &mut self.waiters[which];
        let (woken, waker) = match other && !ended {
            true => counting(),
            false => (waiter.woken.clone(), waiter.waker.clone()),
        };
        let expected = if ended {
            Poll::Ready(())
        } else {
            Poll::Pending
        };
        assert_eq!(poll(&mut waiter.done, &waker), expected);
        (waiter.woken, waiter.waker) = (woken, waker);
    }

    fn on_done(&mut self) {
        let node = self.any_node();
        let called = Count::default();
        let handle = self.ctx(node).on_done(called.adder());
        self.callbacks.push(Callback {
            handle: Some(handle),
            life: self.nodes[node].life,
            called,
            stopped: false,
        });
    }

    fn stop_or_leave(&mut self) {
        if self.callbacks.is_empty() {
            return;
        }
        let which = self.random.usize(..self.callbacks.len());
        let ended = self.ended(self.callbacks[which].life).is_some();
        let leave = self.random.bool();
        let callback = &mut self.callbacks[which];
        if leave {
            callback.handle = None;
        } else if let Some(handle) = &callback.handle {
            assert_eq!(handle.stop(), !ended && !callback.stopped);
            callback.stopped |= !ended;
        }
    }

    fn ended(&self, life: Option<usize>) -> Option<&End> {
        self.lives[life?].ended.as_ref()
    }

    /// Independent of reads: wakes and calls are exact after every step.
    fn check_heard(&self) {
        let mut wait = false;
        for waiter in &self.waiters {
            let ended = self.ended(waiter.life).is_some();
            assert_eq!(waiter.woken.get(), usize::from(ended), "wakes");
            wait |= !ended;
        }
        for callback in &self.callbacks {
            let ended = self.ended(callback.life).is_some();
            assert_eq!(
                callback.called.get(),
                usize::from(ended && !callback.stopped),
                "calls"
            );
            wait |= !ended && !callback.stopped;
        }
        assert!(wait || self.clock.armed() == 0, "a timer without a waiter");
    }

    fn check_some(&mut self) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        self.random.shuffle(&mut order);
        order.truncate(self.nodes.len() / 2);
        order.into_iter().for_each(|node| self.check(node));
    }

    fn check(&mut self, node: usize) {
        let Node { ctx, life, value } = &self.nodes[node];
        let Some(ctx) = ctx else { return };
        let end = self.ended(*life).cloned();
        match self.random.u8(..3) {
            0 => assert_eq!(ctx.is_done(), end.is_some(), "done of {ctx:?}"),
            1 => assert_eq!(kind(ctx), end.as_ref().map(|end| end.0), "error of {ctx:?}"),
            _ => {}
        }
        let cause = ctx.cause().map(|cause| cause.to_string());
        assert_eq!(
            cause,
            end.as_ref().map(|end| end.1.clone()),
            "cause of {ctx:?}"
        );
        assert_eq!(
            (ctx.is_done(), kind(ctx)),
            (end.is_some(), end.as_ref().map(|end| end.0))
        );
        let deadline = life.and_then(|life| self.lives[life].effective);
        assert_eq!(
            ctx.deadline(),
            deadline.map(|at| self.start + at),
            "deadline of {ctx:?}"
        );
        assert_eq!(
            ctx.remaining(),
            deadline.map(|at| match end {
                Some(_) => Duration::ZERO,
                None => at - self.now,
            })
        );
        assert_eq!(ctx.value(), value.as_ref(), "value of {ctx:?}");
    }

    /// Every node ends that can; nothing stays armed.
    fn finish(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.check(node));
        while self.any_cancelable().is_some() {
            self.cancel();
            self.check_heard();
        }
        while self.clock.advance_to_next() {}
        self.now = self.clock.now() - self.start;
        self.advance();
        self.check_heard();
        (0..self.nodes.len()).for_each(|node| self.check(node));
        self.waiters.clear();
        self.nodes.clear();
        self.lives.clear();
        self.callbacks.clear();
        assert_eq!(self.clock.armed(), 0);
    }
}

fn kind(ctx: &Context) -> Option<ContextErrorKind> {
    ctx.err().map(|error| error.kind())
}

/// Runs program `seed`; prints the seed if it fails.
fn program(seed: u64) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
        eprintln!("program {seed} fails: repeat it with `program({seed})`");
        resume_unwind(panic);
    }
}

#[test]
fn random_programs_do_what_the_model_does() {
    (0..PROGRAMS).for_each(program);
}
