//! A table of logged decisions, read into columns of numbers.
//!
//! Invariant: what is read is whole. A value that is missing or cannot be is an error that names its column and row;
//! nothing is left out or filled in.

use std::{cmp::Ordering, collections::HashMap, path::Path};

use anyhow::{Context, anyhow, bail, ensure};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, StringArray},
        compute::{cast, concat_batches},
        datatypes::{DataType, Float64Type, Int64Type, TimeUnit},
    },
    prelude::SessionContext,
};
use sha2::{Digest, Sha256};

use crate::{
    locate::nearest,
    table::{self, Place, ReadOptions, ident},
};

mod others;

pub use others::Others;

/// Values of a context's text column that become numbers, the most frequent first; the rest are all zeros.
pub const MOST_VALUES: usize = 50;

/// Which column of a log is what.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Columns {
    /// The action taken: an offer, an item, a message.
    #[arg(long, value_name = "COL")]
    pub action: String,
    /// What came of it: a number, such as clicked or not, or money.
    #[arg(long, value_name = "COL")]
    pub reward: String,
    /// The probability with which the action was drawn when it was, above 0 and at most 1.
    #[arg(long, value_name = "COL")]
    pub propensity: String,
    /// What the action cost, in the unit of the reward, from which it is taken off.
    #[arg(long, value_name = "COL")]
    pub cost: Option<String>,
    /// The place where the action was shown, if there are several: each is decided and estimated by itself.
    #[arg(long, value_name = "COL")]
    pub position: Option<String>,
    /// Whose row it is; rows of one member are not independent. Without it every row is its own.
    #[arg(long, value_name = "COL")]
    pub member: Option<String>,
    /// When it was: a date, a time, an ISO text or any number that grows.
    #[arg(long, value_name = "COL")]
    pub time: Option<String>,
    /// What was known when the action was drawn: numbers as they are, of texts the most frequent 50 values.
    #[arg(long, value_name = "COL,COL", value_delimiter = ',')]
    pub context: Vec<String>,
    /// Another policy's probability of the action.
    #[arg(skip)]
    pub chance: Option<String>,
}

/// Logged decisions, n rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Which of `arms` was taken.
    pub actions: Vec<u32>,
    /// The values of the action's column: by number if all are numbers, else by text.
    pub arms: Vec<String>,
    /// What came of it.
    pub rewards: Vec<f64>,
    /// What it cost, where a column says so.
    pub costs: Option<Vec<f64>>,
    /// The probability with which it was drawn, above 0 and at most 1.
    pub propensities: Vec<f64>,
    /// A hash of whose row it is; the row's number where no column says so.
    pub members: Vec<u64>,
    /// Milliseconds since 1970, or a number as it is, where a column says so.
    pub times: Option<Vec<i64>>,
    /// Which of `position_names`, where a column says so.
    pub positions: Option<Vec<u32>>,
    /// The values of the position's column, in the order of `arms`.
    pub position_names: Vec<String>,
    /// What was known, n × d, row after row, finite.
    pub contexts: Vec<f32>,
    /// What each number of a context is: a column, or `column=value`.
    pub context_names: Vec<String>,
    /// Another policy's probability of the action, from 0 to 1, where a column says so.
    pub chances: Option<Vec<f64>>,
}

impl Log {
    /// Reads a table of any kind that [`table`] opens, in the order of its rows.
    ///
    /// # Errors
    /// When it cannot be read, has no row or no such column, or a value is missing or cannot be.
    pub async fn read(path: &Path, columns: &Columns) -> anyhow::Result<Self> {
        Self::open(path, columns).await.with_context(|| path.display().to_string())
    }

    async fn open(path: &Path, columns: &Columns) -> anyhow::Result<Self> {
        // One partition keeps rows in the order of the file, by which errors name them.
        let context = table::session(&ReadOptions { partitions: Some(1), ..ReadOptions::default() })?;
        table::register(&context, "log", &Place::named(path)?).await?;
        let table = Table::of(&context, columns).await?;
        let (actions, arms) = table.codes(&columns.action)?;
        let (positions, position_names) = match &columns.position {
            Some(name) => table.codes(name).map(|(codes, names)| (Some(codes), names))?,
            None => (None, Vec::new()),
        };
        let numbers = |name: &Option<String>| name.as_ref().map(|name| table.numbers(name)).transpose();
        let (contexts, context_names) = table.contexts(&columns.context)?;
        Ok(Self {
            rewards: table.numbers(&columns.reward)?,
            costs: numbers(&columns.cost)?,
            propensities: table.chances(&columns.propensity, f64::MIN_POSITIVE, "above 0 and at most 1")?,
            members: match &columns.member {
                Some(name) => table.texts(name)?.iter().map(|text| hash(text.unwrap_or_default())).collect(),
                None => (0..actions.len() as u64).collect(),
            },
            times: columns.time.as_ref().map(|name| table.times(name)).transpose()?,
            chances: match &columns.chance {
                Some(name) => Some(table.chances(name, 0.0, "from 0 to 1")?),
                None => None,
            },
            actions,
            arms,
            positions,
            position_names,
            contexts,
            context_names,
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// The rows at these places, with the same arms and positions.
    pub fn select(&self, at: &[usize]) -> Self {
        fn take<T: Copy>(from: &[T], at: &[usize]) -> Vec<T> {
            at.iter().map(|at| from[*at]).collect()
        }
        let width = self.context_names.len();
        let context = |at: &usize| &self.contexts[at * width..(at + 1) * width];
        Self {
            actions: take(&self.actions, at),
            arms: self.arms.clone(),
            rewards: take(&self.rewards, at),
            costs: self.costs.as_ref().map(|costs| take(costs, at)),
            propensities: take(&self.propensities, at),
            members: take(&self.members, at),
            times: self.times.as_ref().map(|times| take(times, at)),
            positions: self.positions.as_ref().map(|positions| take(positions, at)),
            position_names: self.position_names.clone(),
            contexts: at.iter().flat_map(context).copied().collect(),
            context_names: self.context_names.clone(),
            chances: self.chances.as_ref().map(|chances| take(chances, at)),
        }
    }

    /// What each row earned: its reward less its cost.
    pub fn earned(&self) -> Vec<f64> {
        match &self.costs {
            Some(costs) => self.rewards.iter().zip(costs).map(|(reward, cost)| reward - cost).collect(),
            None => self.rewards.clone(),
        }
    }
}

/// The first bytes of a text's SHA-256 as a number, the same on every machine.
fn hash(text: &str) -> u64 {
    Sha256::digest(text).iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The columns that were asked for.
struct Table {
    rows: usize,
    columns: HashMap<String, ArrayRef>,
}

impl Table {
    async fn of(context: &SessionContext, columns: &Columns) -> anyhow::Result<Self> {
        let frame = context.table("log").await?;
        let known: Vec<String> = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
        let given = [&columns.cost, &columns.position, &columns.member, &columns.time, &columns.chance];
        let mut asked = vec![&columns.action, &columns.reward, &columns.propensity];
        asked.extend(given.into_iter().flatten().chain(&columns.context));
        asked.sort_unstable();
        asked.dedup();
        for name in &asked {
            ensure!(known.contains(name), "{}", unknown(name, &known));
        }
        let names: Vec<String> = asked.iter().map(|name| ident(name)).collect();
        let sql = format!("SELECT {} FROM \"log\"", names.join(", "));
        let frame = context.sql(&sql).await.map_err(|error| table::plain(&error))?;
        let batches = frame.collect().await.map_err(|error| table::plain(&error))?;
        let Some(first) = batches.first() else { bail!("there is no row") };
        let all = concat_batches(&first.schema(), &batches)?;
        ensure!(all.num_rows() > 0, "there is no row");
        let columns = asked.into_iter().cloned().zip(all.columns().iter().cloned()).collect();
        Ok(Self { rows: all.num_rows(), columns })
    }

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

    fn numbers(&self, name: &str) -> anyhow::Result<Vec<f64>> {
        let made = self.whole(name, &DataType::Float64, "a number")?;
        let numbers = made.as_primitive::<Float64Type>().values().to_vec();
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(row) => bail!("column {name:?}, row {}: {} is not finite", row + 1, numbers[row]),
            None => Ok(numbers),
        }
    }

    fn chances(&self, name: &str, least: f64, right: &str) -> anyhow::Result<Vec<f64>> {
        let numbers = self.numbers(name)?;
        match numbers.iter().position(|number| !(least..=1.0).contains(number)) {
            Some(row) => {
                bail!("column {name:?}, row {}: {}; a probability here is {right}", row + 1, numbers[row])
            }
            None => Ok(numbers),
        }
    }

    fn texts(&self, name: &str) -> anyhow::Result<StringArray> {
        Ok(self.whole(name, &DataType::Utf8, "a text")?.as_string::<i32>().clone())
    }

    /// Milliseconds of what is a time or reads as one, numbers as they are.
    fn times(&self, name: &str) -> anyhow::Result<Vec<i64>> {
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
    fn codes(&self, name: &str) -> anyhow::Result<(Vec<u32>, Vec<String>)> {
        let texts = self.texts(name)?;
        let mut names: Vec<&str> = texts.iter().flatten().collect();
        names.sort_unstable();
        names.dedup();
        names.sort_by(|a, b| by_number(a, b));
        let places: HashMap<&str, u32> = names.iter().copied().zip(0..).collect();
        let codes = texts.iter().flatten().filter_map(|text| places.get(text).copied()).collect();
        Ok((codes, names.into_iter().map(str::to_owned).collect()))
    }

    fn contexts(&self, names: &[String]) -> anyhow::Result<(Vec<f32>, Vec<String>)> {
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

#[cfg(test)]
mod tests;
