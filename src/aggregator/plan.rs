//! What an aggregator was configured to do, and the doing of it.

use super::answers::{Answers, MOST};
use super::ask::{Ask, Given};
use super::flavored::{Finish, Flavored};
use super::options::Options;
use super::report::Report;
use crate::context::Context;
use crate::error::{Error, Name};
use crate::group::{Ending, Launcher, TaskGroup};
use crate::unwind;
use std::any::Any;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;

pub(super) struct Plan<R, T, M> {
    /// `None`: in place.
    launch: Option<Launcher<M>>,
    /// At most [`MOST`]: each but one of `sources` adds to the tuple that is the answer.
    asks: Vec<Flavored<dyn Ask<R, M>, M>>,
    finish: Flavored<Finish<T>, M>,
    settled: bool,
    /// `map` or `join`, whichever was called last.
    mapped: Option<&'static str>,
    pub(super) options: Options,
    /// Where the aggregator was made.
    pub(super) origin: &'static Location<'static>,
}

/// Where a task will leave its answer.
type Places<M> = [Option<Flavored<dyn Any, M>>; MOST];

const ORDER: &str =
    "the order is `source` or `sources`, then at most one `settled`, then `map` or `join`";

impl<R, M> Plan<R, (), M> {
    pub(super) fn new(launch: Option<Launcher<M>>, origin: &'static Location<'static>) -> Self {
        Self {
            launch,
            asks: Vec::new(),
            finish: Flavored::<Finish<()>, M>::sendable(Arc::new(|_: &Answers<'_>| ())),
            settled: false,
            mapped: None,
            options: Options::default(),
            origin,
        }
    }
}

/// Building: nothing here is hot.
impl<R, T, M> Plan<R, T, M> {
    /// The same with another answer.
    pub(super) fn finishing<U>(
        self,
        finish: impl FnOnce(Flavored<Finish<T>, M>) -> Flavored<Finish<U>, M>,
    ) -> Plan<R, U, M> {
        Plan {
            launch: self.launch,
            asks: self.asks,
            finish: finish(self.finish),
            settled: self.settled,
            mapped: self.mapped,
            options: self.options,
            origin: self.origin,
        }
    }

    /// `call` adds sources.
    #[track_caller]
    pub(super) fn asking(mut self, call: &str, ask: Flavored<dyn Ask<R, M>, M>) -> Self {
        self.options.renew();
        let settled = self.settled.then_some("settled");
        if let Some(later) = self.mapped.or(settled) {
            panic!("`{call}` belongs before `{later}`: {ORDER}");
        }
        self.asks.push(ask);
        self
    }

    #[track_caller]
    pub(super) fn settling(mut self) -> Self {
        if let Some(later) = self.mapped {
            panic!("`settled` belongs before `{later}`: {ORDER}");
        }
        assert!(!self.settled, "`settled` was called before: {ORDER}");
        self.settled = true;
        self
    }

    pub(super) fn mapping(mut self, call: &'static str) -> Self {
        self.mapped = Some(call);
        self
    }

    /// How many calls of `source` there have been.
    pub(super) fn len(&self) -> usize {
        self.asks.len()
    }

    pub(super) fn names(&self) -> Vec<Name> {
        self.asks.iter().flat_map(|ask| ask.get().names()).collect()
    }
}

/// One aggregation.
impl<R, T, M> Plan<R, T, M> {
    /// Calls all sources, waits for them in a group, and makes one answer of theirs.
    ///
    /// Where foreign code panics in between (the request's `Clone`, the executor's spawn function, `map`, a
    /// `Display`) everything is canceled first, then the record is written, and then the panic goes on.
    pub(super) async fn aggregate(
        &self,
        ctx: Context,
        request: R,
        origin: &'static Location<'static>,
    ) -> Result<T, Error> {
        let report = Report::begin(&ctx, &self.options);
        let (group, places) = match unwind::contain(|| self.start(&ctx, request, origin)) {
            Ok(started) => started,
            Err(panic) => {
                report.panicked(&*panic);
                resume_unwind(panic)
            }
        };
        let outcomes = match self.wait(group).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                report.failed(&error);
                return Err(error);
            }
        };
        let slots = places
            .each_ref()
            .map(|place| place.as_ref().map(Flavored::get));
        match unwind::contain(|| self.finish.get()(&Answers::new(slots, &outcomes))) {
            Ok(answer) => {
                report.ended(&outcomes);
                Ok(answer)
            }
            Err(panic) => {
                report.panicked(&*panic);
                resume_unwind(panic)
            }
        }
    }

    /// Spawns every source. Dropped by a panic, the group cancels those that it has.
    fn start(
        &self,
        ctx: &Context,
        request: R,
        origin: &'static Location<'static>,
    ) -> (TaskGroup<(), M>, Places<M>) {
        let told = self.options.tell_logger(ctx);
        let group = self.open(told.as_ref().unwrap_or(ctx), origin);
        let places = group.within_span(|| self.ask(&group, request));
        (group, places)
    }

    fn ask(&self, group: &TaskGroup<(), M>, request: R) -> Places<M> {
        let mut places = [const { None }; MOST];
        if let Some((last, others)) = self.asks.split_last() {
            for (place, ask) in places.iter_mut().zip(others) {
                *place = Some(ask.get().ask(group, Given::Lent(&request)));
            }
            places[others.len()] = Some(last.get().ask(group, Given::Whole(request)));
        }
        places
    }

    fn open(&self, ctx: &Context, origin: &'static Location<'static>) -> TaskGroup<(), M> {
        let deadline = self.options.deadline(ctx);
        let own = (deadline, Some(self.options.name()));
        let group = TaskGroup::open_named(ctx, self.launch.clone(), own, origin);
        let group = self.options.apply(group);
        if self.settled {
            return group.with_ending(Ending::Settle);
        }
        group.want_values(); // now, so that a source that answers at once leaves nothing that would be dropped unread
        group
    }

    /// How each source ended, if the aggregator is settled. Otherwise all have succeeded.
    async fn wait(&self, group: TaskGroup<(), M>) -> Result<Vec<(Name, Result<(), Error>)>, Error> {
        if self.settled {
            group.settled_outcomes().await
        } else {
            group.wait().await.map(|_| Vec::new())
        }
    }
}

impl<R, T, M> Clone for Plan<R, T, M> {
    fn clone(&self) -> Self {
        Self {
            launch: self.launch.clone(),
            asks: self.asks.clone(),
            finish: self.finish.clone(),
            settled: self.settled,
            mapped: self.mapped,
            options: self.options.clone(),
            origin: self.origin,
        }
    }
}
