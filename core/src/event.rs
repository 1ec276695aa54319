//! A member's events: the wire form that people send, and the validated form that features read.
//!
//! [`EventInput::validate`] is the only check of an event; nothing else in the crate checks one again.
//! Names (items, categories, channels, orders) are kept as hashes: features count and compare them, and never print them.

use alloc::{borrow::Cow, string::String, vec::Vec};

use serde::{Deserialize, Serialize, Serializer};

mod read;

use crate::{
    error::{Error, ErrorKind, Quoted, Result, bail},
    money::Currency,
    origin::{Origin, Place, network},
    time::Timestamp,
};

/// The longest text field of an event, in bytes.
pub const MAX_TEXT: usize = 256;

/// The most custom kinds that a shop can declare.
pub const MAX_CUSTOM_KINDS: usize = 32;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// Goods were bought; `amount` is what was paid for them.
    Purchase,
    /// Goods came back; `amount` is what was paid back, as a positive number.
    Return,
    /// An item was looked at.
    View,
    /// An item was put into the cart.
    Cart,
    /// Something was searched for.
    Search,
    /// A visit to the shop or its site began.
    Session,
    /// The member signed in.
    Login,
    /// A review was written.
    Review,
    /// A coupon was redeemed.
    Coupon,
    /// A kind that the shop declared, by the hash of its name.
    Custom(u32),
}

impl EventKind {
    /// The built-in kinds and their names.
    pub const BUILT_IN: [(&'static str, Self); 9] = [
        ("purchase", Self::Purchase),
        ("return", Self::Return),
        ("view", Self::View),
        ("cart", Self::Cart),
        ("search", Self::Search),
        ("session", Self::Session),
        ("login", Self::Login),
        ("review", Self::Review),
        ("coupon", Self::Coupon),
    ];
}

/// What a shop's events look like: its currency and the kinds it adds to the built-in ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRules {
    /// The currency of every amount.
    pub currency: Currency,
    /// Names of the shop's own kinds, at most [`MAX_CUSTOM_KINDS`].
    #[serde(default)]
    pub custom_kinds: Vec<String>,
}

crate::wire::fields!(EventRules { currency, custom_kinds });

impl EventRules {
    /// Looks a kind up by its name.
    ///
    /// # Errors
    /// `unknown_kind` when the name is neither built in nor declared.
    pub fn kind(&self, name: &str) -> Result<EventKind> {
        if let Some((_, kind)) = EventKind::BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Ok(*kind);
        }
        if self.custom_kinds.iter().any(|known| known == name) {
            return Ok(EventKind::Custom(short_hash(name)));
        }
        let known: Vec<&str> = EventKind::BUILT_IN
            .iter()
            .map(|(known, _)| *known)
            .chain(self.custom_kinds.iter().map(String::as_str))
            .collect();
        bail!(
            UnknownKind,
            "{} is not a kind of event; use one of {} or declare it in custom_kinds",
            Quoted(clip(name)),
            known.join(", ")
        )
    }

    /// Checks the declaration itself.
    ///
    /// # Errors
    /// `invalid_spec` for a bad currency, a repeated or empty kind, or too many.
    pub fn check(&self) -> Result<()> {
        let Currency { code, exponent } = &self.currency;
        if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) || *exponent > 4 {
            bail!(
                InvalidSpec,
                "currency {} with exponent {exponent}: give a three-letter ISO 4217 code and 0 to 4 decimals",
                Quoted(clip(code))
            );
        }
        if self.custom_kinds.len() > MAX_CUSTOM_KINDS {
            bail!(InvalidSpec, "{} custom kinds; at most {MAX_CUSTOM_KINDS}", self.custom_kinds.len());
        }
        for (i, name) in self.custom_kinds.iter().enumerate() {
            let built_in = EventKind::BUILT_IN.iter().any(|(known, _)| known == name);
            let repeated = self.custom_kinds.iter().take(i).any(|n| short_hash(n) == short_hash(name));
            if built_in || repeated || check_text("custom kind", name).is_err() {
                bail!(
                    InvalidSpec,
                    "custom kind {} is built in, repeated, empty or too long",
                    Quoted(clip(name))
                );
            }
        }
        Ok(())
    }
}

/// A validated event: 80 bytes, plain data.
///
/// Its order (time first, then every other field) is the canonical order in which features fold events,
/// so that the order of arrival never matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// When it happened.
    pub time: Timestamp,
    /// Hash of the event's identity, 0 if it has none. Events with the same identity count once.
    pub id: u64,
    /// What happened.
    pub kind: EventKind,
    /// Hash of the order or basket that the event belongs to, 0 if none.
    pub order: u32,
    /// Hash of the item, 0 if none.
    pub item: u32,
    /// Hash of the item's category, 0 if none.
    pub category: u32,
    /// Hash of the channel or store, 0 if none.
    pub channel: u32,
    /// Thousandths of a unit.
    pub quantity: u32,
    /// What was paid or paid back, minor units, never negative.
    pub amount: i64,
    /// What was taken off the price, minor units, never negative.
    pub discount: i64,
    /// Where it came from.
    pub origin: Origin,
}

/// A number or a text: how amounts and times arrive from JSON, JavaScript and tables.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// A whole number.
    Int(i64),
    /// Any other number, NaN included.
    Float(f64),
    /// A text, such as `"12.34"` or `"2017-03-31"`.
    Text(Cow<'a, str>),
}

/// An event as it is sent: the wire form of JSON bodies, JavaScript objects and table rows.
///
/// Required are `kind` and `time`. Unknown fields are refused, so that a misspelt one is not lost in silence.
/// Names (`id`, `item`, `category`, `channel`, `order`, `device`, `card`, `address`) are texts or whole numbers; 5 and `"5"` are the same name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventInput<'a> {
    /// Identity, for de-duplication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// A built-in or declared kind, for example `purchase`.
    pub kind: Cow<'a, str>,
    /// Milliseconds since 1970 in UTC, or an ISO 8601 date or date-time in UTC.
    pub time: Scalar<'a>,
    /// Major units: a decimal text (exact) or a number (nearest minor unit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Scalar<'a>>,
    /// The same in minor units, a whole number; give one of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<Scalar<'a>>,
    /// What was taken off the price, as `amount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount: Option<Scalar<'a>>,
    /// The same in minor units; give one of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount_minor: Option<Scalar<'a>>,
    /// Units, 1 if absent; kept to the thousandth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<f64>,
    /// The item's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Cow<'a, str>>,
    /// The item's category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Cow<'a, str>>,
    /// The channel or store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Cow<'a, str>>,
    /// The order or basket; lines of one order share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Cow<'a, str>>,
    /// The device that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Cow<'a, str>>,
    /// The card or other means that it was paid with: a token, never the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Cow<'a, str>>,
    /// The address that it goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Cow<'a, str>>,
    /// The IP address that it came from, of which only the network is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Cow<'a, str>>,
    /// Where it came from, in degrees; given with `longitude` or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Where it came from, in degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// How many members the shop has seen with the device until then, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_members: Option<f64>,
}

impl<'a> EventInput<'a> {
    /// An event with only a kind and a time.
    pub fn new(kind: impl Into<Cow<'a, str>>, time: Scalar<'a>) -> Self {
        Self {
            id: None,
            kind: kind.into(),
            time,
            amount: None,
            amount_minor: None,
            discount: None,
            discount_minor: None,
            quantity: None,
            item: None,
            category: None,
            channel: None,
            order: None,
            device: None,
            card: None,
            address: None,
            ip: None,
            latitude: None,
            longitude: None,
            device_members: None,
        }
    }

    /// The same, of texts of its own.
    pub fn into_owned(self) -> EventInput<'static> {
        let text = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        let scalar = |scalar: Scalar<'a>| match scalar {
            Scalar::Int(number) => Scalar::Int(number),
            Scalar::Float(number) => Scalar::Float(number),
            Scalar::Text(value) => Scalar::Text(text(value)),
        };
        EventInput {
            id: self.id.map(text),
            kind: text(self.kind),
            time: scalar(self.time),
            amount: self.amount.map(scalar),
            amount_minor: self.amount_minor.map(scalar),
            discount: self.discount.map(scalar),
            discount_minor: self.discount_minor.map(scalar),
            item: self.item.map(text),
            category: self.category.map(text),
            channel: self.channel.map(text),
            order: self.order.map(text),
            device: self.device.map(text),
            card: self.card.map(text),
            address: self.address.map(text),
            ip: self.ip.map(text),
            quantity: self.quantity,
            latitude: self.latitude,
            longitude: self.longitude,
            device_members: self.device_members,
        }
    }

    /// Reads one event from JSON text.
    ///
    /// # Errors
    /// `invalid_event` with the line and column where reading stopped.
    pub fn from_json(json: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|e| Error::new(ErrorKind::InvalidEvent, alloc::format!("not an event: {e}")))
    }

    /// Checks every field and turns names into hashes.
    ///
    /// # Errors
    /// `unknown_kind`, `invalid_time`, `invalid_amount`, `invalid_quantity`, `invalid_text` or `invalid_origin`, naming the
    /// field.
    pub fn validate(&self, rules: &EventRules) -> Result<Event> {
        let currency = &rules.currency;
        Ok(Event {
            kind: rules.kind(&self.kind)?,
            time: read_time(&self.time)?,
            id: self.id.as_deref().map_or(Ok(0), |id| check_text("id", id).map(hash))?,
            order: code("order", self.order.as_deref())?,
            item: code("item", self.item.as_deref())?,
            category: code("category", self.category.as_deref())?,
            channel: code("channel", self.channel.as_deref())?,
            quantity: read_quantity(self.quantity)?,
            amount: read_amount(currency, "amount", self.amount.as_ref(), self.amount_minor.as_ref())?,
            discount: read_amount(
                currency,
                "discount",
                self.discount.as_ref(),
                self.discount_minor.as_ref(),
            )?,
            origin: self.origin()?,
        })
    }

    fn origin(&self) -> Result<Origin> {
        Ok(Origin {
            device: code("device", self.device.as_deref())?,
            card: code("card", self.card.as_deref())?,
            address: code("address", self.address.as_deref())?,
            network: self.ip.as_deref().map_or(Ok(0), network)?,
            place: match (self.latitude, self.longitude) {
                (None, None) => Place::default(),
                (Some(latitude), Some(longitude)) => Place::at(latitude, longitude)?,
                _ => bail!(InvalidOrigin, "a place is a latitude and a longitude; give both or neither"),
            },
            device_members: match self.device_members {
                None => 0,
                Some(members) if members >= 0.0 && members == crate::math::floor(members) => members as u8,
                Some(_) => bail!(InvalidOrigin, "deviceMembers is not a whole number from 0"),
            },
        })
    }
}

fn read_time(time: &Scalar<'_>) -> Result<Timestamp> {
    match (time, time.whole()) {
        (_, Some(ms)) => Timestamp::from_ms(ms),
        (Scalar::Text(text), _) => Timestamp::parse(text),
        _ => bail!(InvalidTime, "the timestamp is not a whole number of milliseconds since 1970 in UTC"),
    }
}

fn read_quantity(quantity: Option<f64>) -> Result<u32> {
    let Some(units) = quantity else { return Ok(1000) };
    let thousandths = crate::math::round(units * 1000.0);
    if !(0.0..=f64::from(u32::MAX)).contains(&thousandths) || units < 0.0 {
        bail!(InvalidQuantity, "the quantity is not a number from 0 to 4294967");
    }
    Ok(thousandths as u32)
}

fn read_amount(
    currency: &Currency,
    field: &str,
    major: Option<&Scalar<'_>>,
    minor: Option<&Scalar<'_>>,
) -> Result<i64> {
    match (major, minor) {
        (None, None) => Ok(0),
        (None, Some(minor)) => match minor.whole() {
            Some(minor) => currency.from_minor(minor),
            None => bail!(InvalidAmount, "{field}Minor is not a whole number of minor units"),
        },
        (Some(Scalar::Text(text)), None) => currency.parse(text),
        (Some(Scalar::Int(n)), None) => currency.from_f64(*n as f64),
        (Some(Scalar::Float(x)), None) => currency.from_f64(*x),
        (Some(_), Some(_)) => {
            bail!(InvalidAmount, "{field} and {field}Minor are both given; give one of them")
        }
    }
}

fn code(field: &str, text: Option<&str>) -> Result<u32> {
    text.map_or(Ok(0), |text| check_text(field, text).map(short_hash))
}

fn check_text<'t>(field: &str, text: &'t str) -> Result<&'t str> {
    if text.is_empty() || text.len() > MAX_TEXT {
        bail!(InvalidText, "{field} has {} bytes; leave it out or give 1 to {MAX_TEXT} bytes", text.len());
    }
    Ok(text)
}

/// The beginning of a text, short enough for an error message.
pub(crate) fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(64).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

/// 64-bit FNV-1a with MurmurHash3's finaliser; never 0, which means "none".
pub(crate) fn hash(text: &str) -> u64 {
    let mut h = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (h ^ (h >> 33)).max(1)
}

/// The hash that an event keeps of a name (an item's, a category's), never 0; two names share one with probability 2⁻³².
pub fn short_hash(text: &str) -> u32 {
    ((hash(text) >> 32) as u32).max(1)
}

impl Scalar<'_> {
    /// The whole number that this is; a float counts if it is one exactly.
    fn whole(&self) -> Option<i64> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Int(n) => Some(*n),
            Self::Float(x) if x.abs() <= EXACT && *x == crate::math::floor(*x) => Some(*x as i64),
            _ => None,
        }
    }
}

impl Serialize for Scalar<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(n) => serializer.serialize_i64(*n),
            Self::Float(x) => serializer.serialize_f64(*x),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> EventRules {
        EventRules {
            currency: Currency { code: "USD".into(), exponent: 2 },
            custom_kinds: alloc::vec!["stamp".into()],
        }
    }

    fn validate(json: &str) -> Result<Event> {
        EventInput::from_json(json.as_bytes())?.validate(&rules())
    }

    #[test]
    fn the_wire_form_is_read() {
        let event = validate(
            r#"{"kind":"purchase","time":1490918400000,"amount":"12.30","item":"a","quantity":1.5}"#,
        )
        .unwrap();
        assert_eq!((event.amount, event.quantity, event.id), (1230, 1500, 0));
        let numbers =
            validate(r#"{"kind":"purchase","time":1490918400000.0,"amountMinor":1230.0,"item":"5"}"#);
        assert_eq!(numbers, validate(r#"{"kind":"purchase","time":1490918400000,"amount":12.3,"item":5}"#));
        let same = validate(
            r#"{"kind":"purchase","time":"2017-03-31","amountMinor":1230,"item":"a","quantity":1.5}"#,
        )
        .unwrap();
        assert_eq!(event, same);
        assert!(matches!(validate(r#"{"kind":"stamp","time":0}"#).unwrap().kind, EventKind::Custom(_)));
    }

    #[test]
    fn each_mistake_has_its_code() {
        for (json, code) in [
            ("{", "invalid_event"),
            ("[]", "invalid_event"),
            (r#"[null,"purchase",0]"#, "invalid_event"),
            (r#"{"kind":"purchase"}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":0,"amuont":1}"#, "invalid_event"),
            (r#"{"kind":7,"time":0}"#, "invalid_event"),
            (r#"{"kind":null,"time":0}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":true}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":0,"time":0}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":0,"item":null,"item":"a"}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":0,"amountMinor":1,"amount_minor":1}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":0,"item":["a"]}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":0,"quantity":"2"}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":0,"ip":1}"#, "invalid_event"),
            (r#"{"kind":"buy","time":0}"#, "unknown_kind"),
            (r#"{"kind":"purchase","time":-1}"#, "invalid_time"),
            (r#"{"kind":"purchase","time":1e30}"#, "invalid_time"),
            (r#"{"kind":"purchase","time":"yesterday"}"#, "invalid_time"),
            (r#"{"kind":"purchase","time":0,"amount":-1}"#, "invalid_amount"),
            (r#"{"kind":"purchase","time":0,"amount":"NaN"}"#, "invalid_amount"),
            (r#"{"kind":"purchase","time":0,"amount":-0.001}"#, "invalid_amount"),
            (r#"{"kind":"purchase","time":0,"amountMinor":1.5}"#, "invalid_amount"),
            (r#"{"kind":"purchase","time":0.5}"#, "invalid_time"),
            (r#"{"kind":"purchase","time":0,"item":1.5}"#, "invalid_event"),
            (r#"{"kind":"purchase","time":0,"amount":1,"amountMinor":100}"#, "invalid_amount"),
            (r#"{"kind":"purchase","time":0,"quantity":-2}"#, "invalid_quantity"),
            (r#"{"kind":"purchase","time":0,"item":""}"#, "invalid_text"),
        ] {
            assert_eq!(validate(json).unwrap_err().code(), code, "{json}");
        }
        let mut nan = EventInput::new("purchase", Scalar::Int(0));
        nan.amount = Some(Scalar::Float(f64::NAN));
        assert_eq!(nan.validate(&rules()).unwrap_err().code(), "invalid_amount");
    }

    #[test]
    fn where_an_event_came_from_is_kept_as_little_as_can_be() {
        let event = validate(
            r#"{"kind":"login","time":0,"device":"d","card":7,"address":"a","ip":"203.0.113.7","latitude":52.5,
                "longitude":13.4,"deviceMembers":3}"#,
        );
        let Origin { device, card, address, network, place, device_members } = event.unwrap().origin;
        assert_eq!((device, card, address), (short_hash("d"), short_hash("7"), short_hash("a")));
        assert_eq!((network, device_members), (super::network("203.0.113.9").unwrap(), 3));
        assert_eq!(place, Place::at(52.51, 13.39).unwrap());
        let many = validate(r#"{"kind":"login","time":0,"device_members":1e300}"#).unwrap();
        assert_eq!(many.origin, Origin { device_members: 255, ..Origin::default() });
        for (origin, code) in [
            (r#""ip":"localhost""#, "invalid_origin"),
            (r#""latitude":1"#, "invalid_origin"),
            (r#""latitude":91,"longitude":0"#, "invalid_origin"),
            (r#""deviceMembers":-1"#, "invalid_origin"),
            (r#""deviceMembers":1.5"#, "invalid_origin"),
            (r#""device":"""#, "invalid_text"),
            (r#""ip":7"#, "invalid_event"),
        ] {
            let refused = validate(&alloc::format!(r#"{{"kind":"login","time":0,{origin}}}"#));
            assert_eq!(refused.unwrap_err().code(), code, "{origin}");
        }
    }

    #[test]
    fn an_event_is_as_small_as_its_doc_says() {
        assert_eq!(size_of::<Event>(), 80);
    }

    #[test]
    fn declarations_are_checked() {
        let bad = |kinds: &[&str]| EventRules {
            custom_kinds: kinds.iter().map(|&k| k.into()).collect(),
            ..rules()
        };
        for kinds in [&["purchase"][..], &["a", "a"], &[""]] {
            assert_eq!(bad(kinds).check().unwrap_err().code(), "invalid_spec");
        }
        assert!(rules().check().is_ok());
    }
}
