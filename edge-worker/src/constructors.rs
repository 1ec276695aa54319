//! Runs the module's static constructors once, when it is instantiated.
//!
//! tract registers its operators in static constructors. A module in which nothing refers to `__wasm_call_ctors` is
//! linked as a command: every export then runs all constructors on every call. Referring to it here turns that off.

// The linker defines the function; there is no safe way to name it.
#![allow(unsafe_code)]

use worker::event;

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[event(start)]
fn construct() {
    // SAFETY: called once for each instance, by the generated binding, before any request.
    unsafe { __wasm_call_ctors() }
}
