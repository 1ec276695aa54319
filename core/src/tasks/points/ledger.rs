//! A member's points, in lots that expire together.
//!
//! Invariant: after every operation, refused ones included, earned = redeemed + expired + reversed + balance, and the
//! balance is the sum of the lots. A refused operation has expired what was due and changed nothing else.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::statement::Statement;
use crate::{
    error::{Result, bail},
    money::MAX_SUM,
    time::{DAY_MS, Duration, Timestamp},
};

/// The most points that a member can have earned. At the largest worth of a point, 1000 minor units, that is the largest
/// sum which JavaScript holds exactly.
pub const MAX_POINTS: u64 = MAX_SUM as u64 / 1000;

/// Points, and the moment that they are about: when they expire, or were redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PointsAt {
    /// The moment.
    pub at: Timestamp,
    /// How many.
    pub points: u64,
}

/// What became of a member's points: `earned = redeemed + expired + reversed + balance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All that were earned.
    pub earned: u64,
    /// Those that were redeemed.
    pub redeemed: u64,
    /// Those that expired.
    pub expired: u64,
    /// Those that returns took back.
    pub reversed: u64,
    /// Those that returns should have taken back, and that were there no more; no part of the sum.
    pub short: u64,
}

/// A member's points. Operations come in order of time.
///
/// Points of one UTC day that last for a given time expire together, at the end of a UTC day. Redemptions take those that
/// expire first, so that a member loses as few as can be; returns take those that expire last, which are the latest
/// earned, because what is returned was mostly bought of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The time of the latest operation.
    now: Timestamp,
    expires: Option<Duration>,
    /// Those that expire, ascending; each with points.
    lots: VecDeque<PointsAt>,
    /// Those that never do.
    lasting: u64,
    totals: Totals,
}

impl Ledger {
    /// An empty one, whose points expire after so long; never if none.
    pub fn new(expires: Option<Duration>) -> Self {
        Self {
            now: Timestamp::default(),
            expires,
            lots: VecDeque::new(),
            lasting: 0,
            totals: Totals::default(),
        }
    }

    /// Goes on from a statement; points earned from now on expire after so long.
    ///
    /// # Errors
    /// `invalid_input` when the statement's numbers contradict each other.
    pub fn resume(statement: &Statement, expires: Option<Duration>) -> Result<Self> {
        let Statement { balance, earned, redeemed, expired, reversed, short, .. } = *statement;
        let lots = &statement.expiring;
        let sum = |numbers: &[u64]| numbers.iter().try_fold(0_u64, |sum, number| sum.checked_add(*number));
        let expiring = lots.iter().try_fold(0_u64, |sum, lot| sum.checked_add(lot.points));
        let lasting = expiring.and_then(|points| balance.checked_sub(points));
        let rising = lots.is_sorted_by(|a, b| a.at < b.at) && lots.iter().all(|lot| lot.points > 0);
        match lasting {
            Some(lasting)
                if rising
                    && earned <= MAX_POINTS
                    && short <= MAX_POINTS
                    && sum(&[redeemed, expired, reversed, balance]) == Some(earned) =>
            {
                Ok(Self {
                    now: statement.at,
                    expires,
                    lots: lots.iter().copied().collect(),
                    lasting,
                    totals: Totals { earned, redeemed, expired, reversed, short },
                })
            }
            _ => bail!(
                InvalidInput,
                "the opening statement contradicts itself: earned must be redeemed + expired + reversed + balance, at \
                 most {MAX_POINTS}, and expiring a part of the balance, ascending in time"
            ),
        }
    }

    /// Adds points.
    ///
    /// # Errors
    /// `invalid_input` when it comes after a later operation, or when more than [`MAX_POINTS`] would have been earned.
    pub fn earn(&mut self, points: u64, at: Timestamp) -> Result<()> {
        self.expire(at)?;
        if points > MAX_POINTS - self.totals.earned {
            bail!(
                InvalidInput,
                "a member cannot earn more than {MAX_POINTS} points; lower the rate or cap it"
            );
        }
        self.totals.earned += points;
        match self.end_of(at) {
            None => self.lasting += points,
            Some(end) => self.put(PointsAt { at: end, points }),
        }
        Ok(())
    }

    /// The end of the day on which points earned at a moment expire; none when never, or after all time.
    fn end_of(&self, at: Timestamp) -> Option<Timestamp> {
        let day = (at.ms() + self.expires?.ms()).div_euclid(DAY_MS);
        Timestamp::from_ms((day + 1) * DAY_MS).ok()
    }

    fn put(&mut self, lot: PointsAt) {
        if lot.points == 0 {
            return;
        }
        let at = self.lots.partition_point(|known| known.at < lot.at);
        match self.lots.get_mut(at) {
            Some(known) if known.at == lot.at => known.points += lot.points,
            _ => self.lots.insert(at, lot),
        }
    }

    /// Takes back points, as many as are there, and says how many that were.
    ///
    /// # Errors
    /// `invalid_input` when it comes after a later operation, or when returns fall short by more than [`MAX_POINTS`].
    pub fn reverse(&mut self, points: u64, at: Timestamp) -> Result<u64> {
        self.expire(at)?;
        let taken = points.min(self.balance());
        let short = points - taken;
        if short > MAX_POINTS - self.totals.short {
            bail!(InvalidInput, "returns cannot take back more than {MAX_POINTS} points that are not there");
        }
        let lasting = taken.min(self.lasting);
        self.lasting -= lasting;
        self.take(taken - lasting, VecDeque::back_mut, VecDeque::pop_back);
        self.totals.reversed += taken;
        self.totals.short += short;
        Ok(taken)
    }

    /// Redeems points, those first that expire first.
    ///
    /// # Errors
    /// `invalid_input` for more points than there are, for none, or when it comes after a later operation.
    pub fn redeem(&mut self, points: u64, at: Timestamp) -> Result<()> {
        self.expire(at)?;
        if points == 0 || points > self.balance() {
            bail!(
                InvalidInput,
                "{points} points cannot be redeemed at {at}, of a balance of {}; redeem 1 to that many",
                self.balance()
            );
        }
        let lasting = points.saturating_sub(self.expiring().map(|lot| lot.points).sum());
        self.lasting -= lasting;
        self.take(points - lasting, VecDeque::front_mut, VecDeque::pop_front);
        self.totals.redeemed += points;
        Ok(())
    }

    /// Takes points out of lots, from one end on.
    fn take(
        &mut self,
        mut points: u64,
        end: fn(&mut VecDeque<PointsAt>) -> Option<&mut PointsAt>,
        pop: fn(&mut VecDeque<PointsAt>) -> Option<PointsAt>,
    ) {
        while points > 0
            && let Some(lot) = end(&mut self.lots)
        {
            let taken = points.min(lot.points);
            lot.points -= taken;
            points -= taken;
            if lot.points == 0 {
                pop(&mut self.lots);
            }
        }
    }

    /// Lets the points expire whose time is over at `at`, their last moment being the one before.
    ///
    /// # Errors
    /// `invalid_input` when it comes after a later operation.
    pub fn expire(&mut self, at: Timestamp) -> Result<()> {
        if at < self.now {
            bail!(
                InvalidInput,
                "points of {at} come after those of {}; give operations in order of time",
                self.now
            );
        }
        self.now = at;
        while let Some(lot) = self.lots.front().copied().filter(|lot| lot.at <= at) {
            self.lots.pop_front();
            self.totals.expired += lot.points;
        }
        Ok(())
    }

    /// The points that can be redeemed.
    pub fn balance(&self) -> u64 {
        let Totals { earned, redeemed, expired, reversed, .. } = self.totals;
        earned - redeemed - expired - reversed
    }

    /// What became of all points.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The points that expire and when, ascending; those that never do are the rest of the balance.
    pub fn expiring(&self) -> impl Iterator<Item = PointsAt> {
        self.lots.iter().copied()
    }
}

/// `⌊x · by / of⌋`, for `of` from 1 to 10⁸ and `by` at most 1000 times that, whose product fits 64 bits; the largest
/// number where the result, of more than [`MAX_POINTS`], does not.
pub(super) fn ratio(x: u64, by: u64, of: u64) -> u64 {
    let of = of.max(1);
    (x / of).saturating_mul(by).saturating_add(x % of * by / of)
}
