//! What a bundle recommends: items, factors and neighbours of what all members bought, and the ranker over them.
//!
//! For each date of `[recommend] train` all is fitted to what was known then, and the ranker learns from what members bought
//! in the period after. What goes into the bundle is fitted to what was known at the test's date (without a test: at the end
//! of the last period), so that the test judges what is handed over.
//!
//! Invariant: what a candidate's row holds, core computes.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tiercast_core::{
    Catalogue, DAY_MS, Event, EventKind, FeatureSchema, MemberState, NO_LABEL, RANKER_INPUTS,
    RecommendOptions, Recommendation, Scorer, Shelf, TierRules, Timestamp, name_hash,
};

use crate::{
    export,
    fold::Gathering,
    models::threads,
    project::{Project, RecommendPlan},
    table::{Events, ReadOptions},
};

mod base;
mod goods;
mod histories;
mod judge;
mod lists;
mod ranker;
mod said;
#[cfg(test)]
mod tests;

use base::{Base, Source};
use histories::Histories;
pub use judge::Scores;
use judge::TOP;
use lists::Lists;

/// The ranker's ONNX file, relative to a run's folder.
pub const FILE: &str = "models/ranker.onnx";

/// What goes into the bundle, and what it takes to judge it.
pub(crate) struct Recommended<'p> {
    /// Items and all that is known of them.
    pub(crate) catalogue: Catalogue,
    /// The ranker, an ONNX file.
    pub(crate) onnx: Vec<u8>,
    /// What the report tells, but for the test.
    pub(crate) record: RecommendRecord,
    plan: &'p RecommendPlan,
    histories: Histories,
    base: Base<'p>,
    schema: FeatureSchema,
}

/// What a run recommends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecommendRecord {
    /// Where the bundle's factors come from: the source with the highest NDCG of new items at the last training date.
    pub model: String,
    /// The ranker's ONNX file, relative to the run's folder.
    pub file: String,
    /// Items that may be recommended.
    pub items: usize,
    /// Numbers of an item's vector.
    pub factors: usize,
    /// Days that a probability is about.
    pub period_days: f64,
    /// Members that were learned from.
    pub members: usize,
    /// Rows that the ranker learned from, and those with a purchase among them.
    pub rows: [usize; 2],
    /// NDCG of new items at the last training date, by source.
    pub validation: Vec<(String, f64)>,
    /// How good the lists are on what came after; none without a test.
    pub test: Option<TestRecord>,
}

/// Lists of ten against what members bought in the period after the test's date.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestRecord {
    /// The date.
    pub as_of: String,
    /// Each way of making a list, the bundle's own last.
    pub ways: Vec<Way>,
    /// Members of whom only so many orders were known.
    pub first_orders: Vec<FirstOrders>,
    /// The bundle's own lists at other diversities.
    pub diversities: Vec<(f32, Scores)>,
    /// Purchases among the ten that the probabilities say, a member, and that there were.
    pub expected: [f64; 2],
}

/// A way of making lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    /// Its name.
    pub name: String,
    /// All items count.
    pub all: Scores,
    /// Only items that the member has not bought before.
    pub new: Scores,
}

/// Lists for members of whom little is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstOrders {
    /// The latest orders that are known.
    pub orders: usize,
    /// The bundle's lists.
    pub bundle: Scores,
    /// The same without the welcome, where the project declares one.
    #[serde(default)]
    pub without_welcome: Option<Scores>,
    /// What is most popular, for everybody.
    pub popular: Scores,
}

/// Learns what to recommend; none where the project declares no `[recommend]`.
///
/// # Errors
/// When the tables cannot be read or hold too little.
pub(crate) fn train<'p>(
    project: &'p Project,
    rules: &TierRules,
    read: &ReadOptions,
    threads: usize,
    progress: &indicatif::ProgressBar,
) -> anyhow::Result<Option<Recommended<'p>>> {
    let Some(plan) = &project.recommend else { return Ok(None) };
    let (schema, tiers) = (project.schema()?, (rules, project.tiers.period));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let (histories, said) = runtime.block_on(async {
        let events = Events::open(project, read).await?;
        let how = Gathering {
            rules: &project.event_rules(),
            skip_invalid: false,
            after: None,
            sorted: true,
            progress,
        };
        let histories = Histories::read(&events, &how, plan.members).await?;
        let bought: HashSet<u32> =
            histories.0.iter().flat_map(|(_, events)| events).map(|event| event.item).collect();
        let said = said::look_up(&events, project, plan.items.as_ref(), &bought).await?;
        anyhow::Ok((histories, said))
    })?;
    threads::allow(threads, || {
        let base = |date: Timestamp| {
            // What happens at the period's first instant is part of what is predicted.
            let now = Timestamp::from_ms(date.ms() - 1)?;
            Base::new(plan, project.seed, &said, (now, histories.at(&schema, now)), tiers)
        };
        let last = plan.train.last().copied().unwrap_or_default();
        let end = plan.test.map_or_else(|| Timestamp::from_ms(last.ms() + plan.period.ms()), Ok)?;
        let learned = |date: Timestamp, base: &Base<'_>, shelf: &Shelf| {
            let examples =
                ranker::Examples::of(project.seed, shelf, &schema, base, &bought(&histories, date, plan));
            progress.inc(1);
            examples
        };
        // The last training date chooses the factors of all.
        let latest = base(last)?;
        let (source, shelf, validation) = best(&latest, &bought(&histories, last, plan))?;
        let mut examples = learned(last, &latest, &shelf)?;
        drop((latest, shelf));
        let others = plan.train.iter().rev().skip(1).chain([&end]).copied().collect();
        let mut made = threads::map(others, |date: Timestamp| {
            let base = base(date)?;
            let shelf = base.with(source)?;
            let examples = if date == end { None } else { Some(learned(date, &base, &shelf)?) };
            anyhow::Ok((base, shelf, examples))
        });
        let (base, shelf, _) = made.pop().context("there is no date")??;
        for one in made {
            if let (_, _, Some(more)) = one? {
                examples.extend(more);
            }
        }
        let (model, rows, kept) = examples.fit()?;
        let catalogue = Catalogue { kept, ..shelf.catalogue().clone() };
        let metadata = [("project", project.name.clone()), ("inputs", RANKER_INPUTS.join(","))];
        let onnx = export::model("ranker", &model, &metadata).context("the ranker cannot be written")?;
        let record = RecommendRecord {
            model: source.name().into(),
            file: FILE.into(),
            items: catalogue.items.len(),
            factors: catalogue.factors.items.width(),
            period_days: plan.period.ms() as f64 / DAY_MS as f64,
            members: histories.0.len(),
            rows,
            validation,
            test: None,
        };
        Ok(Some(Recommended { catalogue, onnx, record, plan, histories, base, schema: schema.clone() }))
    })
}

/// What each member bought in the period from a date on: hashes of items.
fn bought(histories: &Histories, date: Timestamp, plan: &RecommendPlan) -> Vec<HashSet<u32>> {
    let period = date.ms()..date.ms() + plan.period.ms();
    let counts = |event: &&Event| {
        event.kind == EventKind::Purchase && event.item != 0 && period.contains(&event.time.ms())
    };
    histories
        .0
        .iter()
        .map(|(_, events)| events.iter().filter(counts).map(|event| event.item).collect())
        .collect()
}

/// The NDCG of each source, by name.
type Ndcg = Vec<(String, f64)>;

/// The source whose factors alone find new items best.
fn best(base: &Base<'_>, bought: &[HashSet<u32>]) -> anyhow::Result<(Source, Shelf, Ndcg)> {
    let tried = threads::map(Source::ALL.to_vec(), |source| {
        let shelf = base.with(source)?;
        let lists = Lists::new(&shelf, (&base.members, base.now), bought);
        let ndcg = lists.judge(true, |known, allowed| shelf.nearest(&known.affinities, TOP, allowed)).ndcg;
        anyhow::Ok((ndcg, source, shelf))
    });
    let tried = tried.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let all = tried.iter().map(|(ndcg, source, _)| (source.name().to_owned(), *ndcg)).collect();
    // Of equal ones the first.
    let best = tried.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best });
    let (_, source, shelf) = best.context("there is no source of factors")?;
    Ok((source, shelf, all))
}

impl Recommended<'_> {
    /// Judges what a bundle recommends on the period after the test's date; none without a test.
    ///
    /// # Errors
    /// When the bundle refuses a member.
    pub(crate) fn judge(&self, scorer: &Scorer, threads: usize) -> anyhow::Result<Option<TestRecord>> {
        let Some(date) = self.plan.test else { return Ok(None) };
        let bought = bought(&self.histories, date, self.plan);
        threads::allow(threads, || {
            let (shelf, now) = (Shelf::new(self.catalogue.clone())?, self.base.now);
            let lists = Lists::new(&shelf, (&self.base.members, now), &bought);
            let options = |new_only, diversity| RecommendOptions {
                count: TOP as u32,
                new_only,
                diversity,
                ..RecommendOptions::default()
            };
            let ours = |lists: &Lists<'_>, options: RecommendOptions| {
                let place = |item: &Recommendation| shelf.place(name_hash(&item.item));
                lists.try_judge(options.new_only, |known, _| {
                    let list = scorer.recommend(known.state, now, &options)?;
                    Ok(list.iter().filter_map(place).collect())
                })
            };
            let mut ways = self.other_ways(&lists)?;
            ways.push(Way {
                name: "bundle".into(),
                all: ours(&lists, options(false, None))?,
                new: ours(&lists, options(true, None))?,
            });
            let diversity = |at| Ok((at, ours(&lists, options(false, Some(at)))?));
            let first = |orders| {
                let known: Vec<MemberState> =
                    self.base.members.iter().map(|state| latest(&self.schema, state, orders)).collect();
                let few = Lists::new(&shelf, (&known, now), &bought);
                Ok(FirstOrders {
                    orders,
                    bundle: ours(&few, options(false, None))?,
                    without_welcome: self
                        .plan
                        .welcome
                        .as_ref()
                        .map(|_| ours(&few, RecommendOptions { welcome: false, ..options(false, None) }))
                        .transpose()?,
                    popular: few.judge(false, |_, allowed| few.popular(allowed)),
                })
            };
            Ok(Some(TestRecord {
                as_of: date.date(),
                ways,
                first_orders: [0, 1, 3].into_iter().map(first).collect::<tiercast_core::Result<_>>()?,
                diversities: [0.0, 0.1, 0.3]
                    .into_iter()
                    .map(diversity)
                    .collect::<tiercast_core::Result<_>>()?,
                expected: self.expected(scorer, &bought)?,
            }))
        })
    }

    /// The bars: what is popular, what the member buys most, and what each part of the bundle says alone.
    fn other_ways(&self, lists: &Lists<'_>) -> anyhow::Result<Vec<Way>> {
        let items = &lists.shelf.catalogue().items;
        let mut ways = vec![
            lists.way("popular", |_, allowed| lists.popular(allowed)),
            lists.way("own frequency", |known, allowed| {
                let orders = |at| known.own.get(&at).copied().unwrap_or_default() as f32;
                // What was bought as often is told apart by how many members have bought it.
                lists.top(allowed, |at| orders(at) + 0.5 * items[at as usize].buyers)
            }),
            lists.way("content", |known, allowed| {
                let mut shares = HashMap::new();
                for (at, affinity) in &known.affinities {
                    let item = &items[*at as usize];
                    for label in
                        [item.category, item.group, item.brand].into_iter().filter(|l| *l != NO_LABEL)
                    {
                        *shares.entry(label).or_insert(0.0) += affinity;
                    }
                }
                let share = |label| shares.get(&label).copied().unwrap_or_default();
                lists.top(allowed, |at| {
                    let item = &items[at as usize];
                    item.recent * (share(item.category) + share(item.group) + share(item.brand))
                })
            }),
            lists.way("item-to-item", |known, allowed| lists.shelf.alike(&known.affinities, TOP, allowed)),
        ];
        let alone = threads::map(Source::ALL.to_vec(), |source| {
            let shelf = match source.name() == self.catalogue.model {
                true => lists.shelf.clone(),
                false => self.base.with(source)?,
            };
            Ok(lists.way(source.name(), |known, allowed| shelf.nearest(&known.affinities, TOP, allowed)))
        });
        ways.extend(alone.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
        Ok(ways)
    }

    /// Purchases among the first ten, a member: what the probabilities add up to, and what there were.
    fn expected(&self, scorer: &Scorer, bought: &[HashSet<u32>]) -> anyhow::Result<[f64; 2]> {
        let (mut sums, options) = ([0.0; 2], RecommendOptions::default());
        for (state, bought) in self.base.members.iter().zip(bought) {
            for item in scorer.recommend(state, self.base.now, &options)? {
                sums[0] += f64::from(item.probability);
                sums[1] += f64::from(u8::from(bought.contains(&name_hash(&item.item))));
            }
        }
        Ok(sums.map(|sum| sum / self.base.members.len().max(1) as f64))
    }
}

/// What would be known of a member with nothing but the latest orders.
fn latest(schema: &FeatureSchema, state: &MemberState, orders: usize) -> MemberState {
    let mut seen = HashSet::new();
    let mut kept: Vec<&Event> = state
        .events()
        .rev()
        .take_while(|event| {
            seen.insert((event.order, event.time.ms().div_euclid(DAY_MS)));
            seen.len() <= orders
        })
        .collect();
    kept.reverse();
    histories::state(schema, kept.into_iter())
}
