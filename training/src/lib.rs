//! The `tiercast` command line: reads a shop's event tables, folds them with [`tiercast_core`], trains models, judges
//! them, writes the bundle and scores tables with it.
//!
//! Invariant: no feature formula lives here. Tables become events, and events go through the core fold.

#![deny(unsafe_code)]

/// Prints a line on stdout. A reader that has gone away (`| head`) is no reason to fail.
macro_rules! say {
    ($($words:tt)*) => { $crate::progress::line(&format!($($words)*)) };
}

pub mod bundle;
pub mod campaign;
pub mod check;
#[cfg(feature = "cluster")]
pub mod cluster;
pub(crate) mod cores;
pub mod coverage;
pub mod data;
pub mod dataset;
pub mod deploy;
pub mod engine;
pub mod equip;
pub mod evaluate;
pub mod export;
pub mod features;
pub mod file_hash;
pub mod fit;
pub mod fold;
pub mod import;
pub mod init;
pub mod inspect;
pub mod locate;
pub mod log;
pub mod members;
pub mod metrics;
pub mod policy;
pub mod progress;
pub mod project;
pub mod recommend;
pub mod report;
pub mod risk;
pub mod score;
pub mod similar;
pub mod states;
pub mod table;
pub mod train;
pub mod weights;
pub mod whole;

pub use tiercast_models::{self as models, device};

#[cfg(test)]
mod fixtures;
