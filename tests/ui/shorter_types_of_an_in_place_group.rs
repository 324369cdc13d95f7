//! Neither `'env` nor the result can be shortened: groups and handles are invariant in both.

use failfast::group::Scoped;
use failfast::{GroupHandle, InPlaceGroup};

type Handle<'env, T> = GroupHandle<T, Scoped<'env>>;

fn shorter_borrow<'s>(group: &'s InPlaceGroup<'static, ()>) -> &'s InPlaceGroup<'s, ()> {
    group
}

fn shorter_result<'s>(
    group: &'s InPlaceGroup<'static, &'static str>,
) -> &'s InPlaceGroup<'static, &'s str> {
    group
}

fn shorter_borrow_by_a_handle<'s>(handle: &'s Handle<'static, ()>) -> &'s Handle<'s, ()> {
    handle
}

fn shorter_result_by_a_handle<'s>(
    handle: &'s Handle<'static, &'static str>,
) -> &'s Handle<'static, &'s str> {
    handle
}

fn longer_result<'s>(group: &'s InPlaceGroup<'s, fn(&'s str)>) -> &'s InPlaceGroup<'s, fn(&'static str)> {
    group
}

fn main() {}
