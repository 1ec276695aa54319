//! Progress on the terminal: drawn on stderr when it is one, silent otherwise. Results go to stdout.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::log;

/// A spinner with a running count, for work whose size is not known.
pub fn spinner(message: impl Into<Cow<'static, str>>) -> ProgressBar {
    if log::is_json() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {human_pos} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A bar over a known number of steps.
pub fn bar(len: u64, message: impl Into<Cow<'static, str>>) -> ProgressBar {
    if log::is_json() {
        let bar = ProgressBar::hidden();
        bar.set_length(len);
        return bar;
    }
    let bar = ProgressBar::new(len).with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {human_pos}/{human_len} {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// A bar over a number of steps that may grow, with the time that is left.
pub fn search(len: usize) -> ProgressBar {
    if log::is_json() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len as u64);
    let template = "{msg} {bar:20} {human_pos}/{human_len} fits, {elapsed}, about {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A line on stdout, dropped when nobody reads it any more.
pub(crate) fn line(text: &str) {
    match log::is_json() {
        true => log::event("message", serde_json::json!({ "text": text })),
        false => drop(writeln!(io::stdout().lock(), "{text}")),
    }
}
