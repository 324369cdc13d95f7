//! What the cases need to see what happens, and to decide when.

use failfast::context::ContextErrorKind;
use failfast::{Context, Error};
use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Closed until it is opened; any number may wait.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    pub(super) fn open(&self) {
        let wakers = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.lock().unwrap().0
    }

    pub(super) fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.clone();
        poll_fn(move |cx| {
            let mut gate = gate.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// Counts who lives, by guards.
#[derive(Clone, Default)]
pub(super) struct Census(Arc<Counts>);

#[derive(Default)]
struct Counts {
    born: AtomicUsize,
    live: AtomicUsize,
    peak: AtomicUsize,
    gone: Gate,
}

/// One who lives until it is dropped.
pub(super) struct Citizen(Census);

impl Census {
    pub(super) fn citizen(&self) -> Citizen {
        self.0.born.fetch_add(1, SeqCst);
        let live = self.0.live.fetch_add(1, SeqCst) + 1;
        self.0.peak.fetch_max(live, SeqCst);
        Citizen(self.clone())
    }

    pub(super) fn born(&self) -> usize {
        self.0.born.load(SeqCst)
    }

    pub(super) fn live(&self) -> usize {
        self.0.live.load(SeqCst)
    }

    pub(super) fn peak(&self) -> usize {
        self.0.peak.load(SeqCst)
    }

    /// Completes once somebody was the last to go.
    pub(super) async fn extinct(&self) {
        self.0.gone.wait().await;
    }
}

impl Drop for Citizen {
    fn drop(&mut self) {
        if self.0.0.live.fetch_sub(1, SeqCst) == 1 {
            self.0.0.gone.open();
        }
    }
}

/// Whether `attempt` can be quick: up to three tries, for a busy machine is not the subject.
pub(super) fn quick(bound: Duration, attempt: impl Fn()) {
    let quick = (0..3).any(|_| {
        let start = Instant::now();
        attempt();
        start.elapsed() < bound
    });
    assert!(quick, "three times in a row it took {bound:?} or longer");
}

/// The text of a context's end as an error tells it: what ended it, and who had not finished then.
#[track_caller]
pub(super) fn assert_ended(error: &Error, text: &str) {
    let pending: Vec<_> = error.pending().iter().map(|name| &**name).collect();
    let waiting = match &pending[..] {
        [] => String::new(),
        names => format!(" (waiting for {})", names.join(", ")),
    };
    assert_eq!(error.to_string(), format!("{text}{waiting}"));
}

/// How a context ended, if it did.
pub(super) fn kind(ctx: &Context) -> Option<ContextErrorKind> {
    ctx.err().map(|error| error.kind())
}

/// What ended a context, in words.
pub(super) fn why(ctx: &Context) -> String {
    ctx.cause().expect("the context has ended").to_string()
}

/// One log record, in words.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) message: String,
    fields: Vec<(String, String)>,
}

impl Line {
    pub(super) fn field(&self, key: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// A logger that remembers.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<Line>>>);

impl Memory {
    pub(super) fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }

    /// The program's global logger.
    pub(super) fn global() -> &'static Memory {
        static GLOBAL: LazyLock<Memory> = LazyLock::new(Memory::default);
        static SET: Once = Once::new();
        SET.call_once(|| {
            log::set_logger(&*GLOBAL).expect("nobody else sets a logger");
            log::set_max_level(LevelFilter::Info);
        });
        &GLOBAL
    }
}

impl Log for Memory {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut fields = Fields(Vec::new());
        record.key_values().visit(&mut fields).unwrap();
        self.0.lock().unwrap().push(Line {
            level: record.level(),
            message: record.args().to_string(),
            fields: fields.0,
        });
    }

    fn flush(&self) {}
}

struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}
