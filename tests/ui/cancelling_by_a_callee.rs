//! A callee gets the observer: it can't cancel.

use failfast::Context;

fn callee(ctx: Context) {
    ctx.cancel();
}

fn main() {
    callee(Context::background());
}
