//! What a policy that is learned for members needs of a log besides numbers: whose rows they are, what actions offer, and what
//! a simulator knows.

use anyhow::ensure;

use super::{Source, Table};

/// Columns of a log in the order of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Others {
    /// The member of each row.
    pub members: Vec<String>,
    /// The points that each row's action offered, where a column says so.
    pub points: Option<Vec<u64>>,
    /// Expected reward and cost of each action, rows × arms in the order that was asked for, of a log with the columns
    /// `expected_reward_ACTION` and `expected_cost_ACTION` for all of them.
    pub truth: Option<Vec<[f64; 2]>>,
}

impl Others {
    /// Reads them.
    ///
    /// # Errors
    /// When the log cannot be read, has no such column, or a value is missing or cannot be.
    pub(crate) async fn of(
        source: &Source,
        member: &String,
        points: Option<&String>,
        arms: &[String],
    ) -> anyhow::Result<Self> {
        let expected =
            |what: &str| arms.iter().map(|arm| format!("expected_{what}_{arm}")).collect::<Vec<_>>();
        let truth = Some([expected("reward"), expected("cost")])
            .filter(|columns| columns.iter().flatten().all(|name| source.has(name)));
        let names = [member].into_iter().chain(points).chain(truth.iter().flatten().flatten());
        let table = source.read(names).await?;
        Ok(Self {
            members: table.texts(member)?.iter().map(|text| text.unwrap_or_default().to_owned()).collect(),
            points: points.map(|name| table.points(name)).transpose()?,
            truth: truth.map(|columns| table.truth(&columns)).transpose()?,
        })
    }
}

impl Table {
    fn points(&self, name: &str) -> anyhow::Result<Vec<u64>> {
        let numbers = self.numbers(name)?;
        for (row, points) in numbers.iter().enumerate() {
            ensure!(
                *points >= 0.0 && points.fract() == 0.0 && *points < 1e12,
                "column {name:?}, row {}: {points}; points are whole and not negative",
                row + 1
            );
        }
        Ok(numbers.into_iter().map(|points| points as u64).collect())
    }

    fn truth(&self, [rewards, costs]: &[Vec<String>; 2]) -> anyhow::Result<Vec<[f64; 2]>> {
        let columns = |names: &[String]| {
            names.iter().map(|name| self.numbers(name)).collect::<anyhow::Result<Vec<_>>>()
        };
        let (rewards, costs) = (columns(rewards)?, columns(costs)?);
        let both =
            |row: usize| rewards.iter().zip(&costs).map(move |(reward, cost)| [reward[row], cost[row]]);
        Ok((0..self.rows).flat_map(both).collect())
    }
}
