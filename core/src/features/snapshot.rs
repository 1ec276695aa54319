//! A member's history as bytes: what the browser stores, what the edge is sent.
//!
//! Layout: `TCS`, a version byte, the hash of the currency (8 bytes), a postcard body, and the hash of all that
//! (4 bytes). About 35 bytes an event. A snapshot survives a change of features and of custom kinds; it does not
//! survive a change of currency, which would change what its amounts mean.

use alloc::{collections::VecDeque, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    FeatureSchema, sha256_prefix,
    state::{Forgotten, KindTotals, MemberState},
};
use crate::{
    error::{Result, bail},
    event::{Event, EventKind},
    time::Timestamp,
};

const MAGIC: &[u8; 3] = b"TCS";
const VERSION: u8 = 1;
const HEAD: usize = 12;
const TAIL: usize = 4;

#[derive(Serialize, Deserialize)]
struct Body {
    newest_forgotten: Option<Record>,
    totals: Vec<KindTotals>,
    log: Vec<Record>,
}

/// An [`Event`] with its time as the distance from the one before it.
#[derive(Serialize, Deserialize)]
struct Record {
    after: u64,
    #[serde(with = "postcard::fixint::le")]
    id: u64,
    kind: EventKind,
    #[serde(with = "postcard::fixint::le")]
    order: u32,
    #[serde(with = "postcard::fixint::le")]
    item: u32,
    #[serde(with = "postcard::fixint::le")]
    category: u32,
    #[serde(with = "postcard::fixint::le")]
    channel: u32,
    quantity: u32,
    amount: i64,
    discount: i64,
}

impl MemberState {
    /// Writes the history as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut previous = 0;
        let body = Body {
            newest_forgotten: self.forgotten.newest.map(|event| Record::of(&event, &mut 0)),
            totals: self.forgotten.totals.clone(),
            log: self.log.iter().map(|event| Record::of(event, &mut previous)).collect(),
        };
        let mut bytes = Vec::from(MAGIC.as_slice());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.money);
        // Plain data into a growing buffer: postcard has nothing to refuse here.
        bytes.extend(postcard::to_allocvec(&body).unwrap_or_default());
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// Reads what [`MemberState::snapshot`] wrote.
    ///
    /// A snapshot of a larger capacity is cut to the schema's, oldest events first.
    ///
    /// # Errors
    /// `state_version` for another version, `schema_mismatch` for another currency, `invalid_state` for
    /// anything that `snapshot` could not have written.
    pub fn restore(bytes: &[u8], schema: &FeatureSchema) -> Result<Self> {
        let Some((head, rest)) = bytes.split_at_checked(HEAD) else {
            bail!(
                InvalidState,
                "a snapshot of {} bytes is too short; it was cut off or is not one",
                bytes.len()
            );
        };
        let (magic, rules) = head.split_at(MAGIC.len() + 1);
        if !magic.starts_with(MAGIC) {
            bail!(InvalidState, "the bytes do not begin like a snapshot of a member's state");
        }
        if magic.last() != Some(&VERSION) {
            bail!(
                StateVersion,
                "the snapshot has version {:?}; this build reads {VERSION}; observe the events again",
                magic.last()
            );
        }
        let Some((body, check)) = rest.len().checked_sub(TAIL).and_then(|at| rest.split_at_checked(at))
        else {
            bail!(InvalidState, "the snapshot was cut off");
        };
        if check != checksum(bytes.get(..HEAD + body.len()).unwrap_or_default()) {
            bail!(InvalidState, "the snapshot's check sum does not fit: it was changed or cut off");
        }
        if rules != schema.money_hash() {
            bail!(SchemaMismatch, "the snapshot was made under another currency; observe the events again");
        }
        match postcard::take_from_bytes::<Body>(body) {
            Ok((body, [])) => Self::from_body(body, schema),
            Ok(_) => bail!(InvalidState, "the snapshot has bytes behind its end"),
            Err(e) => bail!(InvalidState, "the snapshot cannot be decoded: {e}"),
        }
    }

    fn from_body(body: Body, schema: &FeatureSchema) -> Result<Self> {
        let mut previous = 0;
        let log = body.log.iter().map(|r| r.event(&mut previous)).collect::<Result<VecDeque<_>>>()?;
        let newest = body.newest_forgotten.map(|r| r.event(&mut 0)).transpose()?;
        let ordered = newest.iter().chain(&log).is_sorted();
        let mut ids: Vec<u64> = log.iter().map(|event| event.id).filter(|&id| id != 0).collect();
        ids.sort_unstable();
        let distinct = ids.is_sorted_by(|a, b| a < b);
        if !ordered || !distinct || !are_sound(&body.totals, newest.as_ref()) {
            bail!(InvalidState, "the snapshot holds what no history can");
        }
        let mut state =
            Self { log, forgotten: Forgotten { newest, totals: body.totals }, ..Self::new(schema) };
        state.forget();
        Ok(state)
    }
}

/// Whether totals could be those of forgotten events of which `newest` is the last.
fn are_sound(totals: &[KindTotals], newest: Option<&Event>) -> bool {
    const MOST: u64 = 1 << 40;
    let Some(newest) = newest else { return totals.is_empty() };
    let each = totals.iter().all(|t| {
        (1..=MOST).contains(&t.count)
            && t.amount >= 0
            && t.discount >= 0
            && t.first <= t.last
            && t.last <= newest.time
    });
    each && totals.is_sorted_by(|a, b| a.kind < b.kind) && totals.iter().any(|t| t.last == newest.time)
}

impl Record {
    fn of(event: &Event, previous: &mut i64) -> Self {
        let after = event.time.ms() - *previous;
        *previous = event.time.ms();
        Self {
            after: after.unsigned_abs(),
            id: event.id,
            kind: event.kind,
            order: event.order,
            item: event.item,
            category: event.category,
            channel: event.channel,
            quantity: event.quantity,
            amount: event.amount,
            discount: event.discount,
        }
    }

    fn event(&self, previous: &mut i64) -> Result<Event> {
        let money = |minor: i64| Some(minor).filter(|m| (0..=crate::money::MAX_MINOR).contains(m));
        let time = i64::try_from(self.after)
            .ok()
            .and_then(|after| previous.checked_add(after))
            .and_then(|ms| Timestamp::from_ms(ms).ok());
        let (Some(time), Some(amount), Some(discount)) = (time, money(self.amount), money(self.discount))
        else {
            bail!(InvalidState, "the snapshot has an event with an impossible time or amount");
        };
        *previous = time.ms();
        Ok(Event {
            time,
            id: self.id,
            kind: self.kind,
            order: self.order,
            item: self.item,
            category: self.category,
            channel: self.channel,
            quantity: self.quantity,
            amount,
            discount,
        })
    }
}

/// Enough of a SHA-256 to notice damage; not meant to stop a forger.
fn checksum(bytes: &[u8]) -> [u8; TAIL] {
    sha256_prefix(bytes)
}
