//! Points: what an event earns by the shop's rules, and what became of it: redeemed, expired, taken back, or still there.
//!
//! - [`PointsRules`] are the rules; [`PointsRules::earn`] says what one event earns.
//! - A [`Ledger`] holds a member's points, in lots that expire together.
//! - A [`Statement`] is a member's history replayed through both: a pure function of the events, the redemptions and the
//!   moment asked about, so that neither the order of arrival nor a late event leaves a wrong balance.
//!
//! All numbers are whole, all arithmetic is exact, and what would not fit is an error. There is no debt: a return takes
//! back what is there, and a statement says how much it fell short. There is no account either: who needs a balance that
//! outlives a member's bounded history keeps a statement, and goes on from it.

use crate::error::Result;

mod bonus;
mod ledger;
mod options;
mod rules;
mod statement;
#[cfg(test)]
mod tests;

pub use self::{
    bonus::{Bonus, MAX_BONUSES},
    ledger::{Ledger, MAX_POINTS, PointsAt, Totals},
    options::{EarnOptions, PointsOptions},
    rules::{Earned, PointsInfo, PointsRules},
    statement::{Statement, breakage},
};

/// Whether this build keeps points; the small one leaves them out.
pub(crate) const POINTS: bool = cfg!(feature = "all-kernels");

/// The rules that a bundle keeps. In the small build there is no room for any, so that not even the code to drop them is
/// a part of what a page downloads.
#[derive(Clone, Debug)]
pub(crate) struct Kept(#[cfg(feature = "all-kernels")] Option<PointsRules>);

#[cfg(feature = "all-kernels")]
impl Kept {
    pub(crate) fn read(rules: impl FnOnce() -> Result<Option<PointsRules>>) -> Result<Self> {
        Ok(Self(rules()?))
    }

    pub(crate) fn rules(&self) -> Option<&PointsRules> {
        self.0.as_ref()
    }
}

#[cfg(not(feature = "all-kernels"))]
impl Kept {
    pub(crate) fn read(_: impl FnOnce() -> Result<Option<PointsRules>>) -> Result<Self> {
        Ok(Self())
    }

    pub(crate) fn rules(&self) -> Option<&PointsRules> {
        None
    }
}
