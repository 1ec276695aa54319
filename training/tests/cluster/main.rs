//! Training on a cluster. CI runs these as a step of their own, which finds them by the module's name.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test itself")]

mod processes;
