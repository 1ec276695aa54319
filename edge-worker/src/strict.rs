//! JSON as it was sent, with one meaning: an object that names a key twice is refused.
//!
//! [`serde_json::Value`] keeps the last of them, other readers the first, so a caller and the worker could understand
//! different things by one body.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// Characters of a key that a message repeats.
const LONGEST_KEY: usize = 64;

/// Any JSON value without repeated keys.
#[derive(Debug)]
pub(crate) struct Strict(pub(crate) Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any).map(Self)
    }
}

/// A list of such values, if there is one.
pub(crate) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Value>>, D::Error> {
    let list = Option::<Vec<Strict>>::deserialize(from)?;
    Ok(list.map(|values| values.into_iter().map(|Strict(value)| value).collect()))
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((key, Strict(value))) = object.next_entry::<String, Strict>()? {
            if values.contains_key(&key) {
                // A key can be as long as a body; the message need not.
                let start: String = key.chars().take(LONGEST_KEY).collect();
                return Err(A::Error::custom(format_args!("the key {start:?} is given twice")));
            }
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_else_is_read_as_serde_json_reads_it() {
        let json =
            r#"{"a":[1,-2,3.5,1e300,18446744073709551615,"\u0041",null,true,{"b":{}},[]],"c":{"a":1}}"#;
        let Strict(value) = serde_json::from_str(json).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(json).unwrap());
    }

    #[test]
    fn a_message_does_not_repeat_a_long_key() {
        let key = "é".repeat(100_000);
        let refusal = serde_json::from_str::<Strict>(&format!(r#"{{"{key}":1,"{key}":2}}"#)).unwrap_err();
        assert!(refusal.to_string().len() < 256, "{refusal}");
    }

    #[test]
    fn a_key_given_twice_is_refused_at_any_depth() {
        for json in [r#"{"a":1,"a":1}"#, r#"[[{"b":{"a":null,"a":2}}]]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(
                serde_json::from_str::<Strict>(json).unwrap_err().to_string().contains("given twice"),
                "{json}"
            );
        }
    }
}
