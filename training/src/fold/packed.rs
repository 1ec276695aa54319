//! Events as bytes, one after the other: between the stages of a query, and for what a store keeps beyond a member's
//! capacity. Whoever stores them says which version they are of.
//!
//! An event is its kind, a bit for each field that it has, six bytes of time, and those fields: 8 bytes for the least, about
//! 35 for a line of an order. Names and identities are hashes, and so of one length; money is a varint.

use datafusion::error::{DataFusionError, Result};
use prost::encoding::{decode_varint, encode_varint};
use tiercast_core::{Event, EventKind, Origin, Place, Timestamp};

/// Changes when the bytes of an event do.
pub(crate) const VERSION: u8 = 1;

/// The tag of a custom kind; the built-in ones are numbered by their place in [`EventKind::BUILT_IN`].
const CUSTOM: u8 = u8::MAX;

/// Set in a built-in kind's tag, and taken off the custom one's, where behind the event is said where it came from.
const COMES_FROM: u8 = 1 << 6;

/// Thousandths of one unit, which most events have.
const ONE: u32 = 1000;

/// Appends an event.
pub(crate) fn write(event: &Event, bytes: &mut Vec<u8>) {
    let (tag, custom) = match event.kind {
        EventKind::Custom(name) => (CUSTOM, Some(name)),
        kind => {
            let place = EventKind::BUILT_IN.iter().position(|(_, known)| *known == kind);
            (place.unwrap_or_default() as u8, None)
        }
    };
    let words = [event.order, event.item, event.category, event.channel, event.quantity ^ ONE];
    let money = [event.amount, event.discount];
    let bit = |at: usize, has: bool| u8::from(has) << at;
    let mut has = bit(0, event.id != 0);
    words.iter().enumerate().for_each(|(at, word)| has |= bit(1 + at, *word != 0));
    money.iter().enumerate().for_each(|(at, minor)| has |= bit(6 + at, *minor != 0));
    let comes_from = event.origin != Origin::default();
    bytes.push(if comes_from { tag ^ COMES_FROM } else { tag });
    bytes.push(has);
    // Valid times are from 1970 to 2200, which is 43 bits.
    bytes.extend_from_slice(&event.time.ms().to_le_bytes()[..6]);
    custom.iter().for_each(|name| bytes.extend_from_slice(&name.to_le_bytes()));
    if event.id != 0 {
        bytes.extend_from_slice(&event.id.to_le_bytes());
    }
    words.iter().filter(|word| **word != 0).for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    money.iter().filter(|minor| **minor != 0).for_each(|minor| encode_varint(minor.cast_unsigned(), bytes));
    if comes_from {
        let Origin { device, card, address, network, place, device_members } = event.origin;
        [device, card, address, network].iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        bytes.extend_from_slice(&place.bytes());
        bytes.push(device_members);
    }
}

/// Appends the events that some bytes are.
///
/// # Errors
/// When they are not events.
pub(crate) fn read_into(mut bytes: &[u8], events: &mut Vec<Event>) -> Result<()> {
    while !bytes.is_empty() {
        events.push(read(&mut bytes).ok_or_else(corrupt)?);
    }
    Ok(())
}

/// The time of the first event in milliseconds, without a look at the rest.
pub(crate) fn time_of(bytes: &[u8]) -> i64 {
    let mut time = [0; 8];
    time.iter_mut().zip(bytes.get(2..8).unwrap_or_default()).for_each(|(to, from)| *to = *from);
    i64::from_le_bytes(time)
}

fn read(bytes: &mut &[u8]) -> Option<Event> {
    let (head, mut rest) = bytes.split_at_checked(8)?;
    let (tag, bits) = (head[0], head[1]);
    let has = |at: u8| bits & 1 << at != 0;
    // No built-in kind has so high a number.
    let custom = tag | COMES_FROM == CUSTOM;
    let comes_from = (tag & COMES_FROM != 0) != custom;
    let kind = match custom {
        true => EventKind::Custom(word(&mut rest)?),
        false => EventKind::BUILT_IN.get(usize::from(tag & !COMES_FROM))?.1,
    };
    let id = if has(0) { u64::from_le_bytes(take(&mut rest)?) } else { 0 };
    let mut words = [0; 5];
    for (at, slot) in (1..).zip(&mut words) {
        *slot = if has(at) { word(&mut rest)? } else { 0 };
    }
    let mut money = [0; 2];
    for (at, slot) in (6..).zip(&mut money) {
        *slot = if has(at) { decode_varint(&mut rest).ok()?.cast_signed() } else { 0 };
    }
    let ([order, item, category, channel, quantity], [amount, discount]) = (words, money);
    let time = Timestamp::from_ms(time_of(head)).ok()?;
    let origin = if comes_from { origin(&mut rest)? } else { Origin::default() };
    *bytes = rest;
    let quantity = quantity ^ ONE;
    Some(Event { time, id, kind, order, item, category, channel, quantity, amount, discount, origin })
}

fn origin(bytes: &mut &[u8]) -> Option<Origin> {
    let [device, card, address, network] = [word(bytes)?, word(bytes)?, word(bytes)?, word(bytes)?];
    let (place, [device_members]) = (Place::of_bytes(take(bytes)?)?, take(bytes)?);
    Some(Origin { device, card, address, network, place, device_members })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn word(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

fn corrupt() -> DataFusionError {
    DataFusionError::Internal("packed events are damaged".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_they_were() {
        let full = |kind| Event {
            time: Timestamp::from_ms(7_258_118_399_999).unwrap(),
            id: u64::MAX - 1,
            kind,
            order: 1,
            item: u32::MAX,
            category: 2,
            channel: 3,
            quantity: 4,
            amount: 1_000_000_000_000_000,
            discount: 5,
            origin: Origin::default(),
        };
        let least = Event {
            time: Timestamp::from_ms(0).unwrap(),
            id: 0,
            kind: EventKind::View,
            order: 0,
            item: 0,
            category: 0,
            channel: 0,
            quantity: ONE,
            amount: 0,
            discount: 0,
            origin: Origin::default(),
        };
        let kinds = EventKind::BUILT_IN.map(|(_, kind)| kind).into_iter().chain([EventKind::Custom(77)]);
        let mut events: Vec<_> = kinds.map(full).collect();
        events.extend([least, Event { quantity: 0, ..least }, Event { channel: 9, amount: 250, ..least }]);
        let origin = Origin {
            device: 1,
            card: 2,
            address: u32::MAX,
            network: 4,
            place: Place::at(52.5, 13.4).unwrap(),
            device_members: 5,
        };
        events.extend(events.clone().into_iter().map(|event| Event { origin, ..event }));
        let mut bytes = Vec::new();
        events.iter().for_each(|event| write(event, &mut bytes));
        let mut found = Vec::new();
        read_into(&bytes, &mut found).unwrap();
        assert_eq!(found, events);
        assert_eq!(time_of(&bytes), events[0].time.ms());
        for event in &events {
            let mut alone = Vec::new();
            write(event, &mut alone);
            for cut in 1..alone.len() {
                assert!(read_into(&alone[..cut], &mut Vec::new()).is_err(), "{event:?} cut to {cut}");
            }
        }
        let mut alone = Vec::new();
        write(&least, &mut alone);
        assert_eq!(alone.len(), 8);
        alone[0] = 9;
        assert!(read_into(&alone, &mut Vec::new()).is_err(), "no such kind");
    }
}
