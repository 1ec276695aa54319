//! The columns of a log, whole: every value is there and can be what it is asked to be, or an error names its column and row.

use std::{
    cmp::Ordering,
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail, ensure};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, StringArray},
        compute::{cast, concat_batches},
        datatypes::{DataType, Float64Type, Int64Type, TimeUnit},
    },
    prelude::SessionContext,
};

use super::MOST_VALUES;
use crate::{
    locate::nearest,
    table::{self, Place, ReadOptions, ident},
};

/// A log that was found and not read yet.
pub(crate) struct Source {
    context: SessionContext,
    names: Vec<String>,
    /// Its files on this machine.
    pub(crate) files: Vec<PathBuf>,
}

impl Source {
    /// Finds a table of any kind that [`table`] opens.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn find(path: &Path) -> anyhow::Result<Self> {
        // One partition keeps rows in the order of the file, by which errors name them.
        let context = table::session(&ReadOptions { partitions: Some(1), ..ReadOptions::default() })?;
        let source = table::register(&context, "log", &Place::named(path)?).await?;
        let frame = context.table("log").await?;
        let names = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
        Ok(Self { context, names, files: source.paths().cloned().collect() })
    }

    /// Whether it has a column.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Its columns, in their order.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Reads columns, each once however often it is asked for.
    ///
    /// # Errors
    /// When there is no such column, or no row.
    pub(crate) async fn read<'n>(
        &self,
        names: impl IntoIterator<Item = &'n String>,
    ) -> anyhow::Result<Table> {
        let mut asked: Vec<&String> = names.into_iter().collect();
        asked.sort_unstable();
        asked.dedup();
        for name in &asked {
            ensure!(self.has(name), "{}", unknown(name, &self.names));
        }
        let names: Vec<String> = asked.iter().map(|name| ident(name)).collect();
        let sql = format!("SELECT {} FROM \"log\"", names.join(", "));
        let frame = self.context.sql(&sql).await.map_err(|error| table::plain(&error))?;
        let batches = frame.collect().await.map_err(|error| table::plain(&error))?;
        let Some(first) = batches.first() else { bail!("there is no row") };
        let all = concat_batches(&first.schema(), &batches)?;
        ensure!(all.num_rows() > 0, "there is no row");
        let columns = asked.into_iter().cloned().zip(all.columns().iter().cloned()).collect();
        Ok(Table { rows: all.num_rows(), columns })
    }
}

/// The columns that were asked for.
pub(crate) struct Table {
    pub(crate) rows: usize,
    columns: HashMap<String, ArrayRef>,
}

impl Table {
    fn column(&self, name: &str) -> anyhow::Result<&ArrayRef> {
        self.columns.get(name).with_context(|| format!("column {name:?} was not read"))
    }

    /// A column as another type, whole.
    fn whole(&self, name: &str, to: &DataType, is: &str) -> anyhow::Result<ArrayRef> {
        let column = self.column(name)?;
        let made = cast(column, to)
            .map_err(|_| anyhow!("column {name:?} is {}; it must be {is}", column.data_type()))?;
        let Some(row) = (0..self.rows).find(|row| made.is_null(*row)) else { return Ok(made) };
        match cast(column, &DataType::Utf8) {
            Ok(texts) if texts.is_valid(row) => {
                bail!(
                    "column {name:?}, row {}: {:?} is not {is}",
                    row + 1,
                    texts.as_string::<i32>().value(row)
                )
            }
            _ => bail!("column {name:?}, row {}: nothing; it must be {is}", row + 1),
        }
    }

    /// Finite numbers.
    pub(crate) fn numbers(&self, name: &str) -> anyhow::Result<Vec<f64>> {
        let made = self.whole(name, &DataType::Float64, "a number")?;
        let numbers = made.as_primitive::<Float64Type>().values().to_vec();
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(row) => bail!("column {name:?}, row {}: {} is not finite", row + 1, numbers[row]),
            None => Ok(numbers),
        }
    }

    /// Whether a column is of numbers, or of true and false.
    pub(crate) fn is_number(&self, name: &str) -> anyhow::Result<bool> {
        let data_type = self.column(name)?.data_type();
        Ok(data_type.is_numeric() || *data_type == DataType::Boolean)
    }

    /// Numbers, NaN where there is none.
    pub(crate) fn some_numbers(&self, name: &str) -> anyhow::Result<Vec<f32>> {
        let made = cast(self.column(name)?, &DataType::Float64)?;
        let numbers: Vec<f32> =
            made.as_primitive::<Float64Type>().iter().map(|x| x.unwrap_or(f64::NAN) as f32).collect();
        match numbers.iter().position(|number| number.is_infinite()) {
            Some(row) => {
                bail!("column {name:?}, row {}: too large; leave it empty where it is not known", row + 1)
            }
            None => Ok(numbers),
        }
    }

    /// Texts, null where there is none.
    pub(crate) fn some_texts(&self, name: &str) -> anyhow::Result<StringArray> {
        let column = self.column(name)?;
        match column.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
            }
            other => bail!("column {name:?} is {other}, neither numbers nor texts; leave it out"),
        }
    }

    /// Numbers from `least` to 1; `right` says so in words.
    pub(crate) fn chances(&self, name: &str, least: f64, right: &str) -> anyhow::Result<Vec<f64>> {
        let numbers = self.numbers(name)?;
        match numbers.iter().position(|number| !(least..=1.0).contains(number)) {
            Some(row) => {
                bail!("column {name:?}, row {}: {}; a probability here is {right}", row + 1, numbers[row])
            }
            None => Ok(numbers),
        }
    }

    /// Texts, none of them null.
    pub(crate) fn texts(&self, name: &str) -> anyhow::Result<StringArray> {
        Ok(self.whole(name, &DataType::Utf8, "a text")?.as_string::<i32>().clone())
    }

    /// Milliseconds of what is a time or reads as one, numbers as they are.
    pub(crate) fn times(&self, name: &str) -> anyhow::Result<Vec<i64>> {
        let column = self.column(name)?;
        let times = match column.data_type().is_integer() {
            true => self.whole(name, &DataType::Int64, "a time")?,
            false => {
                let instants =
                    self.whole(name, &DataType::Timestamp(TimeUnit::Millisecond, None), "a time")?;
                cast(&instants, &DataType::Int64)?
            }
        };
        Ok(times.as_primitive::<Int64Type>().values().to_vec())
    }

    /// Which of a column's values each row has, and the values.
    pub(crate) fn codes(&self, name: &str) -> anyhow::Result<(Vec<u32>, Vec<String>)> {
        let texts = self.texts(name)?;
        let mut names: Vec<&str> = texts.iter().flatten().collect();
        names.sort_unstable();
        names.dedup();
        names.sort_by(|a, b| by_number(a, b));
        let places: HashMap<&str, u32> = names.iter().copied().zip(0..).collect();
        let codes = texts.iter().flatten().filter_map(|text| places.get(text).copied()).collect();
        Ok((codes, names.into_iter().map(str::to_owned).collect()))
    }

    /// Numbers as they are, texts as zeros and ones, row after row; and what each number is.
    pub(crate) fn contexts(&self, names: &[String]) -> anyhow::Result<(Vec<f32>, Vec<String>)> {
        let (mut columns, mut all) = (Vec::new(), Vec::new());
        for name in names {
            let data_type = self.column(name)?.data_type();
            if data_type.is_numeric() || *data_type == DataType::Boolean {
                let numbers: Vec<f32> = self.numbers(name)?.into_iter().map(|number| number as f32).collect();
                if let Some(row) = numbers.iter().position(|number| !number.is_finite()) {
                    bail!("column {name:?}, row {}: too large for a context; scale it", row + 1);
                }
                columns.push(numbers);
                all.push(name.clone());
            } else {
                let (ones, values) = self.ones(name)?;
                columns.extend(ones);
                all.extend(values.into_iter().map(|value| format!("{name}={value}")));
            }
        }
        let row = |row: usize| columns.iter().map(move |column| column[row]);
        Ok(((0..self.rows).flat_map(row).collect(), all))
    }

    /// A column of zeros and ones for each of the most frequent values; of equally frequent ones by text.
    fn ones(&self, name: &str) -> anyhow::Result<(Vec<Vec<f32>>, Vec<String>)> {
        let texts = self.texts(name)?;
        let mut times: HashMap<&str, usize> = HashMap::new();
        texts.iter().flatten().for_each(|text| *times.entry(text).or_default() += 1);
        let mut values: Vec<_> = times.into_iter().collect();
        values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        values.truncate(MOST_VALUES);
        let ones = |(value, _): &(&str, usize)| {
            texts.iter().map(|text| f32::from(u8::from(text == Some(*value)))).collect()
        };
        let columns = values.iter().map(ones).collect();
        Ok((columns, values.iter().map(|(value, _)| (*value).to_owned()).collect()))
    }
}

/// Numbers by size before texts, which keep their order.
fn by_number(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => Ordering::Equal,
    }
}

fn unknown(name: &str, known: &[String]) -> String {
    let near = nearest(name, known.iter().map(String::as_str));
    let longer = || known.iter().find(|longer| longer.contains(name)).map(String::as_str);
    if let Some(near) = near.or_else(longer) {
        return format!("there is no column {name:?}; did you mean {near:?}?");
    }
    let some = known.iter().take(MOST_NAMED).map(|known| format!("{known:?}")).collect::<Vec<_>>().join(", ");
    let rest = known.len().saturating_sub(MOST_NAMED);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("there is no column {name:?}; there are {some}{rest}")
}

/// Columns that an error names.
const MOST_NAMED: usize = 20;
