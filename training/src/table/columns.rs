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

impl From<tiercast_core::Error> for RowError {
    fn from(error: tiercast_core::Error) -> Self {
        Self { code: error.code().to_owned(), message: error.message().to_owned() }
    }
}

/// The columns of one batch: `member` and [`FIELDS`], with or without the last [`ORIGINS`].
#[derive(Debug)]
pub struct EventColumns<'a> {
    member: &'a StringArray,
    kind: &'a StringArray,
    time: Numbers<'a>,
    id: Texts<'a>,
    amount: Numbers<'a>,
    discount: Numbers<'a>,
    quantity: Numbers<'a>,
    item: Texts<'a>,
    category: Texts<'a>,
    channel: Texts<'a>,
    order: Texts<'a>,
    origins: Option<Origins<'a>>,
}

/// Where events came from.
#[derive(Debug)]
struct Origins<'a> {
    device: Texts<'a>,
    card: Texts<'a>,
    address: Texts<'a>,
    ip: Texts<'a>,
    latitude: Numbers<'a>,
    longitude: Numbers<'a>,
    device_members: Numbers<'a>,
}

/// A column of texts that an event need not have; none where no row has one.
type Texts<'a> = Option<&'a StringArray>;

#[derive(Debug)]
enum Numbers<'a> {
    /// No row has one.
    None,
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
            id: texts(&arrays[2])?,
            amount: numbers(&arrays[3])?,
            discount: numbers(&arrays[4])?,
            quantity: numbers(&arrays[5])?,
            item: texts(&arrays[6])?,
            category: texts(&arrays[7])?,
            channel: texts(&arrays[8])?,
            order: texts(&arrays[9])?,
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
        let mut input = EventInput::new("", Scalar::Int(0));
        self.fill(row, &mut input)?;
        Ok(input)
    }

    /// One row as a validated event.
    ///
    /// # Errors
    /// The code and message of core's validation.
    pub fn event(&self, row: usize, rules: &EventRules) -> Result<Event, RowError> {
        Ok(self.input(row)?.validate(rules)?)
    }

    /// All rows as validated events, or what is wrong with them.
    pub fn events(&self, rules: &EventRules) -> impl Iterator<Item = Result<Event, RowError>> {
        // Most of its fields no row has: it is made once.
        let mut input = EventInput::new("", Scalar::Int(0));
        (0..self.rows()).map(move |row| {
            self.fill(row, &mut input)?;
            Ok(input.validate(rules)?)
        })
    }

    /// Makes an input, in which there is nothing or another row of this table, that of a row.
    fn fill(&self, row: usize, input: &mut EventInput<'a>) -> Result<(), RowError> {
        self.member(row).ok_or_else(|| RowError::missing("member"))?;
        input.kind = cell(self.kind, row).ok_or_else(|| RowError::missing("kind"))?;
        input.time = epoch_text(self.time.scalar(row).ok_or_else(|| RowError::missing("time"))?);
        input.amount = self.amount.scalar(row);
        input.discount = self.discount.scalar(row);
        input.quantity = self.quantity.float(row);
        set(&mut input.id, self.id, row);
        set(&mut input.item, self.item, row);
        set(&mut input.category, self.category, row);
        set(&mut input.channel, self.channel, row);
        set(&mut input.order, self.order, row);
        if let Some(origins) = &self.origins {
            origins.fill(row, input);
        }
        Ok(())
    }
}

impl<'a> Origins<'a> {
    fn new(arrays: &'a [ArrayRef]) -> Result<Self> {
        Ok(Self {
            device: texts(&arrays[0])?,
            card: texts(&arrays[1])?,
            address: texts(&arrays[2])?,
            ip: texts(&arrays[3])?,
            latitude: numbers(&arrays[4])?,
            longitude: numbers(&arrays[5])?,
            device_members: numbers(&arrays[6])?,
        })
    }

    fn fill(&self, row: usize, input: &mut EventInput<'a>) {
        set(&mut input.device, self.device, row);
        set(&mut input.card, self.card, row);
        set(&mut input.address, self.address, row);
        set(&mut input.ip, self.ip, row);
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
            Self::None => None,
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

fn set<'a>(field: &mut Option<Cow<'a, str>>, texts: Texts<'a>, row: usize) {
    if let Some(array) = texts {
        *field = cell(array, row);
    }
}

fn texts(array: &ArrayRef) -> Result<Texts<'_>> {
    Ok(Some(text(array)?).filter(|array| array.null_count() < array.len()))
}

fn text(array: &ArrayRef) -> Result<&StringArray> {
    array.as_any().downcast_ref().ok_or_else(|| unexpected(array.data_type()))
}

fn numbers(array: &ArrayRef) -> Result<Numbers<'_>> {
    if array.null_count() == array.len() {
        return Ok(Numbers::None);
    }
    let any = array.as_any();
    any.downcast_ref()
        .map(Numbers::Int)
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
