//! A row of canonical columns as an event in bytes, by core's validation.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{BinaryArray, NullBufferBuilder, StringArray},
        buffer::{Buffer, OffsetBuffer},
        datatypes::DataType,
    },
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use tiercast_core::EventRules;

use super::{external, packed};
use crate::table::columns::EventColumns;

/// The scalar function that makes a row an event, or says why it is none.
#[derive(Debug)]
pub struct EventFunction {
    told: Told,
    progress: ProgressBar,
    signature: Signature,
}

/// Bytes of an event, as a rule.
const USUAL: usize = 40;

/// What the function is told, in bytes to another process too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    rules: EventRules,
    gives: Gives,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Gives {
    /// The event; the first row that is none is an error.
    Event,
    /// The event, or null.
    EventOrNull,
    /// Null, or code and message.
    Why,
}

impl EventFunction {
    /// Gives events in [`packed`] bytes; null for a row that is none, if such rows are left out.
    pub fn new(rules: EventRules, skip_invalid: bool, progress: ProgressBar) -> Self {
        let gives = if skip_invalid { Gives::EventOrNull } else { Gives::Event };
        Self::of(Told { rules, gives }, progress)
    }

    /// Gives `code: message` for a row that is not an event, and null for one that is.
    pub fn why(rules: EventRules) -> Self {
        Self::of(Told { rules, gives: Gives::Why }, ProgressBar::hidden())
    }

    fn of(told: Told, progress: ProgressBar) -> Self {
        Self { told, progress, signature: Signature::variadic_any(Volatility::Stable) }
    }

    /// The names that the function has.
    pub const NAMES: [&str; 2] = ["tiercast_event", "tiercast_why"];

    /// What another process needs for the same function.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&self.told).unwrap_or_default()
    }

    /// The function that [`EventFunction::encode`] wrote; it shows no progress.
    ///
    /// # Errors
    /// When the bytes are of something else.
    pub fn decode(bytes: &[u8]) -> serde_json::Result<Self> {
        Ok(Self::of(serde_json::from_slice(bytes)?, ProgressBar::hidden()))
    }
}

impl PartialEq for EventFunction {
    fn eq(&self, other: &Self) -> bool {
        self.told == other.told
    }
}

impl Eq for EventFunction {}

impl Hash for EventFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.told.gives.hash(state);
    }
}

impl ScalarUDFImpl for EventFunction {
    fn name(&self) -> &str {
        Self::NAMES[usize::from(self.told.gives == Gives::Why)]
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.told.gives {
            Gives::Why => DataType::Utf8,
            _ => DataType::Binary,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = args
            .args
            .into_iter()
            .map(|value| value.into_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let columns = EventColumns::new(&arrays)?;
        let events = columns.events(&self.told.rules);
        if self.told.gives == Gives::Why {
            let why: StringArray = events.map(|event| event.err().map(|why| why.to_string())).collect();
            return Ok(ColumnarValue::Array(Arc::new(why)));
        }
        let (mut bytes, mut lengths) =
            (Vec::with_capacity(columns.rows() * USUAL), Vec::with_capacity(columns.rows()));
        let mut valid = NullBufferBuilder::new(columns.rows());
        for event in events {
            let before = bytes.len();
            match event {
                Ok(event) => {
                    packed::write(&event, &mut bytes);
                    valid.append_non_null();
                }
                Err(_) if self.told.gives == Gives::EventOrNull => valid.append_null(),
                Err(error) => return Err(external(error)),
            }
            lengths.push(bytes.len() - before);
        }
        self.progress.inc(columns.rows() as u64);
        let offsets = OffsetBuffer::from_lengths(lengths);
        let events = BinaryArray::try_new(offsets, Buffer::from_vec(bytes), valid.finish())?;
        Ok(ColumnarValue::Array(Arc::new(events)))
    }
}
