//! Refusals on their way to JavaScript: a text of the core's code, a line end, and the message.

use tiercast_core::Error;
use wasm_bindgen::JsValue;

/// What is thrown; `web/src/errors.ts` makes a `TiercastError` of it.
#[derive(Debug)]
pub struct Thrown(String);

impl Thrown {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self([code, message].join("\n"))
    }
}

impl From<Error> for Thrown {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.message())
    }
}

impl From<Thrown> for JsValue {
    fn from(thrown: Thrown) -> Self {
        Self::from_str(&thrown.0)
    }
}
