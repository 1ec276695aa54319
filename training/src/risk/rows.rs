//! A table of transactions as rows of numbers, the earliest first, in three parts: earlier and later ones to learn from, and the test.
//!
//! Invariant: what texts become numbers for is said by the rows that are learned from alone.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, bail, ensure};
use datafusion::arrow::array::Array;

use super::{
    evaluate::{Args, Unit},
    feedback::{self, Feedback},
};
use crate::{
    models::risk::Inputs,
    policy::log::{Source, Table},
};

/// Values of a text column that become inputs, the most frequent first.
const MOST_VALUES: usize = 20;
/// The share of the rows to learn from, the last ones by time, that choose among what was learned from the others.
const LATER: f64 = 0.25;
/// Numbers in a time column from this on are milliseconds since 1970, as seconds they would be in the year 5138.
const MILLISECONDS: f64 = 1e11;

/// All rows by time, rows of one time in the order of the table.
pub(super) struct Rows {
    /// Where each is in the table, from 1.
    pub(super) places: Vec<usize>,
    pub(super) ids: Option<Vec<String>>,
    /// Milliseconds, since 1970 or since whatever the column counts from.
    pub(super) times: Vec<i64>,
    /// Whether times are moments of a calendar.
    pub(super) dated: bool,
    /// How times were read, where that was a choice.
    pub(super) unit: Option<&'static str>,
    /// Which are frauds; none without labels.
    pub(super) fraud: Option<Vec<bool>>,
    pub(super) amounts: Option<Vec<f64>>,
    pub(super) inputs: Inputs,
    /// What each input is: a column, or `column=value`.
    pub(super) names: Vec<String>,
    pub(super) feedback: Option<Feedback>,
    /// The first of the later rows to learn from.
    pub(super) later: usize,
    /// The first row of the test.
    pub(super) test: usize,
    /// Rows of the test that judge: those that are like none to learn from.
    pub(super) judged: Vec<usize>,
}

impl Rows {
    /// Reads the table.
    ///
    /// # Errors
    /// When it cannot be read, has no such column, or a value cannot be what its column should hold; when a part has no row or no fraud.
    pub(super) async fn read(args: &Args) -> anyhow::Result<Self> {
        let found = match &args.feedback {
            Some(path) => Some(feedback::read(path).await?),
            None => None,
        };
        let read = async {
            let source = Source::find(&args.table).await?;
            let known = source.names().to_vec();
            let options = [args.label.as_ref(), Some(&args.time), args.amount.as_ref(), args.id.as_ref()];
            let asked = options.into_iter().flatten().chain(&args.exclude).chain(&known);
            Self::of(args, &source.read(asked).await?, &known, found)
        };
        read.await.with_context(|| args.table.display().to_string())
    }

    fn of(
        args: &Args,
        table: &Table,
        known: &[String],
        found: Option<Vec<(String, bool)>>,
    ) -> anyhow::Result<Self> {
        let (times, dated, unit) = times(table, args)?;
        let mut order: Vec<usize> = (0..table.rows).collect();
        order.sort_by_key(|at| times[*at]);
        let test = (table.rows as f64 * (1.0 - args.test)) as usize;
        let later = (test as f64 * (1.0 - LATER)) as usize;
        ensure!(
            later > 0 && later < test && test < table.rows,
            "{} rows are too few to learn from some, choose by others and judge by the rest",
            table.rows
        );
        let is_input = |name: &&String| {
            let others = [args.label.as_ref(), Some(&args.time), args.id.as_ref()];
            !others.contains(&Some(*name)) && !args.exclude.contains(name)
        };
        let mut columns = Columns { order: &order, test, names: Vec::new(), values: Vec::new() };
        for name in known.iter().filter(is_input) {
            columns.add(table, name)?;
        }
        let Columns { names, values, .. } = columns;
        let row = |at: usize| values.iter().map(move |column| column[at]);
        let inputs = Inputs::new(names.len(), (0..order.len()).flat_map(row).collect())?;
        let sorted = |numbers: Vec<f64>| order.iter().map(|at| numbers[*at]).collect();
        let ids: Option<Vec<String>> = match &args.id {
            Some(name) => {
                let texts = table.texts(name)?;
                Some(order.iter().map(|at| texts.value(*at).to_owned()).collect())
            }
            None => None,
        };
        let mut fraud = match &args.label {
            Some(name) => Some(labels(table, name, &order)?),
            None => None,
        };
        let feedback = match (found, &ids, &mut fraud) {
            (Some(found), Some(ids), Some(fraud)) => Some(feedback::apply(&found, ids, fraud)?),
            _ => None,
        };
        let mut rows = Self {
            places: order.iter().map(|at| at + 1).collect(),
            ids,
            times: order.iter().map(|at| times[*at]).collect(),
            dated,
            unit,
            fraud,
            amounts: args.amount.as_ref().map(|name| table.numbers(name)).transpose()?.map(sorted),
            inputs,
            names,
            feedback,
            later,
            test,
            judged: Vec::new(),
        };
        rows.judged = rows.unlike_those_learned_from();
        rows.check()?;
        Ok(rows)
    }

    /// The rows of the test without those whose inputs are all the same as those of a row to learn from.
    fn unlike_those_learned_from(&self) -> Vec<usize> {
        let bits = |at: usize| -> Vec<u32> {
            let one = |x: &f32| if x.is_nan() { f32::NAN.to_bits() } else { (x + 0.0).to_bits() };
            self.inputs.row(at).iter().map(one).collect()
        };
        let learned: HashSet<Vec<u32>> = (0..self.test).map(bits).collect();
        (self.test..self.places.len()).filter(|at| !learned.contains(&bits(*at))).collect()
    }

    /// How many of some rows are frauds; 0 without labels.
    pub(super) fn frauds(&self, at: impl IntoIterator<Item = usize>) -> usize {
        self.fraud.as_ref().map_or(0, |fraud| at.into_iter().filter(|at| fraud[*at]).count())
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !self.judged.is_empty(),
            "every row of the test is like one to learn from; nothing is left to judge by"
        );
        if self.fraud.is_none() {
            return Ok(());
        }
        let parts = [
            ("rows to learn from", (0..self.later).collect::<Vec<_>>()),
            (
                "rows that settings are chosen by, the last quarter of those to learn from",
                (self.later..self.test).collect(),
            ),
            ("rows of the test", self.judged.clone()),
        ];
        for (name, at) in parts {
            let (rows, frauds) = (at.len(), self.frauds(at));
            ensure!(
                frauds > 0,
                "none of the {rows} {name} is a fraud; give a longer table, or another --test. Without any label: --no-labels"
            );
            ensure!(frauds < rows, "all {rows} {name} are frauds; is the label turned around?");
        }
        Ok(())
    }
}

/// Inputs while they are put together, each sorted by time.
struct Columns<'a> {
    order: &'a [usize],
    test: usize,
    names: Vec<String>,
    values: Vec<Vec<f32>>,
}

impl Columns<'_> {
    /// A column of numbers as it is; a column of texts as zeros and ones for the values that are most frequent to learn from.
    fn add(&mut self, table: &Table, name: &str) -> anyhow::Result<()> {
        if table.is_number(name)? {
            let numbers = table.some_numbers(name)?;
            self.values.push(self.order.iter().map(|at| numbers[*at]).collect());
            self.names.push(name.to_owned());
            return Ok(());
        }
        let texts = table.some_texts(name)?;
        let text = |at: &usize| if texts.is_valid(*at) { Some(texts.value(*at)) } else { None };
        let mut times: HashMap<&str, usize> = HashMap::new();
        self.order[..self.test].iter().filter_map(text).for_each(|text| *times.entry(text).or_default() += 1);
        let mut values: Vec<_> = times.into_iter().collect();
        values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        values.truncate(MOST_VALUES);
        for (value, _) in values {
            let one = |at: &usize| f32::from(u8::from(text(at) == Some(value)));
            self.values.push(self.order.iter().map(one).collect());
            self.names.push(format!("{name}={value}"));
        }
        Ok(())
    }
}

/// Milliseconds, whether they are since 1970, and how they were read where that was a choice.
fn times(table: &Table, args: &Args) -> anyhow::Result<(Vec<i64>, bool, Option<&'static str>)> {
    let name = &args.time;
    if !table.is_number(name)? {
        return Ok((table.times(name)?, true, None));
    }
    let numbers = table.numbers(name)?;
    let most = numbers.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let unit =
        args.time_unit.unwrap_or(if most >= MILLISECONDS { Unit::Milliseconds } else { Unit::Seconds });
    let (ms, words) = match unit {
        Unit::Seconds => (1000.0, "seconds"),
        Unit::Milliseconds => (1.0, "milliseconds"),
        Unit::Days => (86_400_000.0, "days"),
    };
    // As many milliseconds as a date can be away from 1970.
    if let Some(row) = numbers.iter().position(|x| (x * ms).abs() > 8.64e15) {
        bail!("column {name:?}, row {}: {} {words} are no time", row + 1, numbers[row]);
    }
    let times = numbers.iter().map(|x| (x * ms).round() as i64).collect();
    Ok((times, args.time_unit.is_none() && unit == Unit::Milliseconds, Some(words)))
}

/// Labels in the order of time.
fn labels(table: &Table, name: &str, order: &[usize]) -> anyhow::Result<Vec<bool>> {
    let texts = table.texts(name)?;
    let label = |at: &usize| {
        feedback::label(texts.value(*at)).with_context(|| {
            format!(
                "column {name:?}, row {}: {:?} is no label; give 1 for a fraud and 0 for none",
                at + 1,
                texts.value(*at)
            )
        })
    };
    order.iter().map(label).collect()
}
