//! Rows of canonical columns as events.

use std::{borrow::Cow, fmt};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, Float64Array, Int64Array, StringArray},
        datatypes::DataType,
    },
    error::{DataFusionError, Result},
};
use tiercast_core::{Event, EventInput, EventRules, Scalar};

use super::{FIELDS, ORIGINS};

/// A row that is not an event, with the code that every runtime gives for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Stable name of the mistake, for example `invalid_amount`.
    pub code: String,
    /// What was found and what would be accepted.
    pub message: String,
}

impl RowError {
    fn missing(field: &str) -> Self {
        Self { code: "invalid_event".into(), message: format!("`{field}` is null; every event has one") }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for RowError {}

/// The columns of one batch: `member` and [`FIELDS`], with or without the last [`ORIGINS`].
#[derive(Debug)]
pub struct EventColumns<'a> {
    member: &'a StringArray,
    kind: &'a StringArray,
    time: Numbers<'a>,
    id: &'a StringArray,
    amount: Numbers<'a>,
    discount: Numbers<'a>,
    quantity: Numbers<'a>,
    item: &'a StringArray,
    category: &'a StringArray,
    channel: &'a StringArray,
    order: &'a StringArray,
    origins: Option<Origins<'a>>,
}

/// Where events came from.
#[derive(Debug)]
struct Origins<'a> {
    device: &'a StringArray,
    card: &'a StringArray,
    address: &'a StringArray,
    ip: &'a StringArray,
    latitude: Numbers<'a>,
    longitude: Numbers<'a>,
    device_members: Numbers<'a>,
}

#[derive(Debug)]
enum Numbers<'a> {
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Text(&'a StringArray),
}

impl<'a> EventColumns<'a> {
    /// Takes the arrays of `member` and [`FIELDS`], with or without the last [`ORIGINS`].
    ///
    /// # Errors
    /// When an array has a type that [`Events::frame`](super::Events::frame) does not give.
    pub fn new(arrays: &'a [ArrayRef]) -> Result<Self> {
        let [member, arrays @ ..] = arrays else { return Err(missing(0)) };
        let origins = match arrays.len().checked_sub(FIELDS.len() - ORIGINS) {
            Some(0) => None,
            Some(ORIGINS) => Some(Origins::new(&arrays[FIELDS.len() - ORIGINS..])?),
            _ => return Err(missing(arrays.len())),
        };
        Ok(Self {
            member: text(member)?,
            kind: text(&arrays[0])?,
            time: numbers(&arrays[1])?,
            id: text(&arrays[2])?,
            amount: numbers(&arrays[3])?,
            discount: numbers(&arrays[4])?,
            quantity: numbers(&arrays[5])?,
            item: text(&arrays[6])?,
            category: text(&arrays[7])?,
            channel: text(&arrays[8])?,
            order: text(&arrays[9])?,
            origins,
        })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.member.len()
    }

    /// Whose event a row is, if it says so.
    pub fn member(&self, row: usize) -> Option<&'a str> {
        self.member.is_valid(row).then(|| self.member.value(row))
    }

    /// One row in the wire form; numbers stay numbers, texts are borrowed.
    ///
    /// # Errors
    /// When the member, the kind or the time is null.
    pub fn input(&self, row: usize) -> Result<EventInput<'a>, RowError> {
        self.member(row).ok_or_else(|| RowError::missing("member"))?;
        let kind = cell(self.kind, row).ok_or_else(|| RowError::missing("kind"))?;
        let time = self.time.scalar(row).ok_or_else(|| RowError::missing("time"))?;
        let mut input = EventInput::new(kind, epoch_text(time));
        input.id = cell(self.id, row);
        input.amount = self.amount.scalar(row);
        input.discount = self.discount.scalar(row);
        input.quantity = self.quantity.float(row);
        input.item = cell(self.item, row);
        input.category = cell(self.category, row);
        input.channel = cell(self.channel, row);
        input.order = cell(self.order, row);
        if let Some(origins) = &self.origins {
            origins.fill(row, &mut input);
        }
        Ok(input)
    }

    /// One row as a validated event.
    ///
    /// # Errors
    /// The code and message of core's validation.
    pub fn event(&self, row: usize, rules: &EventRules) -> Result<Event, RowError> {
        self.input(row)?
            .validate(rules)
            .map_err(|error| RowError { code: error.code().to_owned(), message: error.message().to_owned() })
    }
}

impl<'a> Origins<'a> {
    fn new(arrays: &'a [ArrayRef]) -> Result<Self> {
        Ok(Self {
            device: text(&arrays[0])?,
            card: text(&arrays[1])?,
            address: text(&arrays[2])?,
            ip: text(&arrays[3])?,
            latitude: numbers(&arrays[4])?,
            longitude: numbers(&arrays[5])?,
            device_members: numbers(&arrays[6])?,
        })
    }

    fn fill(&self, row: usize, input: &mut EventInput<'a>) {
        input.device = cell(self.device, row);
        input.card = cell(self.card, row);
        input.address = cell(self.address, row);
        input.ip = cell(self.ip, row);
        input.latitude = self.latitude.float(row);
        input.longitude = self.longitude.float(row);
        input.device_members = self.device_members.float(row);
    }
}

impl<'a> Numbers<'a> {
    /// A number of a column that is read as floats wherever it is given.
    fn float(&self, row: usize) -> Option<f64> {
        match self {
            Self::Float(array) => array.is_valid(row).then(|| array.value(row)),
            _ => None,
        }
    }

    fn scalar(&self, row: usize) -> Option<Scalar<'a>> {
        match self {
            Self::Int(array) => array.is_valid(row).then(|| Scalar::Int(array.value(row))),
            Self::Float(array) => array.is_valid(row).then(|| Scalar::Float(array.value(row))),
            Self::Text(array) => cell(array, row).map(Scalar::Text),
        }
    }
}

/// Milliseconds that became text because another table gives ISO text.
fn epoch_text(time: Scalar<'_>) -> Scalar<'_> {
    match &time {
        Scalar::Text(text) => text.parse().map_or(time, Scalar::Int),
        _ => time,
    }
}

fn cell(array: &StringArray, row: usize) -> Option<Cow<'_, str>> {
    array.is_valid(row).then(|| Cow::Borrowed(array.value(row)))
}

fn text(array: &ArrayRef) -> Result<&StringArray> {
    array.as_any().downcast_ref().ok_or_else(|| unexpected(array.data_type()))
}

fn numbers(array: &ArrayRef) -> Result<Numbers<'_>> {
    let any = array.as_any();
    None.or_else(|| any.downcast_ref().map(Numbers::Int))
        .or_else(|| any.downcast_ref().map(Numbers::Float))
        .or_else(|| any.downcast_ref().map(Numbers::Text))
        .ok_or_else(|| unexpected(array.data_type()))
}

fn missing(found: usize) -> DataFusionError {
    DataFusionError::Internal(format!(
        "{found} event columns; the fold takes the member and {}",
        FIELDS.len()
    ))
}

fn unexpected(found: &DataType) -> DataFusionError {
    DataFusionError::Internal(format!("an event column has type {found}"))
}
