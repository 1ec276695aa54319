//! How events are read from what serde reads: JSON, and objects of JavaScript.
//!
//! All values are read alike and given their types after that: a derived reader is many times as much code, once for each
//! source that events come from.

use alloc::borrow::Cow;
use core::fmt;

use serde::{Deserialize, Deserializer, de};

use super::{EventInput, Scalar};

/// The names that an event's fields are sent under, in the order of [`EventInput`], and other spellings of three of them.
const FIELDS: [&str; SENT + 3] = [
    "id",
    "kind",
    "time",
    "amount",
    "amountMinor",
    "discount",
    "discountMinor",
    "quantity",
    "item",
    "category",
    "channel",
    "order",
    "device",
    "card",
    "address",
    "ip",
    "latitude",
    "longitude",
    "deviceMembers",
    "amount_minor",
    "discount_minor",
    "device_members",
];
const SENT: usize = 19;

/// What a field's value may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Any,
    Number,
    Text,
    /// A text, or a whole number, which shops often have as identifiers.
    Name,
}

impl Type {
    fn of(field: &str) -> Self {
        match field {
            "kind" | "ip" => Self::Text,
            "quantity" | "latitude" | "longitude" | "deviceMembers" => Self::Number,
            "time" | "amount" | "amountMinor" | "discount" | "discountMinor" => Self::Any,
            _ => Self::Name,
        }
    }

    fn holds(self, value: &Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Any, _) => true,
            (Self::Number, Scalar::Text(_)) => false,
            (Self::Number, _) => true,
            (_, Scalar::Text(_)) => true,
            (Self::Text, _) => false,
            (Self::Name, number) => number.whole().is_some(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any => "a number or a text",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Name => "a text or a whole number",
        }
    }
}

/// Which field a name is of, as an index of [`FIELDS`].
struct Field(usize);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field of an event")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Field, E> {
                let field = match name {
                    "amount_minor" => "amountMinor",
                    "discount_minor" => "discountMinor",
                    "device_members" => "deviceMembers",
                    name => name,
                };
                let at = FIELDS.iter().position(|one| *one == field);
                at.map(Field).ok_or_else(|| E::unknown_field(name, &FIELDS))
            }
        }
        deserializer.deserialize_identifier(Visitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for EventInput<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = EventInput<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, as {\"kind\":\"purchase\",\"time\":1490918400000}")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = [const { None }; SENT];
                while let Some(Field(at)) = map.next_key()? {
                    if let Some(value) = values.get_mut(at)
                        && value.replace(map.next_value::<Option<Scalar<'_>>>()?).is_some()
                    {
                        return Err(de::Error::duplicate_field(FIELDS.get(at).copied().unwrap_or_default()));
                    }
                }
                let values = values.map(Option::flatten);
                for (field, value) in FIELDS.into_iter().zip(&values) {
                    match value {
                        None if ["kind", "time"].contains(&field) => {
                            return Err(de::Error::missing_field(field));
                        }
                        Some(value) if !Type::of(field).holds(value) => {
                            let expected = Type::of(field).name();
                            return Err(de::Error::custom(format_args!("{field} is not {expected}")));
                        }
                        _ => {}
                    }
                }
                EventInput::of(values).ok_or_else(|| de::Error::missing_field("kind"))
            }
        }
        deserializer.deserialize_struct("EventInput", &FIELDS, Visitor)
    }
}

impl<'a> EventInput<'a> {
    /// From the values of its fields, in their order and of their types; none without a kind or a time.
    fn of(values: [Option<Scalar<'a>>; SENT]) -> Option<Self> {
        let [
            id,
            kind,
            time,
            amount,
            amount_minor,
            discount,
            discount_minor,
            quantity,
            item,
            category,
            channel,
            order,
            device,
            card,
            address,
            ip,
            latitude,
            longitude,
            device_members,
        ] = values;
        Some(Self {
            kind: word(kind)?,
            time: time?,
            id: word(id),
            amount,
            amount_minor,
            discount,
            discount_minor,
            quantity: number(quantity),
            item: word(item),
            category: word(category),
            channel: word(channel),
            order: word(order),
            device: word(device),
            card: word(card),
            address: word(address),
            ip: word(ip),
            latitude: number(latitude),
            longitude: number(longitude),
            device_members: number(device_members),
        })
    }
}

/// A text; of a whole number its digits.
fn word(value: Option<Scalar<'_>>) -> Option<Cow<'_, str>> {
    match value? {
        Scalar::Text(text) => Some(text),
        number => number.whole().map(|number| Cow::Owned(alloc::format!("{number}"))),
    }
}

fn number(value: Option<Scalar<'_>>) -> Option<f64> {
    match value? {
        Scalar::Int(number) => Some(number as f64),
        Scalar::Float(number) => Some(number),
        Scalar::Text(_) => None,
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }
            fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Int(n))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
                Ok(i64::try_from(n).map_or(Scalar::Float(n as f64), Scalar::Int))
            }
            fn visit_f64<E>(self, x: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Float(x))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_is_written() {
        let all = r#"{"id":"a","kind":"purchase","time":1,"amount":"1.50","amountMinor":2,"discount":0.5,"discountMinor":-1,"quantity":2.5,"item":"b","category":"c","channel":"d","order":"e","device":"f","card":"g","address":"h","ip":"::1","latitude":1.0,"longitude":-2.5,"deviceMembers":3.0}"#;
        let event = EventInput::from_json(all.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), all);
        let texts = [&event.id, &event.item, &event.category, &event.channel, &event.order, &event.device];
        for text in texts.into_iter().chain([&event.card, &event.address, &event.ip]) {
            assert!(matches!(text, Some(Cow::Borrowed(_))), "{text:?}");
        }
        assert!(
            matches!(event.kind, Cow::Borrowed(_))
                && matches!(event.amount, Some(Scalar::Text(Cow::Borrowed(_))))
        );
        assert_eq!(event.clone().into_owned(), event);
        let value = serde_json::from_str::<serde_json::Value>(all).unwrap();
        assert_eq!(EventInput::deserialize(&value).unwrap(), event);
        let spelt = all.replace("amountMinor", "amount_minor").replace("discountMinor", "discount_minor");
        let spelt = spelt.replace("deviceMembers", "device_members");
        assert_eq!(EventInput::from_json(spelt.as_bytes()).unwrap(), event);
        let absent = r#"{"time":-1.5e3,"kind":"\u0041","quantity":null,"item":null,"amount":null,"ip":null}"#;
        assert_eq!(
            EventInput::from_json(absent.as_bytes()).unwrap(),
            EventInput::new("A", Scalar::Float(-1500.0))
        );
    }
}
