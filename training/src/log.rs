//! What a command tells while it works: sentences and a progress bar for people, or one JSON object a line for machines.
//!
//! There is one way for the whole process, chosen before it begins. Objects go to stdout; each has `event`, its name, and
//! `at`, milliseconds since 1970.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

/// For whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Log {
    /// People: sentences, and on a terminal a progress bar.
    #[default]
    Text,
    /// Machines: one JSON object a line on stdout.
    Json,
}

static JSON: AtomicBool = AtomicBool::new(false);

/// Chooses for whom, before anything is told.
pub fn choose(log: Log) {
    JSON.store(log == Log::Json, Ordering::Relaxed);
}

/// Whether machines listen.
pub(crate) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Tells machines what happened; people hear of it in other ways.
pub(crate) fn event(name: &str, fields: Value) {
    if is_json() {
        // Nobody may read any more; that is no reason to stop.
        let _ = writeln!(io::stdout().lock(), "{}", object(name, fields));
    }
}

/// Tells of something beside the result.
pub(crate) fn note(text: &str) {
    match is_json() {
        true => event("note", json!({ "text": text })),
        false => eprintln!("{text}"),
    }
}

/// Tells of something that may be wrong.
pub(crate) fn warning(text: &str) {
    match is_json() {
        true => event("warning", json!({ "text": text })),
        false => eprintln!("warning: {text}"),
    }
}

fn object(name: &str, fields: Value) -> Value {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let mut object = json!({ "event": name, "at": at });
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        object.extend(fields);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_says_what_and_when_first() {
        let object = object("fit", json!({ "model": "gru", "fold": null }));
        assert_eq!((&object["event"], &object["model"]), (&json!("fit"), &json!("gru")));
        assert!(object["at"].as_u64().unwrap() > 1_700_000_000_000 && object["fold"].is_null());
    }
}
