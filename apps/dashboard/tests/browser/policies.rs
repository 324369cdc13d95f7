//! Policies, seen in the browser.
