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
