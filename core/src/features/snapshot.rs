//! A member's history as bytes: what the browser stores, what the edge is sent.
//!
//! Layout: `TCS`, a version byte, the hash of the currency (8 bytes), the body, and a check sum of all that (4 bytes).
//! About 35 bytes an event, 20 more where it is told where it came from. The body is postcard's: varints (zigzag where signed) and little-endian words, lists with
//! their length before them. It is read and written by hand, because it is most of the work of a request to the edge.
//! A snapshot survives a change of features and of custom kinds; it does not survive a change of currency, which would
//! change what its amounts mean.

use alloc::{collections::VecDeque, vec::Vec};

use super::{
    FeatureSchema,
    identities::Identities,
    state::{Forgotten, KindTotals, MemberState},
};
use crate::{
    checksum::checksum,
    error::{Result, bail},
    event::{Event, EventKind},
    money::MAX_MINOR,
    origin::{Origin, Place},
    time::Timestamp,
    wire::{Reader, Writer},
};

const MAGIC: &[u8; 3] = b"TCS";
const VERSION: u8 = 2;
const HEAD: usize = 12;
const TAIL: usize = 4;

/// Bytes of an event, as a rule.
const EVENT: usize = 40;

/// The fewest bytes of an event: no list is longer than its bytes allow.
const LEAST: usize = 29;

impl MemberState {
    /// Writes the history as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(HEAD + 64 + self.log.len() * EVENT));
        out.bytes(MAGIC);
        out.bytes(&[VERSION]);
        out.bytes(&self.money);
        out.bytes(&[u8::from(self.forgotten.newest.is_some())]);
        if let Some(newest) = &self.forgotten.newest {
            write_event(&mut out, newest, 0);
        }
        out.varint(self.forgotten.totals.len() as u64);
        self.forgotten.totals.iter().for_each(|totals| write_totals(&mut out, totals));
        write_events(&mut out, self.log.iter(), self.log.len());
        let check = checksum(&out.0) as u32;
        out.bytes(&check.to_le_bytes());
        out.0
    }

    /// Reads what [`MemberState::snapshot`] wrote.
    ///
    /// A snapshot of a larger capacity is cut to the schema's, oldest events first.
    ///
    /// # Errors
    /// `state_version` for another version, `schema_mismatch` for another currency, `invalid_state` for
    /// anything that `snapshot` could not have written.
    pub fn restore(bytes: &[u8], schema: &FeatureSchema) -> Result<Self> {
        let (money, body) = open(bytes)?;
        if money != schema.money_hash() {
            bail!(SchemaMismatch, "the snapshot was made under another currency; observe the events again");
        }
        Self::of(body, money, schema.spec().capacity)
    }

    /// Reads what [`MemberState::snapshot`] wrote in any currency, as a history of at most `capacity` events: for who
    /// keeps histories, and has to read them whatever bundle is at hand. [`MemberState::fit`] comes before scoring.
    ///
    /// # Errors
    /// `state_version` and `invalid_state`, as [`MemberState::restore`].
    pub fn restore_kept(bytes: &[u8], capacity: u32) -> Result<Self> {
        let (money, body) = open(bytes)?;
        Self::of(body, money, capacity)
    }

    fn of(body: &[u8], money: [u8; 8], capacity: u32) -> Result<Self> {
        let mut body = Reader(body);
        let (log, forgotten) = match read_body(&mut body) {
            Some(read) if body.0.is_empty() => read,
            Some(_) => bail!(InvalidState, "the snapshot has bytes behind its end"),
            None => bail!(
                InvalidState,
                "the snapshot ends early, or has an event with an impossible kind, time or amount"
            ),
        };
        let newest = forgotten.newest.as_ref();
        let ordered = newest.iter().copied().chain(&log).is_sorted();
        let identities = Identities::of_distinct(&log);
        let Some(identities) = identities.filter(|_| ordered && are_sound(&forgotten.totals, newest)) else {
            bail!(InvalidState, "the snapshot holds what no history can");
        };
        let mut state = Self { capacity: capacity as usize, money, log, identities, forgotten };
        state.forget();
        Ok(state)
    }
}

impl Event {
    /// Events in canonical order as bytes, about 35 an event: what is kept of a batch beside an earlier snapshot.
    pub fn pack(events: &[Self]) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(8 + events.len() * EVENT));
        write_events(&mut out, events.iter(), events.len());
        out.0
    }

    /// Reads what [`Event::pack`] wrote; none for anything else.
    pub fn unpack(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut body = Reader(bytes);
        read_events(&mut body).filter(|events| body.0.is_empty() && events.is_sorted())
    }
}

/// The currency's hash and the body of a snapshot that is whole and of this version.
fn open(bytes: &[u8]) -> Result<([u8; 8], &[u8])> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        bail!(InvalidState, "a snapshot of {} bytes is too short; it was cut off or is not one", bytes.len());
    };
    let [a, b, c, version, money @ ..] = *head;
    if [a, b, c] != *MAGIC {
        bail!(InvalidState, "the bytes do not begin like a snapshot of a member's state");
    }
    if version != VERSION {
        bail!(
            StateVersion,
            "the snapshot has version {version}; this build reads {VERSION}; observe the events again"
        );
    }
    let Some((body, check)) = rest.len().checked_sub(TAIL).and_then(|at| rest.split_at_checked(at)) else {
        bail!(InvalidState, "the snapshot was cut off");
    };
    let sum = checksum(bytes.get(..HEAD + body.len()).unwrap_or_default()) as u32;
    if check != sum.to_le_bytes() {
        bail!(InvalidState, "the snapshot's check sum does not fit: it was changed or cut off");
    }
    Ok((money, body))
}

/// The newest forgotten event, the totals of all forgotten ones, and the events kept.
fn read_body(body: &mut Reader<'_>) -> Option<(VecDeque<Event>, Forgotten)> {
    let newest = match body.byte()? {
        0 => None,
        1 => Some(read_event(body, 0)?),
        _ => return None,
    };
    let totals = (0..body.length(1)?).map(|_| read_totals(body)).collect::<Option<_>>()?;
    let log = read_events(body)?;
    Some((log.into(), Forgotten { newest, totals }))
}

fn write_events<'e>(out: &mut Writer, events: impl Iterator<Item = &'e Event>, length: usize) {
    out.varint(length as u64);
    let mut previous = 0;
    for event in events {
        write_event(out, event, previous);
        previous = event.time.ms();
    }
}

fn read_events(body: &mut Reader<'_>) -> Option<Vec<Event>> {
    let length = body.length(LEAST)?;
    let mut events = Vec::with_capacity(length);
    let mut previous = 0;
    for _ in 0..length {
        let event = read_event(body, previous)?;
        previous = event.time.ms();
        events.push(event);
    }
    Some(events)
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

/// Writes an event with its time as the distance from the one before it.
fn write_event(out: &mut Writer, event: &Event, previous: i64) {
    out.varint((event.time.ms() - previous).unsigned_abs());
    out.bytes(&event.id.to_le_bytes());
    let comes_from = event.origin != Origin::default();
    write_kind(out, event.kind, comes_from);
    for code in [event.order, event.item, event.category, event.channel] {
        out.bytes(&code.to_le_bytes());
    }
    out.varint(event.quantity.into());
    out.signed(event.amount);
    out.signed(event.discount);
    if comes_from {
        write_origin(out, &event.origin);
    }
}

fn write_origin(out: &mut Writer, origin: &Origin) {
    let Origin { device, card, address, network, place, device_members } = origin;
    for code in [device, card, address, network] {
        out.bytes(&code.to_le_bytes());
    }
    out.bytes(&place.bytes());
    out.bytes(&[*device_members]);
}

fn read_origin(body: &mut Reader<'_>) -> Option<Origin> {
    let [device, card, address, network] = [body.word()?, body.word()?, body.word()?, body.word()?];
    let origin = Origin {
        device,
        card,
        address,
        network,
        place: Place::of_bytes(body.bytes()?)?,
        device_members: body.byte()?,
    };
    // One history has one form as bytes.
    (origin != Origin::default()).then_some(origin)
}

fn read_event(body: &mut Reader<'_>, previous: i64) -> Option<Event> {
    let time = previous.checked_add_unsigned(body.varint()?)?;
    let id = u64::from_le_bytes(body.bytes()?);
    let (kind, comes_from) = read_kind(body)?;
    let [order, item, category, channel] = [body.word()?, body.word()?, body.word()?, body.word()?];
    Some(Event {
        time: Timestamp::from_ms(time).ok()?,
        id,
        kind,
        order,
        item,
        category,
        channel,
        quantity: u32::try_from(body.varint()?).ok()?,
        amount: read_money(body)?,
        discount: read_money(body)?,
        origin: if comes_from { read_origin(body)? } else { Origin::default() },
    })
}

fn write_totals(out: &mut Writer, totals: &KindTotals) {
    write_kind(out, totals.kind, false);
    out.signed(totals.first.ms());
    out.signed(totals.last.ms());
    out.varint(totals.count);
    out.signed(totals.amount);
    out.signed(totals.discount);
    out.varint(totals.quantity);
}

fn read_totals(body: &mut Reader<'_>) -> Option<KindTotals> {
    Some(KindTotals {
        kind: read_kind(body).filter(|(_, comes_from)| !comes_from)?.0,
        first: Timestamp::from_ms(body.signed()?).ok()?,
        last: Timestamp::from_ms(body.signed()?).ok()?,
        count: body.varint()?,
        amount: body.signed()?,
        discount: body.signed()?,
        quantity: body.varint()?,
    })
}

/// Set in the byte of a kind where it is said, behind the event, where that came from.
const COMES_FROM: u8 = 0x40;

/// A built-in kind as its number, the shop's own as the number after them and the hash of its name.
fn write_kind(out: &mut Writer, kind: EventKind, comes_from: bool) {
    let built_in = EventKind::BUILT_IN.iter().position(|(_, known)| *known == kind);
    let number = built_in.unwrap_or(EventKind::BUILT_IN.len()) as u8;
    out.bytes(&[if comes_from { number | COMES_FROM } else { number }]);
    if let EventKind::Custom(name) = kind {
        out.varint(name.into());
    }
}

fn read_kind(body: &mut Reader<'_>) -> Option<(EventKind, bool)> {
    let byte = body.byte()?;
    let number = usize::from(byte & !COMES_FROM);
    let kind = match EventKind::BUILT_IN.get(number) {
        Some((_, kind)) => *kind,
        None if number == EventKind::BUILT_IN.len() => EventKind::Custom(u32::try_from(body.varint()?).ok()?),
        None => return None,
    };
    Some((kind, byte & COMES_FROM != 0))
}

fn read_money(body: &mut Reader<'_>) -> Option<i64> {
    body.signed().filter(|minor| (0..=MAX_MINOR).contains(minor))
}
