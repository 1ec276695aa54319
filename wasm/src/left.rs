//! What a call leaves in linear memory for JavaScript to copy: a text, bytes or numbers, until the next call.
//!
//! Every export gives back one number at most. wasm-bindgen returns `Result`, `String` and `Vec` as several values, and
//! V8 compiles a wrapper for each such signature with its optimising compiler when it is first called: 2.6 ms for one, in
//! a profile of a cold start.
//! So what can be refused says whether it was done, and leaves the refusal: the core's code, a line end, the message.

use std::cell::{Cell, RefCell};

use wasm_bindgen::prelude::*;

thread_local! {
    /// Address and length in bytes.
    static PLACE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// What is kept only to be copied.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static NUMBERS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Where the last call left something.
#[wasm_bindgen]
pub fn left() -> usize {
    PLACE.get().0
}

/// How many bytes it left.
#[wasm_bindgen(js_name = leftLength)]
pub fn left_length() -> usize {
    PLACE.get().1
}

/// A refusal: a code and a message.
#[derive(Debug)]
pub(crate) struct Refused(&'static str, String);

impl Refused {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(code, message.into())
    }
}

impl From<tiercast_core::Error> for Refused {
    fn from(error: tiercast_core::Error) -> Self {
        Self(error.code(), error.message().into())
    }
}

/// What came of a call; leaves its refusal.
pub(crate) fn done<T>(outcome: Result<T, impl Into<Refused>>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(refused) => {
            let Refused(code, message) = refused.into();
            bytes([code, &message].join("\n").into());
            None
        }
    }
}

/// Leaves something that stays where it is.
pub(crate) fn text(text: &str) {
    PLACE.set((text.as_ptr() as usize, text.len()));
}

pub(crate) fn bytes(bytes: Vec<u8>) {
    PLACE.set((bytes.as_ptr() as usize, bytes.len()));
    BYTES.set(bytes);
}

pub(crate) fn numbers(numbers: Vec<f32>) {
    PLACE.set((numbers.as_ptr() as usize, size_of_val(&*numbers)));
    NUMBERS.set(numbers);
}
