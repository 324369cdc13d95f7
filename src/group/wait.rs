//! Waiting for a group: for all of its tasks, for the next outcome, or beside a body.

use super::TaskGroup;
use super::complete::{By, Outcome, is_echo};
use super::engine::{Engine, ended_by_context, with_others};
use super::finished::{Ended, Finished, Taken, Wanted};
use super::shutdown::Phase;
use super::state::{Left, State};
use crate::context::shield::{Frame, Lie, Tag};
use crate::context::{Node, NodeRef};
use crate::error::{BoxError, End, Error, Name};
use crate::unwind;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{self, Poll};

/// An outcome that `next` returns.
pub(super) struct Next<T> {
    /// The task's, or `u64::MAX` if it is the group's own.
    pub(super) number: u64,
    /// The name that the task was given.
    pub(super) name: Option<Name>,
    pub(super) result: Result<T, Error>,
}

impl<T> Next<T> {
    /// The outcome of the group as a whole.
    fn of_group(error: Error) -> Self {
        Self {
            number: u64::MAX,
            name: Some("group".into()),
            result: Err(error),
        }
    }
}

/// A look at what has finished.
struct Look<T> {
    /// The first outcome: its task's number and given name, and how it ended.
    first: Option<(u64, Option<Name>, Ended<T>)>,
    /// There is no other task to wait for.
    idle: bool,
    stragglers: bool,
}

/// How far the wait for all tasks has come.
enum Progress {
    /// All have ended and been dropped.
    Over,
    /// The rest is of no use any more: background tasks, or too few for the quorum.
    Useless,
    Stragglers,
    /// Tasks may leave the queue.
    Queue,
    Pending,
}

impl State {
    /// Closes the group if no task is left that can change its result, under the same lock as the look, because a task
    /// that a handle spawns must either be waited for or be refused. A body keeps it open.
    fn progress(&mut self, ended: bool, open: bool) -> Progress {
        if self.is_empty() && !open {
            self.closed = true;
            self.by_us |= !ended; // it ends with its tasks
            return Progress::Over;
        }
        if self.shutdown.stragglers_due {
            return Progress::Stragglers;
        }
        if !self.limit.queue.is_empty() && (ended || self.limit.has_room()) {
            return Progress::Queue;
        }
        let useless = self.is_idle() || self.is_out_of_reach();
        if useless && !open && !ended {
            self.closed = true;
            return Progress::Useless;
        }
        Progress::Pending
    }
}

impl Engine {
    /// Makes the waker the one that is woken when the group is idle, or for each outcome.
    pub(super) fn watch_owner(&self, cx: &task::Context<'_>, each: bool) {
        let is_known = {
            let mut state = self.lock();
            state.owner.each = each;
            state.owner.is(cx)
        };
        if !is_known {
            let waker = cx.waker().clone(); // foreign code: under no lock
            let replaced = self.lock().owner.waker.replace(waker);
            unwind::discard(replaced);
        }
    }

    /// `body`: there is one, and it is still there.
    fn stragglers(&self, node: &Node<Engine>, body: bool) -> Error {
        let state = self.lock();
        let mut names = state.living(true);
        names.sort_by_key(|(number, _)| *number);
        names.extend(body.then(|| (u64::MAX, Name::from("body"))));
        let names = names.into_iter().map(|(_, name)| name).collect();
        let limit = state.shutdown.straggler_limit.unwrap_or_default();
        let end = node.end().unwrap_or_else(|| End::canceled(node.origin()));
        with_others(Error::stragglers(limit, names, end.error()), &state)
    }
}

impl<T, M> TaskGroup<T, M> {
    /// Keeps only the values from now on, because the group is to be waited for by `wait`.
    pub(crate) fn want_values(&self) {
        self.want(Wanted::Values);
    }

    /// Keeps only the values from now on, or nothing at all.
    #[allow(unsafe_code, reason = "see `finished`")]
    pub(super) fn want(&self, wanted: Wanted) {
        let unwanted = {
            let mut state = self.engine().lock();
            // SAFETY: the group's own type.
            unsafe { state.finished.want::<T>(wanted) }
        };
        unwanted.discard();
    }

    /// Concludes a group that is over: finds its verdict, takes the results, and ends its context. One lock for all,
    /// because verdict and results have to be of the same moment.
    #[allow(unsafe_code, reason = "see `finished`")]
    pub(super) fn conclude<R>(
        &mut self,
        take: impl FnOnce(&mut Finished) -> R,
    ) -> Result<R, Error> {
        let node = self.node();
        let mut state = self.engine().lock();
        let verdict = state.verdict(node);
        let taken = match verdict {
            None => Ok(take(&mut state.finished)),
            Some(error) => Err(error),
        };
        // SAFETY: the group's own type.
        let unwanted = unsafe { state.finished.close::<T>() };
        let left = state.leave();
        drop(state);
        self.over = true;
        self.engine().close_ready();
        Node::finish(self.scope.node_ref());
        left.into_iter().for_each(Left::settle);
        unwanted.into_iter().for_each(Taken::discard);
        if let Some(observed) = &self.engine().observed {
            observed.closed(self.node());
        }
        taken
    }

    #[allow(unsafe_code, reason = "see `finished`")]
    pub(super) fn conclude_values(&mut self) -> Result<Vec<T>, Error> {
        // SAFETY: the group's own type.
        self.conclude(|finished| unsafe { finished.take_values::<T>() })
    }

    #[allow(unsafe_code, reason = "see `finished`")]
    pub(super) fn conclude_named(&mut self) -> Result<Vec<(Name, T)>, Error> {
        // SAFETY: the group's own type.
        let mut taken = self.conclude(|finished| unsafe { finished.take_all::<T>() })?;
        let entries = std::mem::take(&mut taken.entries).into_iter();
        Ok(entries
            .filter_map(|(number, ended)| Some((taken.name(number), ended.ok()?)))
            .collect())
    }

    fn outcomes_of(mut taken: Taken<T>, ended: &Error) -> Vec<(Name, Result<T, Error>)> {
        let entries = std::mem::take(&mut taken.entries).into_iter();
        let outcome = |error: Option<Error>| error.unwrap_or_else(|| ended.clone());
        entries
            .map(|(number, result)| (taken.name(number), result.map_err(outcome)))
            .collect()
    }

    #[allow(unsafe_code, reason = "see `finished`")]
    fn take_all(&self) -> Option<Taken<T>> {
        let mut state = self.engine().lock();
        // SAFETY: the group's own type.
        unsafe { state.finished.close::<T>() }
    }

    pub(super) fn take_outcomes(&self) -> Vec<(Name, Result<T, Error>)> {
        let ended = self.engine().end_error(self.node());
        let taken = self.take_all();
        taken.map_or_else(Vec::new, |taken| Self::outcomes_of(taken, &ended))
    }

    /// [`outcomes`](Self::outcomes), unless the end of the context cut a task short: that is an error for the whole.
    pub(crate) async fn settled_outcomes(mut self) -> Result<Vec<(Name, Result<T, Error>)>, Error> {
        self.join(Wanted::All).await?;
        let ended = {
            let state = self.engine().lock();
            let ended = ended_by_context(self.node(), &state).filter(|_| state.cut_short);
            ended.map(|error| with_others(error, &state))
        };
        match ended {
            Some(error) => Err(error),
            None => Ok(self.take_outcomes()),
        }
    }

    /// Waits until all tasks have been dropped.
    pub(super) async fn join(&mut self, mut wanted: Wanted) -> Result<(), Error> {
        poll_fn(|cx| {
            // Once.
            let wanted = std::mem::replace(&mut wanted, Wanted::All);
            self.poll_join(cx, false, wanted)
        })
        .await
    }

    /// Looks how far the wait has come, and registers the waker if it has to go on. One lock, or two where the waker is
    /// new.
    #[allow(unsafe_code, reason = "see `finished`")]
    fn progress(&self, cx: &task::Context<'_>, open: bool, mut wanted: Wanted) -> Progress {
        let mut waker = None;
        loop {
            let mut state = self.engine().lock();
            if wanted != Wanted::All {
                // SAFETY: the group's own type.
                let unwanted = unsafe { state.finished.want::<T>(wanted) };
                wanted = Wanted::All;
                if !unwanted.is_empty() {
                    drop(state);
                    unwanted.discard();
                    continue;
                }
            }
            let progress = state.progress(self.node().is_marked(), open);
            if !matches!(progress, Progress::Pending) {
                drop(state);
                unwind::discard(waker);
                return progress;
            }
            state.owner.each = false; // where a quorum is needed, each end of a task wakes it all the same
            if state.owner.is(cx) {
                drop(state);
                unwind::discard(waker);
                return progress;
            }
            if let Some(waker) = waker.take() {
                let replaced = state.owner.waker.replace(waker);
                drop(state);
                unwind::discard(replaced);
                return progress;
            }
            drop(state);
            waker = Some(cx.waker().clone()); // under no lock, because it is foreign code
        }
    }

    /// `open`: there is a body, which may spawn.
    /// `wanted`: which outcomes are kept from now on, if not all.
    fn poll_join(
        &self,
        cx: &mut task::Context<'_>,
        open: bool,
        wanted: Wanted,
    ) -> Poll<Result<(), Error>> {
        let (engine, node) = (self.engine(), self.node());
        self.poll_timers(cx);
        if engine.is_in_place() {
            engine.watch_owner(cx, false); // before the drive, so that no wake during it is lost
            engine.drive(cx);
        }
        loop {
            match self.progress(cx, open, wanted) {
                Progress::Over => return Poll::Ready(Ok(())),
                Progress::Stragglers => return Poll::Ready(Err(engine.stragglers(node, open))),
                Progress::Pending => return Poll::Pending,
                Progress::Queue => engine.serve_queue(node, self.launch(), By::Group),
                Progress::Useless => {
                    let end = End::finished(node.origin());
                    self.scope
                        .with_node(|node| Engine::end_by_us(node, end))
                        .wake();
                    engine.drive(cx);
                }
            }
        }
    }

    /// Ends a group whose owner no longer waits for it.
    pub(super) fn abandon(&mut self) {
        if self.over {
            return;
        }
        let (engine, node) = (self.engine(), self.node());
        let (left, empty) = {
            // Closed in the step in which the members are counted, because a handle may spawn at any time.
            let mut state = engine.lock();
            state.closed = true;
            state.by_us |= state.is_empty() && !node.is_marked();
            state.abandoned = !state.is_empty();
            (state.leave(), state.is_empty())
        };
        if empty {
            Node::finish(self.scope.node_ref());
        } else {
            engine.ladder.end_grace(); // because no wait is left that the grace could serve
            let text = format!("the group made at {} was dropped", node.origin());
            let end = End::canceled_by(text.into(), node.origin());
            self.scope
                .with_node(|node| Engine::end_by_us(node, end))
                .wake();
            engine.wake_members(); // also if it had ended before, in its grace
            self.scope.clear();
        }
        engine.close_ready();
        left.into_iter().for_each(Left::settle);
        engine.stop_alarms();
        self.take_all().into_iter().for_each(Taken::discard);
        if let Some(observed) = self.engine().observed.as_ref().filter(|_| empty) {
            observed.closed(self.node());
        }
    }

    /// The next outcome: its task's number, its given name, and how it ended.
    pub(super) fn poll_outcome(&mut self, cx: &mut task::Context<'_>) -> Poll<Option<Next<T>>> {
        // An executor that drops a task starts no other in its place.
        self.engine()
            .serve_queue(self.node(), self.launch(), By::Group);
        // What has finished comes first: tasks that share a cooperative budget are not polled again for each outcome.
        let mut driven = false;
        loop {
            let look = self.look();
            match look.first {
                Some((number, name, ended)) => {
                    if let Some(result) = self.judge(number, ended) {
                        return Poll::Ready(Some(Next {
                            number,
                            name,
                            result,
                        }));
                    }
                }
                None if look.idle => return Poll::Ready(self.last_word().map(Next::of_group)),
                None if look.stragglers && !self.told => {
                    self.told = true;
                    let error = self.engine().stragglers(self.node(), false);
                    return Poll::Ready(Some(Next::of_group(error)));
                }
                None if look.stragglers => return Poll::Ready(None),
                None if driven => return Poll::Pending,
                None => {
                    driven = true;
                    self.drive_outcomes(cx);
                }
            }
        }
    }

    fn drive_outcomes(&self, cx: &mut task::Context<'_>) {
        let engine = self.engine();
        self.poll_timers(cx);
        engine.watch_owner(cx, true);
        engine.drive(cx);
    }

    /// Looks at the deadlines, and whether their clock can wake the tasks, and in place the owner.
    fn poll_timers(&self, cx: &mut task::Context<'_>) {
        let (engine, node) = (self.engine(), self.node());
        node.poll_due(Some(cx));
        engine.serve_reach();
        if engine.is_in_place() {
            node.refuses(cx.waker());
        }
    }

    /// Takes the outcome that came first, and looks at what is left.
    #[allow(unsafe_code, reason = "see `finished`")]
    fn look(&self) -> Look<T> {
        let mut state = self.engine().lock();
        Look {
            // SAFETY: the group's own type.
            first: unsafe { state.finished.pop::<T>() },
            idle: state.is_idle(),
            stragglers: state.shutdown.stragglers_due,
        }
    }

    /// What `next` returns of an outcome: nothing, if it is an echo or a later failure.
    fn judge(&mut self, number: u64, ended: Ended<T>) -> Option<Result<T, Error>> {
        let error = match ended {
            Ok(value) => return Some(Ok(value)),
            Err(error) => error?,
        };
        let mut state = self.engine().lock();
        if state.shutdown.is_tolerant() {
            let forgotten = state.failures.forget(number);
            drop(state);
            drop(forgotten);
            return Some(Err(error));
        }
        let first = state.failures.is_first(number);
        drop(state);
        self.told |= first;
        first.then_some(Err(error))
    }

    /// Nothing is left: what ended the group, if that has not been returned yet.
    fn last_word(&mut self) -> Option<Error> {
        let mut state = self.engine().lock();
        let one_of_many = state
            .shutdown
            .is_tolerant()
            .then(|| state.failures.take_next())
            .flatten();
        let untold = one_of_many.is_none() && !self.told && state.flawed;
        let of_group = || {
            let failed = state.failures.first().cloned();
            let error = failed.or_else(|| ended_by_context(self.node(), &state))?;
            Some(with_others(error, &state))
        };
        let of_group = untold.then(of_group).flatten();
        drop(state);
        self.told |= of_group.is_some();
        one_of_many.or(of_group) // the former of a background task, or of a fork
    }
}

/// While a body runs, the timers of its deadlines are armed, as for a task.
struct Watch(NodeRef);

impl Watch {
    fn new(node: &NodeRef) -> Self {
        node.watch();
        Self(node.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.unwatch();
    }
}

/// A body beside the group: see [`TaskGroup::run`].
impl<T, M> TaskGroup<T, M> {
    pub(super) async fn run_body<R>(
        &mut self,
        body: impl Future<Output = Result<R, BoxError>>,
    ) -> Result<R, Error> {
        let mut body = pin!(Some(body));
        let frame = Frame::new();
        let (mut value, mut started) = (None, false);
        let _watch = Watch::new(self.scope.node_ref());
        let joined = poll_fn(|cx| {
            if body.is_some() {
                // Nothing starts late, the body neither.
                let late = !started && self.scope.node_ref().is_done();
                self.engine().watch_owner(cx, false);
                let ended = match late {
                    true => Poll::Ready(self.drop_body(body.as_mut(), Outcome::Canceled)),
                    false => self.poll_body(&frame, body.as_mut(), cx),
                };
                started = true;
                if let Poll::Ready(outcome) = ended {
                    value = outcome;
                }
            }
            self.poll_join(cx, body.is_some(), Wanted::All)
        });
        if let Err(stragglers) = joined.await {
            if body.is_some() {
                self.drop_body(body.as_mut(), Outcome::<R>::Canceled);
            }
            unwind::discard(value);
            return Err(stragglers);
        }
        match (self.conclude(|_| ()), value) {
            (Ok(()), Some(value)) => Ok(value),
            (Err(error), value) => {
                unwind::discard(value);
                Err(error)
            }
            (Ok(()), None) => Err(self.body_ended()),
        }
    }

    /// Polls the body as a task is polled; when it is through, its future is dropped.
    fn poll_body<R, B: Future<Output = Result<R, BoxError>>>(
        &self,
        frame: &Frame,
        mut body: Pin<&mut Option<B>>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<R>> {
        let (engine, node) = (self.engine(), self.node());
        let phase = engine.phase(node);
        let tag = Tag {
            group: self.scope.shared().address(),
            task: std::ptr::null(),
        };
        let polled = unwind::contain(|| {
            let Some(body) = body.as_mut().as_pin_mut() else {
                unreachable!("a body is polled until it is through")
            };
            frame.enter(tag, Lie::Below, || body.poll(cx))
        });
        if phase == Phase::Drop {
            frame.close();
        }
        let outcome = match polled {
            Ok(Poll::Pending) if phase == Phase::Drop && !frame.is_held(cx.waker()) => {
                Outcome::Canceled
            }
            // The owner's waker was stored before the phase was read, so a later end has woken it.
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(value))) => Outcome::Succeeded(value),
            Ok(Poll::Ready(Err(error))) => Outcome::Failed(error),
            Err(payload) => Outcome::Panicked(payload),
        };
        Poll::Ready(self.drop_body(body, outcome))
    }

    fn drop_body<R, B>(&self, mut body: Pin<&mut Option<B>>, outcome: Outcome<R>) -> Option<R> {
        match unwind::contain(|| body.set(None)) {
            Ok(()) => self.complete_body(outcome),
            Err(payload) => self.complete_body(outcome.and_panicked(payload)),
        }
    }

    /// The order of `complete`, for the body: record, cancel, wake. It has no slot.
    fn complete_body<R>(&self, outcome: Outcome<R>) -> Option<R> {
        let node = self.node();
        let error = match outcome {
            Outcome::Succeeded(value) => return Some(value),
            Outcome::Canceled | Outcome::Lost | Outcome::Dismissed => {
                return self.note_body_pending();
            }
            Outcome::Failed(error) if is_echo(node, &error) => {
                unwind::discard(error);
                return self.note_body_pending();
            }
            Outcome::Failed(error) => Error::task_failed("body", error),
            Outcome::Panicked(payload) => Error::panicked("body", payload),
        };
        let first = self
            .engine()
            .lock()
            .record_failure(u64::MAX, &error, !node.is_marked(), false);
        if first {
            self.scope
                .with_node(|node| Engine::fail(node, &error))
                .wake();
        }
        None
    }

    /// The body had not finished when the group ended.
    fn note_body_pending<R>(&self) -> Option<R> {
        let mut state = self.engine().lock();
        state.flawed = true;
        if self.node().end().is_none_or(|end| !state.is_ours(&end)) {
            state.pending.push((u64::MAX, Some(Name::from("body"))));
        }
        None
    }

    /// The group ended without an error, and the body was not through.
    fn body_ended(&self) -> Error {
        let end = self
            .node()
            .end()
            .unwrap_or_else(|| End::canceled(self.node().origin()));
        Error::ended(end.error(), vec![Name::from("body")])
    }
}

impl State {
    /// Records a failure. `kept`: it is one of the outcomes, which `next` takes. Returns whether it is what ends the
    /// group.
    pub(super) fn record_failure(
        &mut self,
        number: u64,
        error: &Error,
        may_be_first: bool,
        kept: bool,
    ) -> bool {
        self.flawed = true;
        let tolerant = self.shutdown.is_tolerant();
        let bounded = !(tolerant && kept && self.finished.wanted == Wanted::All);
        let first = self.failures.record(number, error, may_be_first, bounded);
        first && !tolerant
    }
}
