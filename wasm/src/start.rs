//! Runs the module's static constructors, once, when it is instantiated.
//!
//! tract registers its operators in static constructors. When nothing in a module refers to `__wasm_call_ctors`, the
//! linker takes the module for a command and has every export run all constructors on every call, which costs two
//! microseconds for each value that crosses the boundary. Referring to it here is what turns that off.

// The linker defines the function; there is no safe way to name it.
#![allow(unsafe_code)]

use wasm_bindgen::prelude::*;

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[wasm_bindgen(start)]
fn start() {
    // SAFETY: called once, by the generated binding, before any other export.
    unsafe { __wasm_call_ctors() }
}
