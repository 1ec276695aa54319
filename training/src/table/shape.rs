//! What a field's expression gives, and how it becomes the canonical column.

use anyhow::anyhow;
use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    common::DFSchema,
    logical_expr::ExprSchemable,
    prelude::SessionContext,
};

/// What a field's expression gives, which decides the canonical column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Absent,
    Integer,
    Float,
    Text,
}

impl Shape {
    /// What holds both.
    pub(super) fn widen(self, other: Self) -> Self {
        match (self, other) {
            (Self::Absent, shape) | (shape, Self::Absent) => shape,
            (a, b) if a == b => a,
            (Self::Text, _) | (_, Self::Text) => Self::Text,
            _ => Self::Float,
        }
    }

    pub(super) fn sql_type(self) -> &'static str {
        match self {
            Self::Integer => "BIGINT",
            Self::Float => "DOUBLE",
            Self::Absent | Self::Text => "VARCHAR",
        }
    }
}

/// An expression cast to what the event's field is read from: times to milliseconds, exact decimals to text.
///
/// # Errors
/// When the expression names an unknown column or has a type that the field cannot be read from.
pub(super) fn canonical(
    context: &SessionContext,
    schema: &DFSchema,
    field: &str,
    sql: &str,
) -> anyhow::Result<(String, Shape)> {
    let found = context.parse_sql_expr(sql, schema)?.get_type(schema)?;
    let cast = match field {
        "time" => time(sql, &found),
        "amount" | "discount" => Some(match found {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => (format!("({sql})"), Shape::Float),
            _ => (format!("({sql})"), Shape::Text),
        }),
        "quantity" | "latitude" | "longitude" | "device_members" => Some((format!("({sql})"), Shape::Float)),
        _ => Some((format!("({sql})"), Shape::Text)),
    };
    cast.ok_or_else(|| {
        anyhow!("a {found} cannot be read as a time; give a timestamp, a date, ISO text or milliseconds")
    })
}

fn time(sql: &str, found: &DataType) -> Option<(String, Shape)> {
    let ms = match found {
        DataType::Timestamp(TimeUnit::Second, _) => format!("CAST(({sql}) AS BIGINT) * 1000"),
        DataType::Timestamp(TimeUnit::Millisecond, _) => format!("CAST(({sql}) AS BIGINT)"),
        DataType::Timestamp(TimeUnit::Microsecond, _) => format!("CAST(({sql}) AS BIGINT) / 1000"),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => format!("CAST(({sql}) AS BIGINT) / 1000000"),
        DataType::Date32 => format!("CAST(CAST(({sql}) AS INT) AS BIGINT) * 86400000"),
        DataType::Date64 => format!("CAST(({sql}) AS BIGINT)"),
        found if found.is_integer() => format!("CAST(({sql}) AS BIGINT)"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            return Some((format!("({sql})"), Shape::Text));
        }
        DataType::Null => return Some((format!("({sql})"), Shape::Text)),
        _ => return None,
    };
    Some((ms, Shape::Integer))
}
