//! The conformance suite in a browser. A case that panics on purpose does not apply, because a panic ends a wasm module.
#![cfg(all(target_family = "wasm", target_os = "unknown"))]

use conformance::{LocalExecutor, LocalNowhere, Runtime};
use failfast::clock::{Clock, SystemClock};
use failfast::{Context, LocalGroup, LocalInPlaceGroup};
use futures_timer::Delay;
use std::time::Duration;
use wasm_bindgen_futures::spawn_local;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

/// The page's event loop.
struct Page;

/// No executor: the page's event loop polls the waiting task.
struct InPlace;

/// What the harness of a browser does itself: a test is a promise.
fn not_run<S>(_: S) {
    unreachable!("a page can't block")
}

macro_rules! runtime {
    ($runtime:ident, $name:literal, $place:ty, |$ctx:ident| $group:expr => $kind:ty) => {
        impl Runtime for $runtime {
            const NAME: &'static str = $name;

            type Place = $place;
            type Sleep = Delay;

            fn run<S>(scenario: impl FnOnce(Self::Place) -> S + Send + 'static)
            where
                S: Future<Output = ()> + 'static,
            {
                not_run(scenario)
            }

            fn documented_group($ctx: Context) -> $kind {
                $group
            }

            fn sleep(time: Duration) -> Self::Sleep {
                Delay::new(time)
            }

            /// The page's timers as they are end up to a millisecond early, for they count whole ones.
            fn clock() -> impl Clock {
                SystemClock
            }
        }
    };
}

runtime!(
    Page,
    "a browser, spawn_local",
    LocalExecutor<()>,
    |_ctx| LocalGroup::new(wasm_bindgen_futures::spawn_local) => LocalGroup<()>
);
runtime!(
    InPlace,
    "a browser, in place",
    LocalNowhere,
    |ctx| LocalInPlaceGroup::new(&ctx) => LocalInPlaceGroup<'static, ()>
);

/// A test of each case, but for those that panic on purpose.
macro_rules! tests {
    ($flavor:ident $runtime:ident $place:expr; $($file:ident: $case:ident)*) => {
        $(test! { $flavor $runtime ($place) $file $case })*
    };
}

macro_rules! test {
    ($flavor:ident $runtime:ident ($place:expr) group panic_is_contained) => {
        not_applicable! { panic_is_contained }
    };
    ($flavor:ident $runtime:ident ($place:expr) fork body_panics) => {
        not_applicable! { body_panics }
    };
    ($flavor:ident $runtime:ident ($place:expr) $file:ident $case:ident) => {
        #[wasm_bindgen_test]
        async fn $case() {
            let scenario = conformance::$flavor::$file::$case::<$runtime>($place);
            conformance::watched::<$runtime>(scenario).await;
        }
    };
}

/// A line in the output.
macro_rules! not_applicable {
    ($case:ident) => {
        #[wasm_bindgen_test]
        #[ignore = "not applicable: a panic ends a wasm module"]
        fn $case() {}
    };
}

mod page {
    use super::*;
    conformance::for_each_case! { tests { local Page LocalExecutor::new(spawn_local) } }
}

mod in_place {
    use super::*;
    conformance::for_each_case! { tests { local_scoped InPlace LocalNowhere } }
}
