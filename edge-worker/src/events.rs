//! Events as most callers write them, read without copying a text.
//!
//! What is read here is read as core reads it. What core also takes (a name that is a number, a number of any size) is
//! refused here, and read again by core.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, de};
use tiercast_core::{EventInput, Scalar};

/// An event whose texts are borrowed from the body.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Event<'a>(#[serde(borrow, with = "Borrowed")] pub(crate) EventInput<'a>);

/// The fields of [`EventInput`]; the compiler holds the two together.
#[derive(Deserialize)]
#[serde(remote = "EventInput", rename_all = "camelCase", deny_unknown_fields)]
struct Borrowed<'a> {
    #[serde(default, borrow, deserialize_with = "name")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "scalar")]
    time: Scalar<'a>,
    #[serde(default, borrow, deserialize_with = "some")]
    amount: Option<Scalar<'a>>,
    #[serde(default, borrow, deserialize_with = "some")]
    amount_minor: Option<Scalar<'a>>,
    #[serde(default, borrow, deserialize_with = "some")]
    discount: Option<Scalar<'a>>,
    #[serde(default, borrow, deserialize_with = "some")]
    discount_minor: Option<Scalar<'a>>,
    #[serde(default)]
    quantity: Option<f64>,
    #[serde(default, borrow, deserialize_with = "name")]
    item: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "name")]
    category: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "name")]
    channel: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "name")]
    order: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "name")]
    device: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "name")]
    card: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "name")]
    address: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "name")]
    ip: Option<Cow<'a, str>>,
    #[serde(default)]
    latitude: Option<f64>,
    #[serde(default)]
    longitude: Option<f64>,
    #[serde(default)]
    device_members: Option<f64>,
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'de>>::deserialize(from)?.map(|Text(text)| text))
}

fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Scalar<'de>>, D::Error> {
    struct Number<'a>(Scalar<'a>);
    impl<'de> Deserialize<'de> for Number<'de> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            scalar(from).map(Self)
        }
    }
    Ok(Option::<Number<'de>>::deserialize(from)?.map(|Number(number)| number))
}

fn scalar<'de, D: Deserializer<'de>>(from: D) -> Result<Scalar<'de>, D::Error> {
    from.deserialize_any(NumberOrText)
}

struct NumberOrText;

impl<'de> de::Visitor<'de> for NumberOrText {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(number))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        i64::try_from(number).map(Scalar::Int).map_err(E::custom)
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(number))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_here_is_what_core_reads() {
        let all = r#"{"id":"a","kind":"purchase","time":1,"amount":"1.50","amountMinor":2,"discount":0.5,"discountMinor":-1,
            "quantity":2.5,"item":"b\u0041","category":"c","channel":"d","order":"e","device":"f","card":"g",
            "address":"h","ip":"::1","latitude":1,"longitude":-2.5,"deviceMembers":3}"#;
        for json in [
            all,
            r#"{"kind":"view","time":"2017-03-31"}"#,
            r#"{"time":-1.5e3,"kind":"\u0041","quantity":3}"#,
            r#"{"kind":"view","time":1,"quantity":null,"item":null,"amount":null}"#,
        ] {
            let Event(event) = serde_json::from_str(json).unwrap();
            assert_eq!(event, EventInput::from_json(json.as_bytes()).unwrap(), "{json}");
        }
        let Event(event) = serde_json::from_str(all).unwrap();
        assert!(matches!(event.kind, Cow::Borrowed(_)) && matches!(event.order, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn what_core_refuses_is_refused_here() {
        for json in [
            r#"{"kind":"view"}"#,
            r#"{"time":1}"#,
            r#"{"kind":"view","time":1,"amuont":1}"#,
            r#"{"kind":"view","time":true}"#,
            r#"{"kind":"view","time":1,"time":1}"#,
            r#"{"kind":7,"time":1}"#,
            r#"{"kind":"view","time":1,"item":["a"]}"#,
        ] {
            assert!(serde_json::from_str::<Event<'_>>(json).is_err(), "{json}");
            assert!(EventInput::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
