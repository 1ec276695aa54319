//! Events as bytes between the stages of one query; never stored, so it has no version.

use datafusion::error::{DataFusionError, Result};
use tiercast_core::{Event, EventKind, Timestamp};

/// Bytes of one event.
const WIDTH: usize = 57;

/// The tag of a custom kind; the built-in ones are numbered by their place in [`EventKind::BUILT_IN`].
const CUSTOM: u8 = u8::MAX;

/// Appends an event.
pub(super) fn write(event: &Event, bytes: &mut Vec<u8>) {
    let (tag, custom) = match event.kind {
        EventKind::Custom(name) => (CUSTOM, name),
        kind => {
            (EventKind::BUILT_IN.iter().position(|(_, known)| *known == kind).unwrap_or_default() as u8, 0)
        }
    };
    bytes.push(tag);
    for word in [custom, event.order, event.item, event.category, event.channel, event.quantity] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for word in [event.time.ms(), event.id.cast_signed(), event.amount, event.discount] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
}

/// Reads the events of one group.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Event>> {
    bytes.chunks(WIDTH).map(|chunk| one(chunk).ok_or_else(corrupt)).collect()
}

fn one(chunk: &[u8]) -> Option<Event> {
    let (tag, rest) = chunk.split_first()?;
    let (shorts, longs) = rest.split_at_checked(24)?;
    let short = |at: usize| Some(u32::from_le_bytes(shorts.get(at * 4..at * 4 + 4)?.try_into().ok()?));
    let long = |at: usize| Some(i64::from_le_bytes(longs.get(at * 8..at * 8 + 8)?.try_into().ok()?));
    let kind = match *tag {
        CUSTOM => EventKind::Custom(short(0)?),
        tag => EventKind::BUILT_IN.get(usize::from(tag))?.1,
    };
    Some(Event {
        kind,
        order: short(1)?,
        item: short(2)?,
        category: short(3)?,
        channel: short(4)?,
        quantity: short(5)?,
        time: Timestamp::from_ms(long(0)?).ok()?,
        id: long(1)?.cast_unsigned(),
        amount: long(2)?,
        discount: long(3)?,
    })
}

fn corrupt() -> DataFusionError {
    DataFusionError::Internal("packed events of the fold are damaged".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_they_were() {
        let event = |kind| Event {
            time: Timestamp::from_ms(1_490_918_400_000).unwrap(),
            id: u64::MAX - 1,
            kind,
            order: 1,
            item: u32::MAX,
            category: 2,
            channel: 3,
            quantity: 4,
            amount: 1_000_000_000_000_000,
            discount: 5,
        };
        let kinds = EventKind::BUILT_IN.map(|(_, kind)| kind).into_iter().chain([EventKind::Custom(77)]);
        let events: Vec<_> = kinds.map(event).collect();
        let mut bytes = Vec::new();
        events.iter().for_each(|event| write(event, &mut bytes));
        assert_eq!(bytes.len(), events.len() * WIDTH);
        assert_eq!(read(&bytes).unwrap(), events);
        assert!(read(&bytes[..WIDTH + 1]).is_err());
    }
}
