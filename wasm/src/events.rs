//! Events on their way from JavaScript: bytes, written by `web/src/events.ts`, read here into what the core checks.
//!
//! An event is its fields in the order of `FIELDS` there, each a tag and what the tag says: nothing, a number (64-bit float,
//! little-endian), or a text (length in 16 bits, little-endian, then UTF-8). Reading objects property by property would
//! cross the boundary a dozen times an event, and serde's reading of them is much code to download.

use std::borrow::Cow;

use tiercast_core::{EventInput, Scalar};

use crate::left::Refused;

const ABSENT: u8 = 0;
const NUMBER: u8 = 1;
const TEXT: u8 = 2;

/// Reads all events.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<EventInput<'_>>, Refused> {
    all(bytes)
        .ok_or_else(|| Refused::new("internal", "the events were not written by this version's `events.ts`"))
}

/// `None` is damage.
fn all(mut bytes: &[u8]) -> Option<Vec<EventInput<'_>>> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let mut next = || field(&mut bytes);
        let kind = text(next()?)??;
        let mut event = EventInput::new(kind, next()??);
        event.id = text(next()?)?;
        event.amount = next()?;
        event.amount_minor = next()?;
        event.discount = next()?;
        event.discount_minor = next()?;
        event.quantity = number(next()?)?;
        event.item = text(next()?)?;
        event.category = text(next()?)?;
        event.channel = text(next()?)?;
        event.order = text(next()?)?;
        event.device = text(next()?)?;
        event.card = text(next()?)?;
        event.address = text(next()?)?;
        event.ip = text(next()?)?;
        event.latitude = number(next()?)?;
        event.longitude = number(next()?)?;
        event.device_members = number(next()?)?;
        events.push(event);
    }
    Some(events)
}

/// The next field; the outer `None` is damage, the inner one an absent field.
fn field<'b>(bytes: &mut &'b [u8]) -> Option<Option<Scalar<'b>>> {
    match take(bytes, 1)? {
        [ABSENT] => Some(None),
        [NUMBER] => Some(Some(Scalar::Float(f64::from_le_bytes(take(bytes, 8)?.try_into().ok()?)))),
        [TEXT] => {
            let length = u16::from_le_bytes(take(bytes, 2)?.try_into().ok()?);
            let text = std::str::from_utf8(take(bytes, length.into())?).ok()?;
            Some(Some(Scalar::Text(Cow::Borrowed(text))))
        }
        _ => None,
    }
}

fn text(field: Option<Scalar<'_>>) -> Option<Option<Cow<'_, str>>> {
    match field {
        None => Some(None),
        Some(Scalar::Text(text)) => Some(Some(text)),
        Some(_) => None,
    }
}

fn number(field: Option<Scalar<'_>>) -> Option<Option<f64>> {
    match field {
        None => Some(None),
        Some(Scalar::Float(number)) => Some(Some(number)),
        Some(_) => None,
    }
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}
