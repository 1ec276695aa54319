//! A member's points at a moment: the history replayed through the rules, in the one order that events have.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{
    ledger::{Ledger, PointsAt},
    rules::PointsRules,
};
use crate::{
    error::{Result, bail},
    event::{Event, EventKind},
    features::MemberState,
    object, order,
    tasks::tier::{TierRules, net_spend},
    time::Timestamp,
};

/// A member's points at a moment, with all events and redemptions up to and including it.
///
/// It is all that is needed to go on from: given as the opening of a later statement, it stands for everything before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// The moment.
    pub at: Timestamp,
    /// Points that can be redeemed: `earned − redeemed − expired − reversed`.
    pub balance: u64,
    /// All that were ever earned.
    pub earned: u64,
    /// Those that were redeemed.
    pub redeemed: u64,
    /// Those that expired.
    pub expired: u64,
    /// Those that returns took back.
    pub reversed: u64,
    /// Those that returns should have taken back, had they not been redeemed or expired before.
    pub short: u64,
    /// What expires when, ascending, if nothing is redeemed; what is missing to the balance never expires.
    #[serde(deserialize_with = "object::many")]
    pub expiring: Vec<PointsAt>,
    /// What the balance is worth when it is redeemed, minor units, rounded down.
    pub value_minor: u64,
    /// The balance if it suffices for a redemption, otherwise 0.
    pub redeemable: u64,
    /// What the balance is expected to cost the shop: its value without the declared breakage, minor units, rounded down.
    pub liability_minor: u64,
    /// Of this member's points that were redeemed or expired, those that expired, per mille; see [`breakage`].
    pub breakage: u32,
    /// The tier by which purchases earn at this moment, 1…K: what the net spend of the period before has earned.
    pub tier: u8,
    /// Net spend so far in the period of the tiers, minor units; below 0 when more was returned than bought.
    pub spend_minor: i64,
    /// Points earned so far on this UTC day, returns not subtracted.
    pub earned_today: u64,
}

impl Statement {
    /// A statement to go on from where a balance was kept elsewhere until a moment: points that never expire, a tier, 1…K,
    /// and nothing yet bought in the period and earned on the day. Put other figures into its fields.
    pub fn opening(at: Timestamp, balance: u64, tier: u8) -> Self {
        Self { at, balance, earned: balance, tier, ..Self::default() }
    }
}

/// Share of the points that came to an end by expiring, per mille rounded down: `expired / (expired + redeemed)`; 0 when
/// none came to an end.
///
/// Of many members, give their sums. Exact up to 2⁵³ expired points, beyond to one per mille.
pub fn breakage(expired: u64, redeemed: u64) -> u32 {
    let ended = expired.saturating_add(redeemed);
    let share = match expired.checked_mul(1000) {
        Some(expired) => expired / ended.max(1),
        None => expired / (ended / 1000),
    };
    share as u32
}

impl PointsRules {
    /// A member's points at `now`: all events up to `now` replayed in canonical order, and all redemptions, in any order.
    ///
    /// A purchase earns by the tier that the net spend of the period before its own has earned; who bought nothing then is
    /// in tier 1. At one moment points first expire, then events earn, then returns take back, then redemptions count. Of an `opening`, an earlier
    /// statement, what happened up to and including its moment is a part already, and is not looked at again: what arrives
    /// too late for it stays out.
    ///
    /// The rules are those that [`PointsRules::check`] accepts; they hold for the whole history.
    ///
    /// # Errors
    /// `too_late` when events after the opening, or any without one, were forgotten: the balance cannot be known.
    /// `invalid_input` when `now` is before the opening, when the opening contradicts itself, when a redemption is of none
    /// or of more points than there were, or when points sum to more than [`MAX_POINTS`](super::MAX_POINTS).
    pub fn statement(
        &self,
        tiers: &TierRules,
        state: &MemberState,
        redemptions: &[PointsAt],
        opening: Option<&Statement>,
        now: Timestamp,
    ) -> Result<Statement> {
        // The first moment that the opening says nothing of.
        let from = opening.map_or(0, |opening| opening.at.ms() + 1);
        if state.forgot_since(from) {
            bail!(
                TooLate,
                "the member's points cannot be known, as events that earned some were forgotten; keep statements and give \
                 the latest as the opening, or raise `capacity`"
            );
        }
        if now.ms() + 1 < from {
            bail!(InvalidInput, "the opening statement is of a later moment than {now}; give an earlier one");
        }
        let mut redemptions: Vec<PointsAt> = redemptions
            .iter()
            .copied()
            .filter(|redemption| redemption.at.ms() >= from && redemption.at <= now)
            .collect();
        order::sort(&mut redemptions);
        let mut redemptions = redemptions.into_iter().peekable();
        let mut replay = Replay::start(self, tiers, opening)?;
        let mut events = state.events().filter(|event| event.time.ms() >= from && event.time <= now);
        while let Some(time) = events.clone().next().map(|event| event.time) {
            while let Some(before) = redemptions.next_if(|redemption| redemption.at < time) {
                replay.ledger.redeem(before.points, before.at)?;
            }
            let moment = events.clone().take_while(|event| event.time == time);
            // Where times are days, a return stands beside its purchase, and must find what that earned.
            for returned in [false, true] {
                let mut part = moment.clone().filter(|event| (event.kind == EventKind::Return) == returned);
                part.try_for_each(|event| replay.take(event))?;
            }
            for _ in moment {
                events.next();
            }
        }
        redemptions.try_for_each(|redemption| replay.ledger.redeem(redemption.points, redemption.at))?;
        replay.end(now)
    }
}

/// A history on its way through the rules.
struct Replay<'r> {
    rules: &'r PointsRules,
    tiers: &'r TierRules,
    ledger: Ledger,
    /// The end of the period that it is in, the net spend in it so far, and the tier that the one before has earned.
    end: Timestamp,
    spend: i64,
    tier: u8,
    /// The UTC day that it is on, and the points earned on it so far.
    day: i64,
    today: u64,
}

impl<'r> Replay<'r> {
    fn start(rules: &'r PointsRules, tiers: &'r TierRules, opening: Option<&Statement>) -> Result<Self> {
        let Some(opening) = opening else {
            let ledger = Ledger::new(rules.expires);
            let end = Timestamp::default();
            return Ok(Self { rules, tiers, ledger, end, spend: 0, tier: 1, day: 0, today: 0 });
        };
        if !(1..=tiers.len()).contains(&usize::from(opening.tier)) {
            bail!(
                InvalidInput,
                "the opening statement is of tier {}; give 1 to {}",
                opening.tier,
                tiers.len()
            );
        }
        Ok(Self {
            rules,
            tiers,
            ledger: Ledger::resume(opening, rules.expires)?,
            end: tiers.period.around(opening.at).1,
            spend: opening.spend_minor,
            tier: opening.tier,
            day: opening.at.day(),
            today: opening.earned_today,
        })
    }

    /// Goes on to a moment, which may begin a new period and a new day.
    fn reach(&mut self, now: Timestamp) {
        if now >= self.end {
            let (start, end) = self.tiers.period.around(now);
            // After a period without events nothing is known of the one before it: nothing was bought.
            self.tier = if start == self.end { self.tiers.tier_of(self.spend) } else { 1 };
            (self.spend, self.end) = (0, end);
        }
        if now.day() != self.day {
            (self.day, self.today) = (now.day(), 0);
        }
    }

    fn take(&mut self, event: &Event) -> Result<()> {
        self.reach(event.time);
        self.spend = self.spend.saturating_add(net_spend([event], event.time, self.end));
        let points = self.rules.earn(event, self.tier, self.today).points;
        if points < 0 {
            return self.ledger.reverse(points.unsigned_abs(), event.time).map(drop);
        }
        self.ledger.earn(points.unsigned_abs(), event.time)?;
        self.today = self.today.saturating_add(points.unsigned_abs());
        Ok(())
    }

    fn end(mut self, now: Timestamp) -> Result<Statement> {
        self.reach(now);
        self.ledger.expire(now)?;
        let (balance, totals) = (self.ledger.balance(), self.ledger.totals());
        Ok(Statement {
            at: now,
            balance,
            earned: totals.earned,
            redeemed: totals.redeemed,
            expired: totals.expired,
            reversed: totals.reversed,
            short: totals.short,
            expiring: self.ledger.expiring().collect(),
            value_minor: self.rules.value_minor(balance),
            redeemable: if balance < self.rules.min_redeem { 0 } else { balance },
            liability_minor: self.rules.liability_minor(balance),
            breakage: breakage(totals.expired, totals.redeemed),
            tier: self.tier,
            spend_minor: self.spend,
            earned_today: self.today,
        })
    }
}
