//! What a caller says of an event's points, and of a member's.

use alloc::vec::Vec;

use serde::Deserialize;

use super::{ledger::PointsAt, statement::Statement};
use crate::{
    error::{Result, bail},
    object::{self, Object},
};

/// For whom an event would earn points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EarnOptions {
    /// The member's tier, 1…K.
    pub tier: u8,
    /// Points that the member has earned on that UTC day before.
    #[serde(default)]
    pub earned_today: u64,
}

/// What is known of a member's points besides the events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PointsOptions {
    /// What the member redeemed, in any order.
    #[serde(deserialize_with = "object::many")]
    pub redemptions: Vec<PointsAt>,
    /// An earlier statement to go on from.
    #[serde(deserialize_with = "object::one")]
    pub opening: Option<Statement>,
}

impl EarnOptions {
    /// Reads options from JSON.
    ///
    /// # Errors
    /// `invalid_input`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        read(json)
    }
}

impl PointsOptions {
    /// Reads options from JSON.
    ///
    /// # Errors
    /// `invalid_input`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        read(json)
    }
}

fn read<'j, T: Deserialize<'j>>(json: &'j [u8]) -> Result<T> {
    match serde_json::from_slice(json) {
        Ok(Object(options)) => Ok(options),
        Err(error) => bail!(InvalidInput, "these are no options of points: {error}"),
    }
}
