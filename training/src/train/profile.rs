//! The profile that goes into the bundle: which network makes it, how good its heads are, and the segments of its
//! embeddings.

use serde::{Deserialize, Serialize};
use tiercast_core::{FeatureSchema, ProfileSpec, Segment};

use super::{Trained, folds::Prepared, stack, traits};
use crate::{
    dataset::Dataset,
    metrics::auc,
    models::{Kind, Model, Reads, Rows, Sequence, kmeans},
    project::Project,
};

/// Rows that segments are made of at most.
const MOST_GROUPED: usize = 20_000;

/// A profile as trained.
pub(super) struct Profiled {
    /// The network of the final fit.
    pub(super) network: Sequence,
    /// What goes into the bundle beside it.
    pub(super) spec: ProfileSpec,
    /// What the report tells.
    pub(super) record: ProfileRecord,
}

/// A run's profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileRecord {
    /// The model whose network makes it: of those that read the sequence, the one with the lowest log-loss of tiers in
    /// cross-validation.
    pub model: String,
    /// Its ONNX file, relative to the run's folder.
    pub file: String,
    /// Numbers of an embedding.
    pub embedding: usize,
    /// How good its other heads are on rows that each fold held out.
    pub cross_validation: Heads,
    /// The same on the test rows; none without a test.
    pub test: Option<Heads>,
    /// Groups of embeddings, the largest first.
    pub segments: Vec<SegmentRecord>,
    /// Days after which a purchase counts half in the interests.
    pub half_life_days: f64,
    /// Categories that interests can name.
    pub categories: usize,
}

/// How good the answers beside the tier are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heads {
    /// Rows.
    pub rows: usize,
    /// Share of them without a purchase in the next period.
    pub lapsed: f64,
    /// Area under the ROC curve of the chance of no purchase; none where all or no rows lapsed.
    pub auc: Option<f64>,
    /// The same of the days since the last purchase, which every shop has; none where no such feature is declared.
    pub auc_recency: Option<f64>,
    /// Mean squared error of that chance (Brier 1950).
    pub brier: f64,
    /// The same of the training rows' share, for everybody.
    pub brier_share: f64,
    /// Mean absolute error of the days to the next purchase, over the rows that have one.
    pub days: f64,
    /// The same of the training rows' median, for everybody.
    pub days_median: f64,
}

/// A segment of members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentRecord {
    /// A name made of its traits.
    pub name: String,
    /// Share of the training rows.
    pub share: f64,
    /// Share of its rows without a purchase in the next period.
    pub lapsed: f64,
    /// Mean net spend of its rows in the next period, minor units.
    pub spend: f64,
    /// Shares of its rows in each tier of the next period, the lowest first.
    pub tiers: Vec<f64>,
    /// What sets it apart, most first.
    pub traits: Vec<traits::Trait>,
}

/// Makes the profile of the best network over sequences; none where none was trained.
pub(super) fn make(project: &Project, dataset: &Dataset, trained: &Trained) -> Option<Profiled> {
    let (at, kind) = best(trained)?;
    let last = trained.last();
    let Model::Sequence(network) = &trained.last_fitted()[at].model else { return None };
    let networks: Vec<&Sequence> = trained
        .fitted
        .iter()
        .filter_map(|fitted| match &fitted[at].model {
            Model::Sequence(network) => Some(network),
            _ => None,
        })
        .collect();
    let pairs: Vec<(&Prepared, &Sequence)> = trained.splits.iter().zip(networks).collect();
    let (folds, tests): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(split, _)| split.split.fold.is_some());
    let recency = recency(&dataset.schema);
    let heads = |pairs: &[(&Prepared, &Sequence)]| Heads::judge(dataset, pairs, recency);
    let (segments, records) = segments(project, dataset, last, network);
    let (start, end) = project.split.train.first().map(|date| project.tiers.period.around(*date))?;
    // A period's middle half of weight: what was bought a period ago counts a quarter.
    let half_life = (end.ms() - start.ms()) / 2;
    Some(Profiled {
        network: network.clone(),
        spec: ProfileSpec {
            model: kind.name().into(),
            transform: last.transform(Reads::SEQUENCE),
            embedding: network.architecture.embedding as u32,
            segments,
            half_life,
            categories: dataset.categories.clone(),
        },
        record: ProfileRecord {
            model: kind.name().into(),
            file: "models/profile.onnx".into(),
            embedding: network.architecture.embedding,
            cross_validation: heads(&folds)?,
            test: heads(&tests),
            segments: records,
            half_life_days: half_life as f64 / tiercast_core::DAY_MS as f64,
            categories: dataset.categories.len(),
        },
    })
}

/// The network over sequences with the lowest log-loss on rows that folds held out, and its place among the kinds.
fn best(trained: &Trained) -> Option<(usize, Kind)> {
    let loss = |at: usize| {
        stack::quality(&trained.splits, trained.fitted.iter().map(|fitted| &fitted[at].model)).log_loss
    };
    let kinds = trained.kinds.iter().copied().enumerate().filter(|(_, kind)| kind.encoder().is_some());
    kinds.map(|(at, kind)| (loss(at), (at, kind))).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, found)| found)
}

/// The feature that is the days since the last purchase.
fn recency(schema: &FeatureSchema) -> Option<usize> {
    let is = |decl: &tiercast_core::FeatureDecl| {
        decl.op == tiercast_core::Op::Recency && decl.events.iter().all(|kind| kind == "purchase")
    };
    schema.spec().features.iter().position(is)
}

impl Heads {
    /// Judges networks on the rows that their splits held out; none where there are none.
    fn judge(dataset: &Dataset, pairs: &[(&Prepared, &Sequence)], recency: Option<usize>) -> Option<Self> {
        let (mut chances, mut lapsed, mut since) = (Vec::new(), Vec::new(), Vec::new());
        let (mut brier_share, mut days, mut days_median, mut bought) = (0.0, 0.0, 0.0, 0_usize);
        for (split, network) in pairs {
            let (share, median) = typical(&split.train);
            let profiles = network.profiles(&split.held_out);
            let profiles = profiles.chunks(network.profile_width());
            for ((profile, next), row) in
                profiles.zip(&split.held_out.next_purchase).zip(&split.split.held_out)
            {
                let (chance, expected) = (profile[profile.len() - 2], profile[profile.len() - 1]);
                chances.push(chance);
                lapsed.push(next.is_nan());
                since.push(recency.map_or(0.0, |at| dataset.row(*row)[at]));
                brier_share += (share - f64::from(u8::from(next.is_nan()))).powi(2);
                if !next.is_nan() {
                    days += f64::from((expected - next).abs());
                    days_median += (median - f64::from(*next)).abs();
                    bought += 1;
                }
            }
        }
        let rows = lapsed.len();
        if rows == 0 {
            return None;
        }
        let error =
            |(chance, lapsed): (&f32, &bool)| (f64::from(*chance) - f64::from(u8::from(*lapsed))).powi(2);
        let (n, bought) = (rows as f64, bought.max(1) as f64);
        Some(Self {
            rows,
            lapsed: lapsed.iter().filter(|lapsed| **lapsed).count() as f64 / n,
            auc: auc(&chances, &lapsed),
            auc_recency: recency.and_then(|_| auc(&since, &lapsed)),
            brier: chances.iter().zip(&lapsed).map(error).sum::<f64>() / n,
            brier_share: brier_share / n,
            days: days / bought,
            days_median: days_median / bought,
        })
    }
}

/// The share of rows without a next purchase, and the median days to it of the others.
fn typical(rows: &Rows) -> (f64, f64) {
    let mut known: Vec<f32> = rows.next_purchase.iter().copied().filter(|days| !days.is_nan()).collect();
    known.sort_unstable_by(f32::total_cmp);
    let share = 1.0 - known.len() as f64 / rows.len().max(1) as f64;
    (share, known.get(known.len() / 2).map_or(0.0, |days| f64::from(*days)))
}

/// Segments of the training rows' embeddings, as the bundle has them and as the report tells of them.
fn segments(
    project: &Project,
    dataset: &Dataset,
    last: &Prepared,
    network: &Sequence,
) -> (Vec<Segment>, Vec<SegmentRecord>) {
    let step = last.train.len().div_ceil(MOST_GROUPED);
    let places: Vec<usize> = (0..last.train.len()).step_by(step).collect();
    let rows = last.train.select(&places);
    let width = network.architecture.embedding;
    let profiles = network.profiles(&rows);
    let embeddings: Vec<f32> =
        profiles.chunks(network.profile_width()).flat_map(|profile| &profile[..width]).copied().collect();
    let groups = kmeans::group(
        &embeddings,
        width,
        project.sequence.as_ref().map_or(0, |plan| plan.segments),
        project.seed,
    );
    let features: Vec<usize> = places.iter().map(|at| last.split.train[*at]).collect();
    let traits = traits::of_groups(dataset, &features, &groups);
    let names = traits::names(&traits);
    let total = rows.len().max(1) as f64;
    let found = groups.centres.iter().enumerate().zip(traits).zip(names);
    found
        .map(|(((at, centre), traits), name)| {
            let of: Vec<usize> = (0..rows.len()).filter(|row| groups.of[*row] == at).collect();
            let n = of.len().max(1) as f64;
            let share = of.len() as f64 / total;
            let mean = |number: &dyn Fn(usize) -> f64| of.iter().map(|row| number(*row)).sum::<f64>() / n;
            let tiers = 1..=last.rules.len();
            let record = SegmentRecord {
                name: name.clone(),
                share,
                lapsed: mean(&|row| f64::from(u8::from(rows.next_purchase[row].is_nan()))),
                spend: mean(&|row| rows.target_spend[row] as f64),
                tiers: tiers
                    .map(|tier| mean(&|row| f64::from(u8::from(usize::from(rows.targets[row]) == tier))))
                    .collect(),
                traits,
            };
            (Segment { name, share: share as f32, centre: centre.clone() }, record)
        })
        .unzip()
}
