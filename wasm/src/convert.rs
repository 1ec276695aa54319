//! What crosses the boundary: events and moments in, objects and errors out.

use js_sys::{Error, Object, Reflect};
use serde::{Deserialize, Serialize, de::value::MapDeserializer};
use serde_wasm_bindgen::{Deserializer, Serializer};
use tiercast_core::{Bundle, EventInput, EventKind, FeatureInfo, Manifest, Period, Timestamp};
use wasm_bindgen::prelude::*;

/// A JavaScript `Error` with a `code`, on its way to be thrown.
#[derive(Debug)]
pub struct Thrown(JsValue);

impl Thrown {
    fn new(code: &str, message: &str) -> Self {
        let error = Error::new(message);
        // Setting a property of an object made a line above cannot fail.
        let _ = Reflect::set(&error, &"code".into(), &code.into());
        Self(error.into())
    }
}

impl From<tiercast_core::Error> for Thrown {
    fn from(error: tiercast_core::Error) -> Self {
        Self::new(error.code(), error.message())
    }
}

impl From<JsValue> for Thrown {
    fn from(value: JsValue) -> Self {
        Self(value)
    }
}

impl From<Thrown> for JsValue {
    fn from(thrown: Thrown) -> Self {
        thrown.0
    }
}

/// Reads the event at an index of what was sent.
///
/// An unknown field is refused, as in JSON. Reading by known names is several times faster than going through all
/// properties, but does not see the unknown ones: so their number is compared first.
pub(crate) fn event_input(index: usize, value: &JsValue) -> Result<EventInput<'static>, Thrown> {
    let refuse =
        |reason: &str| Thrown::new("invalid_event", &format!("event {index}: not an event: {reason}"));
    let object = value.dyn_ref::<Object>().ok_or_else(|| refuse("expected an object with kind and time"))?;
    match EventInput::deserialize(Deserializer::from(value.clone())) {
        Ok(event) if fields_of(&event) == Object::keys(object).length() => Ok(event),
        _ => every_property(object).map_err(|error| refuse(error.to_string().trim_start_matches("Error: "))),
    }
}

fn fields_of(event: &EventInput<'_>) -> u32 {
    let names = [&event.id, &event.item, &event.category, &event.channel, &event.order];
    let numbers = [&event.amount, &event.amount_minor, &event.discount, &event.discount_minor];
    let optional = names.iter().filter(|field| field.is_some()).count()
        + numbers.iter().filter(|field| field.is_some()).count()
        + usize::from(event.quantity.is_some());
    optional as u32 + 2
}

fn every_property(object: &Object) -> Result<EventInput<'static>, serde_wasm_bindgen::Error> {
    let fields = Object::entries(object).into_iter().filter_map(|entry| {
        let (name, value) = (Reflect::get_u32(&entry, 0).ok()?, Reflect::get_u32(&entry, 1).ok()?);
        (!value.is_undefined()).then(|| (name.as_string().unwrap_or_default(), Deserializer::from(value)))
    });
    EventInput::deserialize(MapDeserializer::new(fields))
}

/// Reads milliseconds since 1970.
pub(crate) fn moment(ms: f64) -> Result<Timestamp, Thrown> {
    if ms.trunc() != ms {
        return Err(Thrown::new(
            "invalid_time",
            &format!("timestamp {ms} is not a whole number of milliseconds since 1970 in UTC"),
        ));
    }
    // Out of i64's range the cast saturates, which the core refuses as well.
    Ok(Timestamp::from_ms(ms as i64)?)
}

/// Writes a value as plain objects, arrays, numbers and strings; what is absent becomes `null`.
pub(crate) fn to_js<T: Serialize>(value: &T) -> Result<JsValue, Thrown> {
    value
        .serialize(&Serializer::json_compatible())
        .map_err(|error| Thrown::new("internal", &error.to_string()))
}

/// What a bundle says of itself.
pub(crate) fn info(bundle: &Bundle) -> Result<JsValue, Thrown> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Info<'b, Card> {
        #[serde(flatten)]
        manifest: &'b Manifest,
        currency: &'b tiercast_core::Currency,
        event_kinds: Vec<&'b str>,
        capacity: u32,
        period: Period,
        tiers: Vec<TierInfo<'b>>,
        features: Vec<FeatureInfo>,
        card: &'b Card,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct TierInfo<'b> {
        name: &'b str,
        at_least: String,
        at_least_minor: i64,
    }

    let spec = bundle.schema().spec();
    let currency = &spec.events.currency;
    let tiers = bundle.rules().tiers.iter().map(|tier| TierInfo {
        name: &tier.name,
        at_least: currency.format(tier.at_least),
        at_least_minor: tier.at_least,
    });
    to_js(&Info {
        manifest: bundle.manifest(),
        currency,
        event_kinds: EventKind::BUILT_IN
            .iter()
            .map(|(name, _)| *name)
            .chain(spec.events.custom_kinds.iter().map(String::as_str))
            .collect(),
        capacity: spec.capacity,
        period: bundle.rules().period,
        tiers: tiers.collect(),
        features: bundle.schema().describe().collect(),
        card: bundle.card(),
    })
}
