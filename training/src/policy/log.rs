//! A table of logged decisions, read into columns of numbers.
//!
//! Invariant: what is read is whole. A value that is missing or cannot be is an error that names its column and row;
//! nothing is left out or filled in.

use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

mod others;
mod table;

pub use others::Others;
pub(crate) use table::{Source, Table};

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

impl Columns {
    /// All that are named.
    fn names(&self) -> impl Iterator<Item = &String> {
        let given = [&self.cost, &self.position, &self.member, &self.time, &self.chance];
        let asked = [&self.action, &self.reward, &self.propensity];
        asked.into_iter().chain(given.into_iter().flatten()).chain(&self.context)
    }
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
    /// Reads a table of any kind that the program opens, in the order of its rows.
    ///
    /// # Errors
    /// When it cannot be read, has no row or no such column, or a value is missing or cannot be.
    pub async fn read(path: &Path, columns: &Columns) -> anyhow::Result<Self> {
        let read = async { Self::of(&Source::find(path).await?, columns).await };
        read.await.with_context(|| path.display().to_string())
    }

    /// The same of a table that was found.
    pub(crate) async fn of(source: &Source, columns: &Columns) -> anyhow::Result<Self> {
        let table = source.read(columns.names()).await?;
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

    /// The arm that earned most, by its self-normalised mean; the first of equals.
    pub fn best_arm(&self) -> usize {
        let mut sums = vec![[0.0; 2]; self.arms.len()];
        let rows = self.actions.iter().zip(&self.propensities).zip(self.earned());
        for ((action, propensity), earned) in rows {
            let [earnings, weight] = &mut sums[*action as usize];
            *earnings += earned / propensity;
            *weight += 1.0 / propensity;
        }
        let mean = |arm: &usize| match sums[*arm] {
            [earnings, weight] if weight > 0.0 => earnings / weight,
            _ => f64::NEG_INFINITY,
        };
        (0..sums.len()).rev().max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap_or_default()
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

#[cfg(test)]
mod tests;
