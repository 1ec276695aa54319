//! The project file, `tiercast.toml`: which columns mean what, which features, tiers and periods, which models.
//!
//! [`Project::load`] accepts only a file whose parts agree with each other; whether the tables have the columns it names
//! is for [`crate::check`].

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Deserializer, de};
use tiercast_core::{
    Currency, Decode, Duration, Each, EventRules, FeatureDecl, FeatureSchema, FeatureSpec, Of, Op, Period,
    PointsRules, Timestamp, Welcome,
};

use crate::{locate::Problem, models::Kind, table::Place};

mod validate;

/// A checked project file.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where the file is.
    pub path: PathBuf,
    /// The folder that `table` paths are relative to.
    pub folder: PathBuf,
    /// The project's name, shown in reports.
    pub name: String,
    /// Where the data comes from and under what terms, for the model card and the report; may be empty.
    pub source: String,
    /// Seeds every random choice.
    pub seed: u64,
    /// What amounts are in.
    pub currency: Currency,
    /// The tables that events are read from.
    pub events: Vec<EventTable>,
    /// How much is kept of each member.
    pub members: Members,
    /// Names, period and cut of the tiers.
    pub tiers: TierPlan,
    /// Which dates train and which test.
    pub split: Split,
    /// Which models, and how a score becomes a tier.
    pub train: TrainPlan,
    /// The declared features, in order, those of the sequence after all others.
    pub features: Vec<FeatureDecl>,
    /// What the models of a sequence read, if any is declared.
    pub sequence: Option<SequencePlan>,
    /// What is recommended, if anything is.
    pub recommend: Option<RecommendPlan>,
    /// How points are earned and what they are worth, if there are any.
    pub points: Option<PointsRules>,
}

/// `[recommend]`: which items members will buy next.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecommendPlan {
    /// The stretch of time that a probability is about: the item is bought within it.
    pub period: Duration,
    /// Dates, ascending; the ranker learns from what members bought in the period after each.
    #[serde(deserialize_with = "dates")]
    pub train: Vec<Timestamp>,
    /// A date, no training period reaching past it; lists are judged by what members bought in the period after.
    #[serde(default, deserialize_with = "date")]
    pub test: Option<Timestamp>,
    /// Items that the bundle knows at most, those that most members have bought: 2 to 65535.
    #[serde(default = "default_catalogue")]
    pub catalogue: usize,
    /// Numbers of an item's vector: 16, 32, 48 and so on to 256.
    #[serde(default = "default_factors")]
    pub factors: usize,
    /// After how long a purchase counts half.
    #[serde(default = "default_half_life")]
    pub half_life: Duration,
    /// How much of a list's order is given to its diversity where nobody says, 0 to 1.
    #[serde(default)]
    pub diversity: f32,
    /// Members that are learned from at most; of more, a random half, quarter and so on.
    #[serde(default = "default_members")]
    pub members: usize,
    /// What new members are shown, step by step.
    pub welcome: Option<Welcome>,
    /// What is known of items in words.
    pub items: Option<ItemTable>,
}

/// `[recommend.items]`: a table of items, and SQL expressions over its columns.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemTable {
    /// A .parquet or .csv file, relative to the project file.
    pub table: String,
    /// The item's identifier, as in events.
    pub item: String,
    /// What people call it.
    pub name: Option<String>,
    /// Its category; that of its events if absent.
    pub category: Option<String>,
    /// A wider class, for example the department.
    pub group: Option<String>,
    /// Who makes it.
    pub brand: Option<String>,
}

fn dates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Timestamp>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| Timestamp::parse(text).map_err(de::Error::custom)).collect()
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Timestamp::parse(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

fn default_catalogue() -> usize {
    10_000
}

fn default_factors() -> usize {
    64
}

fn default_half_life() -> Duration {
    Duration::days(91)
}

fn default_members() -> usize {
    50_000
}

/// `[sequence]`: the last orders, days or events of a member, for the models that read a sequence.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequencePlan {
    /// What is one step.
    pub each: Each,
    /// Steps, the latest ones; 4 to 256.
    pub last: u32,
    /// What is known of each step: `day` (days since it), amount, discount, quantity, count, item, category or channel.
    pub of: Vec<Of>,
    /// The kinds of events that count; purchases if absent.
    #[serde(default)]
    pub events: Vec<String>,
    /// Segments of the profile that a network over the sequence gives; 2 to 32.
    #[serde(default = "default_segments")]
    pub segments: usize,
}

fn default_segments() -> usize {
    6
}

impl SequencePlan {
    /// One feature for each number of each step, the latest step first: `order_1_day`, `order_1_amount`, …
    fn features(&self) -> impl Iterator<Item = FeatureDecl> {
        let word = |each: Each| match each {
            Each::Order => "order",
            Each::Day => "day",
            _ => "event",
        };
        let feature = move |lag: u32, of: Of| FeatureDecl {
            name: format!("{}_{lag}_{}", word(self.each), format!("{of:?}").to_lowercase()),
            op: Op::Lag,
            of: Some(of),
            events: self.events.clone(),
            window: None,
            skip: None,
            half_life: None,
            value: None,
            stat: None,
            each: Some(self.each),
            lag: Some(lag),
        };
        (1..=self.last).flat_map(move |lag| self.of.iter().map(move |of| feature(lag, *of)))
    }
}

/// `[[events]]`: a table, and what its columns mean.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTable {
    /// A .parquet or .csv file, a folder of such files or a pattern, relative to the project file; or an address,
    /// `s3://…`, `gs://…` or `file://…`.
    pub table: String,
    /// Lookup tables joined on a shared column.
    #[serde(default)]
    pub join: Vec<Join>,
    /// A SQL condition that rows must meet.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// SQL expressions over the table's columns.
    pub columns: Columns,
}

/// A lookup table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// A .parquet or .csv file, relative to the project file.
    pub table: String,
    /// The column that both tables have; at most one row of the lookup for each value.
    pub on: String,
}

/// SQL expressions that give an event's fields; literals in single quotes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Whose event it is.
    pub member: String,
    /// `'purchase'`, `'return'`, `'view'` … or a column that holds such words.
    pub kind: String,
    /// When: a timestamp or date column, ISO text, or milliseconds since 1970 in UTC.
    pub time: String,
    /// The event's own identifier; without one, equal rows of a member are told apart by counting them.
    pub id: Option<String>,
    /// What was paid or returned, in units of the currency, never negative.
    pub amount: Option<String>,
    /// What was taken off the price.
    pub discount: Option<String>,
    /// How many.
    pub quantity: Option<String>,
    /// Which product.
    pub item: Option<String>,
    /// Which kind of product.
    pub category: Option<String>,
    /// Where: a shop, a site, an app.
    pub channel: Option<String>,
    /// Which order or basket the line belongs to.
    pub order: Option<String>,
    /// The device that it came from.
    pub device: Option<String>,
    /// The card or other means that it was paid with: a token, never the number.
    pub card: Option<String>,
    /// The address that it goes to.
    pub address: Option<String>,
    /// The IP address that it came from, of which only the network counts.
    pub ip: Option<String>,
    /// Where it came from, in degrees.
    pub latitude: Option<String>,
    /// Likewise.
    pub longitude: Option<String>,
    /// How many members the shop had seen with the device by then.
    pub device_members: Option<String>,
}

impl Columns {
    /// The given fields with their names, in the order of an event.
    pub fn given(&self) -> Vec<(&'static str, &str)> {
        let required = [("member", &self.member), ("kind", &self.kind), ("time", &self.time)];
        let optional = [
            ("id", &self.id),
            ("amount", &self.amount),
            ("discount", &self.discount),
            ("quantity", &self.quantity),
            ("item", &self.item),
            ("category", &self.category),
            ("channel", &self.channel),
            ("order", &self.order),
            ("device", &self.device),
            ("card", &self.card),
            ("address", &self.address),
            ("ip", &self.ip),
            ("latitude", &self.latitude),
            ("longitude", &self.longitude),
            ("device_members", &self.device_members),
        ];
        let required = required.into_iter().map(|(name, sql)| (name, sql.as_str()));
        required.chain(optional.into_iter().filter_map(|(name, sql)| Some((name, sql.as_deref()?)))).collect()
    }
}

/// `[members]`: what is kept of each member.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Members {
    /// Events kept per member, on the shop's side as in the browser.
    pub capacity: u32,
    /// Event kinds of the shop's own.
    pub custom_kinds: Vec<String>,
}

impl Default for Members {
    fn default() -> Self {
        Self { capacity: 8192, custom_kinds: Vec::new() }
    }
}

/// `[tiers]`: names from the lowest to the highest, the period, and how spend is cut.
#[derive(Clone, Debug)]
pub struct TierPlan {
    /// Names, lowest first.
    pub names: Vec<String>,
    /// The stretch of time over which spend counts.
    pub period: Period,
    /// Where one tier ends and the next begins.
    pub cut: TierCut,
}

/// Where one tier ends and the next begins, in net spend over a period.
#[derive(Clone, Debug, PartialEq)]
pub enum TierCut {
    /// Shares of all training targets, lowest tier first; they sum to 1.
    Shares(Vec<f64>),
    /// The first tier has no spend; the others are these shares of the spenders, and sum to 1.
    ZeroThenShares(Vec<f64>),
    /// The shop's own thresholds in minor units, the first 0.
    Thresholds(Vec<i64>),
}

/// `[split]`: the as-of dates; each one's target is the period that starts there.
#[derive(Clone, Debug)]
pub struct Split {
    /// As-of dates to train on, ascending.
    pub train: Vec<Timestamp>,
    /// As-of dates to test on, ascending; none means cross-validation only.
    pub test: Vec<Timestamp>,
    /// Only members with a purchase within this long before `as_of`; otherwise any event before it counts.
    pub active_within: Option<Duration>,
    /// Cross-validation folds over members.
    pub folds: usize,
}

/// `[train]`: which models, and how probabilities become a tier.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainPlan {
    /// Argmax for accuracy, median for mean absolute error, expected for the rounded mean, ranks for kappa.
    pub decode: Decode,
    /// Whether probabilities are calibrated on rows held out in cross-validation, where that lowers the log-loss.
    pub calibrate: bool,
    /// The models to compare, of [`Kind::names`]; by default all that read no sequence.
    pub models: Vec<String>,
}

impl Default for TrainPlan {
    fn default() -> Self {
        let kinds = Kind::ALL.iter().filter(|(_, kind)| kind.encoder().is_none());
        let models = kinds.map(|(name, _)| (*name).to_owned()).collect();
        Self { decode: Decode::Median, calibrate: true, models }
    }
}

/// The file as written, before its parts are checked against each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    project: ProjectSection,
    currency: Currency,
    events: Vec<EventTable>,
    #[serde(default)]
    members: Members,
    tiers: TierSection,
    split: SplitSection,
    #[serde(default)]
    train: TrainPlan,
    features: Vec<FeatureDecl>,
    sequence: Option<SequencePlan>,
    recommend: Option<RecommendPlan>,
    points: Option<PointsRules>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectSection {
    name: String,
    #[serde(default)]
    source: String,
    #[serde(default = "default_seed")]
    seed: u64,
}

fn default_seed() -> u64 {
    7
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierSection {
    names: Vec<String>,
    period: Period,
    shares: Option<Vec<f64>>,
    #[serde(default)]
    zero_tier: bool,
    thresholds: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitSection {
    train: Vec<String>,
    #[serde(default)]
    test: Vec<String>,
    active_within: Option<String>,
    #[serde(default = "default_folds")]
    folds: usize,
}

fn default_folds() -> usize {
    5
}

impl Project {
    /// Reads and checks a project file.
    ///
    /// # Errors
    /// Every mistake in the file, each with its line and column.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read {}; `tiercast init TABLE` writes one", path.display()))?;
        match Self::parse(&text, path) {
            Ok(project) => Ok(project),
            Err(problems) => {
                let file = path.display().to_string();
                let shown: Vec<_> = problems.iter().map(|problem| problem.render(&file)).collect();
                bail!("{file} has {} to mend\n{}", count(problems.len(), "mistake"), shown.join("\n"))
            }
        }
    }

    /// Checks the text of a project file that stands at `path`.
    ///
    /// # Errors
    /// Every mistake found. A file that is not TOML, or has an unknown or ill-typed field, gives that one only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Vec<Problem>> {
        let file: File = toml::from_str(text).map_err(|error| vec![validate::not_a_project(text, &error)])?;
        validate::check(text, file, path)
    }

    /// What an event may hold in this project.
    pub fn event_rules(&self) -> EventRules {
        EventRules { currency: self.currency.clone(), custom_kinds: self.members.custom_kinds.clone() }
    }

    /// The features as core compiles and hashes them.
    ///
    /// # Errors
    /// Core's `invalid_spec`; a loaded project has none.
    pub fn schema(&self) -> anyhow::Result<FeatureSchema> {
        Ok(FeatureSchema::compile(self.feature_spec())?)
    }

    fn feature_spec(&self) -> FeatureSpec {
        FeatureSpec {
            events: self.event_rules(),
            capacity: self.members.capacity,
            features: self.features.clone(),
        }
    }

    /// All as-of dates, ascending, each once.
    pub fn as_ofs(&self) -> Vec<Timestamp> {
        let mut dates: Vec<_> = self.split.train.iter().chain(&self.split.test).copied().collect();
        dates.sort_unstable();
        dates.dedup();
        dates
    }

    /// Reads another table in the place of the project's one.
    ///
    /// # Errors
    /// When the project reads several.
    pub fn read_instead(&mut self, table: &Path) -> anyhow::Result<()> {
        let [only] = &mut self.events[..] else {
            bail!("the project reads several tables; leave the table out to read them all");
        };
        only.table = Place::named(table)?.absolute()?.to_string();
        Ok(())
    }
}

/// `1 mistake`, `2 mistakes`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
