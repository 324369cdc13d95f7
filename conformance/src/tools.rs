//! What the cases need to see what happens, and to decide when.

use crate::time::Instant;
use failfast::context::ContextErrorKind;
use failfast::{Context, Error};
use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Closed until it is opened; any number may wait.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    pub fn open(&self) {
        let wakers = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn is_open(&self) -> bool {
        self.0.lock().unwrap().0
    }

    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
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

/// Counts what is alive, by guards.
#[derive(Clone, Default)]
pub struct Census(Arc<Counts>);

#[derive(Default)]
struct Counts {
    born: AtomicUsize,
    live: AtomicUsize,
    peak: AtomicUsize,
    gone: Gate,
}

/// Counts as alive until it is dropped.
pub struct Citizen(Census);

impl Census {
    pub fn citizen(&self) -> Citizen {
        self.0.born.fetch_add(1, SeqCst);
        let live = self.0.live.fetch_add(1, SeqCst) + 1;
        self.0.peak.fetch_max(live, SeqCst);
        Citizen(self.clone())
    }

    pub fn born(&self) -> usize {
        self.0.born.load(SeqCst)
    }

    pub fn live(&self) -> usize {
        self.0.live.load(SeqCst)
    }

    pub fn peak(&self) -> usize {
        self.0.peak.load(SeqCst)
    }

    /// Completes once the last has been dropped.
    pub async fn extinct(&self) {
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
pub async fn quick(bound: Duration, attempt: impl AsyncFn()) {
    for _ in 0..3 {
        let start = Instant::now();
        attempt().await;
        if start.elapsed() < bound {
            return;
        }
    }
    panic!("three times in a row it took {bound:?} or longer");
}

pub const fn at_most(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

/// The text of a context's end in an error: what ended it, and which tasks had not finished then.
#[track_caller]
pub fn assert_ended(error: &Error, text: &str) {
    let pending: Vec<_> = error.pending().iter().map(|name| &**name).collect();
    let waiting = match &pending[..] {
        [] => String::new(),
        names => format!(" (waiting for {})", names.join(", ")),
    };
    assert_eq!(error.to_string(), format!("{text}{waiting}"));
}

/// How a context ended, if it did.
pub fn kind(ctx: &Context) -> Option<ContextErrorKind> {
    ctx.err().map(|error| error.kind())
}

/// What ended a context, in words.
pub fn why(ctx: &Context) -> String {
    ctx.cause().expect("the context has ended").to_string()
}

/// One log record, in words.
#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    pub message: String,
    fields: Vec<(String, String)>,
}

impl Line {
    pub fn field(&self, key: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// A logger that remembers.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<Line>>>);

impl Memory {
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }

    /// The program's global logger.
    pub fn global() -> &'static Memory {
        static GLOBAL: LazyLock<Memory> = LazyLock::new(Memory::default);
        static SET: Once = Once::new();
        SET.call_once(|| {
            log::set_logger(&*GLOBAL).expect("nothing else sets a logger");
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
