//! What a caller says of a decision.

use alloc::{string::String, vec::Vec};

use serde::Deserialize;

use crate::{
    error::{Result, bail},
    event::MAX_TEXT,
};

/// What a decision shall take into account.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DecideOptions {
    /// Whom the decision is for: any text that is the member's own and stays the same, such as a pseudonym. Required: the draw
    /// is made of it, and it goes nowhere else.
    pub member: String,
    /// Points that the member was already given in this period, which count against the policy's cap.
    pub given: u64,
    /// Actions that are out of the question.
    pub exclude: Vec<String>,
    /// The tier of service that the member has now, 1…K; the tier by the rules if left out.
    pub current: Option<u8>,
    /// Reasons at most, 0 to 10.
    pub reasons: u8,
}

impl Default for DecideOptions {
    fn default() -> Self {
        Self { member: String::new(), given: 0, exclude: Vec::new(), current: None, reasons: 3 }
    }
}

impl DecideOptions {
    /// The defaults, for a member.
    pub fn of(member: impl Into<String>) -> Self {
        Self { member: member.into(), ..Self::default() }
    }

    /// Reads options from JSON.
    ///
    /// # Errors
    /// `invalid_input`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        // What is derived would also take a list of the fields' values.
        if !json.trim_ascii_start().starts_with(b"{") {
            bail!(InvalidInput, "options of a decision are an object with at least \"member\"");
        }
        serde_json::from_slice(json)
            .or_else(|error| bail!(InvalidInput, "these are no options of a decision: {error}"))
    }

    pub(super) fn check(&self, actions: &[super::Action], tiers: usize) -> Result<()> {
        if self.member.is_empty() || self.member.len() > MAX_TEXT {
            bail!(
                InvalidInput,
                "`member` has {} bytes; give 1 to {MAX_TEXT}, the same ones whenever the same member is asked about",
                self.member.len()
            );
        }
        let unknown = |name: &&String| !actions.iter().any(|action| action.name == **name);
        if let Some(name) = self.exclude.iter().find(unknown) {
            let names: Vec<&str> = actions.iter().map(|action| action.name.as_str()).collect();
            bail!(
                InvalidInput,
                "{:?} is no action of this policy; there are {}",
                crate::event::clip(name),
                names.join(", ")
            );
        }
        if self.current.is_some_and(|tier| tier == 0 || usize::from(tier) > tiers) {
            bail!(InvalidInput, "`current` is a tier from 1 to {tiers}");
        }
        if self.reasons > 10 {
            bail!(InvalidInput, "`reasons` is from 0 to 10");
        }
        Ok(())
    }
}
