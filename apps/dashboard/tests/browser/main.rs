//! The dashboard in a real browser: headless Chromium, through chromedriver.
//!
//! Each test keeps a screenshot of what it saw in `target/tmp/dashboard`, for a person to look at.

mod page;
mod policies;
mod shapes;
#[path = "../support/mod.rs"]
mod support;
mod webdriver;
