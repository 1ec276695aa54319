//! A run's folder: models, predictions, record and bundle.
//!
//! Everything is made before the first file is written, every file appears whole, and the bundle comes last.

use std::fs;

use anyhow::Context;
use tiercast_core::{
    Catalogue, Decode, LowerOptions, OnnxModel, Policies, ProfileSpec, Reference, Scorer, Timestamp, lower,
};

use super::{
    Args, Trained, card, effects,
    folds::Prepared,
    importance,
    predictions::Predictions,
    profile,
    provenance::Provenance,
    quality,
    record::{self, DataRecord, ModelRecord, RunRecord, TierRecord},
};
use crate::{
    bundle::{self, Contents},
    dataset::Dataset,
    evaluate::board,
    export,
    models::{Fitted, Kind, Reads},
    project::Project,
    recommend::{RecommendRecord, Recommended},
    weights::Weights,
    whole,
};

/// Rows on which tract is asked about trees at most.
const MOST_BY_TRACT: usize = 32;

/// Files of the folder, with their places in it.
type Files = Vec<(String, Vec<u8>)>;

/// Writes the run's folder. Gives how far the bundle's rounded weights move its probabilities, if they are rounded.
pub(super) fn write(
    args: &Args,
    project: &Project,
    dataset: &Dataset,
    trained: &Trained,
    predictions: &Predictions,
    (selected, recommended): (usize, Option<&Recommended<'_>>),
    provenance: Provenance,
) -> anyhow::Result<Option<f32>> {
    let mut record = record(args, project, dataset, trained, selected);
    let (mut files, scores) = models(args, project, trained, &mut record.models, selected)?;
    let profiled = profile::make(project, dataset, trained);
    record.profile = profiled.as_ref().map(|profiled| profiled.record.clone());
    let profile = profiled.map(|profiled| {
        let metadata =
            [("project", project.name.clone()), ("inputs", profiled.spec.transform.names().join(","))];
        (profiled.spec, export::profile("profile", &profiled.network, &metadata))
    });
    if let (Some(record), Some((_, onnx))) = (&record.profile, &profile) {
        files.push((record.file.clone(), onnx.clone()));
    }
    let last = trained.last();
    let judged_on = judged_on(trained, selected);
    record.importance = importance::permutation(dataset, &judged_on, project.seed);
    let (train, test) = (&last.split.train, &last.split.held_out);
    record.effects =
        effects::partial_dependence(dataset, &judged_on, train, &record.importance, project.seed);
    let (quality, watched) = quality::survey(dataset, train, test);
    record.quality = quality;
    let (decode, tiers) = (project.train.decode, last.rules.len());
    let cuts = match decode {
        Decode::Ranks => predictions.cuts(&record.selected, None),
        _ => Vec::new(),
    };
    let drift = quality::reference(watched, tiers, scores.chunks(tiers).map(|row| decode.decode(row, &cuts)));
    provenance.check(&Provenance::new(project, args)?)?;
    record.provenance = provenance;
    let onnx =
        record.models[selected].file.as_ref().and_then(|name| files.iter().find(|file| file.0 == *name));
    let onnx = onnx.map_or(&[][..], |(_, bytes)| bytes);
    let models = Models {
        tier: onnx,
        profile: profile.as_ref().map(|(spec, onnx)| (spec, onnx.as_slice())),
        recommend: recommended.map(|found| (&found.catalogue, found.onnx.as_slice())),
        cuts: &cuts,
        drift: &drift,
    };
    let write = |record: &RunRecord| bundle(args, project, dataset, trained, predictions, record, &models);
    if let Some(found) = recommended {
        // Judged is what the bundle says, and what its card says is how it was judged.
        let scorer = Scorer::load(&write(&record)?)?;
        let test = found.judge(&scorer, args.threads())?;
        record.recommend = Some(RecommendRecord { test, ..found.record.clone() });
    }
    let bundle = write(&record)?;
    files.extend(recommended.map(|found| (found.record.file.clone(), found.onnx.clone())));

    let folder = args.output.join("models");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, bytes) in &files {
        whole::write(&args.output.join(name), bytes)?;
    }
    // What an earlier run had trained would pass for this one's.
    let written = |name: &str| files.iter().any(|(file, _)| file == name);
    for name in Kind::names()
        .iter()
        .chain(&["profile", "ranker"])
        .map(|name| file(name))
        .filter(|name| !written(name))
    {
        let path = args.output.join(name);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    predictions.write(&args.output.join("predictions.parquet"))?;
    record.write(&args.output)?;
    whole::write(&args.output.join("bundle.tcb"), &bundle)?;
    let moved = record.models[selected].plan_difference;
    Ok(moved.filter(|_| args.weights != Weights::F32))
}

/// The place of a model's ONNX file in the folder.
fn file(kind: &str) -> String {
    format!("models/{kind}.onnx")
}

/// The ONNX files with their places, told of in `records` with how far other engines are from what trained them; and the
/// probabilities that the selected one's plan gives the training rows, which are computed for that comparison anyway.
fn models(
    args: &Args,
    project: &Project,
    trained: &Trained,
    records: &mut [ModelRecord],
    selected: usize,
) -> anyhow::Result<(Files, Vec<f32>)> {
    let (last, mut files, mut scores) = (trained.last(), Files::new(), Vec::new());
    let kinds = trained.kinds.iter().zip(trained.last_fitted()).zip(records).enumerate();
    for (at, ((kind, fitted), model)) in kinds {
        let reads = fitted.model.reads();
        let transform = last.transform(reads);
        let metadata = [("project", project.name.clone()), ("inputs", transform.names().join(","))];
        let Some(bytes) = export::model(kind.name(), &fitted.model, &metadata) else { continue };
        let (inputs, ours) = (last.train.read(reads), fitted.model.probabilities(&last.train));
        let (width, tiers) = (transform.width(), last.rules.len());
        // tract takes milliseconds for a row of trees.
        let some = if !reads.plain { last.train.len() } else { last.train.len().min(MOST_BY_TRACT) };
        let by_tract = OnnxModel::load(&bytes, width, tiers)?.run(&inputs[..some * width])?;
        model.tract_difference = Some(export::largest_difference(&ours[..some * tiers], &by_tract));
        let by_plan = run_plan(&bytes, args.weights, &inputs)?;
        model.plan_difference = Some(export::largest_difference(&ours, &by_plan));
        model.file = Some(file(kind.name()));
        files.push((file(kind.name()), bytes));
        if at == selected {
            scores = by_plan;
        }
    }
    Ok((files, scores))
}

/// The selected model with the rows that it is judged on: those of the test, or without one those of every fold.
fn judged_on(trained: &Trained, selected: usize) -> Vec<(&Prepared, &Fitted)> {
    if !trained.last().held_out.is_empty() {
        return vec![(trained.last(), &trained.last_fitted()[selected])];
    }
    let splits = trained.splits.iter().zip(&trained.fitted);
    splits
        .filter(|(split, _)| split.split.fold.is_some())
        .map(|(split, fitted)| (split, &fitted[selected]))
        .collect()
}

/// ONNX files of a bundle, with what goes beside them.
struct Models<'m> {
    tier: &'m [u8],
    profile: Option<(&'m ProfileSpec, &'m [u8])>,
    recommend: Option<(&'m Catalogue, &'m [u8])>,
    /// For decoding by ranks; otherwise empty.
    cuts: &'m [f32],
    drift: &'m Reference,
}

fn bundle(
    args: &Args,
    project: &Project,
    dataset: &Dataset,
    trained: &Trained,
    predictions: &Predictions,
    record: &RunRecord,
    models: &Models<'_>,
) -> anyhow::Result<Vec<u8>> {
    let names = [record.selected.as_str(), Kind::SameTier.name()];
    let boards = board::Boards::new(predictions, record, &names, &[project.train.decode]);
    let now = project.split.test.last().or(project.split.train.last()).copied().unwrap_or_default();
    let (last, at) = (trained.last(), record.models.iter().position(|model| model.name == record.selected));
    let fitted = at.and_then(|at| trained.last_fitted().get(at)).context("there is no trained model")?;
    bundle::write(&Contents {
        name: &project.name,
        spec: dataset.schema.spec(),
        transform: &last.transform(fitted.model.reads()),
        rules: &last.rules,
        model: &record.selected,
        onnx: models.tier,
        engine: args.engine.into(),
        weights: args.weights,
        decode: project.train.decode,
        cuts: models.cuts,
        typical: &last.typical,
        profile: models.profile,
        recommend: models.recommend,
        policies: &Policies::default(),
        points: project.points.as_ref(),
        drift: Some(models.drift),
        card: card::write(record, &boards),
        now,
        seed: project.seed,
    })
}

/// The probabilities that the compact engine gives with weights stored in that way.
fn run_plan(onnx: &[u8], weights: Weights, inputs: &[f32]) -> anyhow::Result<Vec<f32>> {
    let plan = lower(onnx, &LowerOptions { storage: weights.storage(), ..LowerOptions::default() })?;
    let mut out = Vec::new();
    plan.run_rows(&mut plan.workspace(usize::MAX), inputs, &mut out)?;
    Ok(out)
}

fn record(
    args: &Args,
    project: &Project,
    dataset: &Dataset,
    trained: &Trained,
    selected: usize,
) -> RunRecord {
    let last = trained.last();
    let dates = |dates: &[Timestamp]| dates.iter().map(|date| date.date()).collect();
    let transform = last.transform(trained.last_fitted()[selected].model.reads());
    let all = last.transform(Reads { dense: true, sequence: true, plain: true });
    let is_input = |at: usize| all.columns.iter().any(|column| column.source as usize == at);
    let constant = dataset.schema.names().enumerate().filter(|(at, _)| !is_input(*at));
    let shares = crate::models::cuts::shares(last.rules.len(), &last.train.targets);
    RunRecord {
        format: record::FORMAT,
        producer: concat!("tiercast ", env!("CARGO_PKG_VERSION")).into(),
        project: project.name.clone(),
        source: project.source.clone(),
        seed: project.seed,
        data: DataRecord {
            currency: project.currency.code.clone(),
            currency_exponent: project.currency.exponent,
            schema_hash: dataset.schema.hash_hex(),
            features: dataset.schema.len(),
            inputs: transform.width(),
            constant: constant.map(|(_, name)| name.to_owned()).collect(),
            train_as_of: dates(&project.split.train),
            test_as_of: dates(&project.split.test),
            train_rows: last.train.len(),
            train_members: trained.members(),
            streamed_rows: trained.streamed,
            test_rows: last.held_out.len(),
            folds: trained.splits.len() - 1,
            warnings: [dataset.warnings.as_slice(), &trained.warnings].concat(),
        },
        tiers: last
            .rules
            .tiers
            .iter()
            .zip(shares)
            .map(|(tier, train_share)| TierRecord {
                name: tier.name.clone(),
                at_least: project.currency.format(tier.at_least),
                at_least_minor: tier.at_least,
                train_share,
            })
            .collect(),
        decode: project.train.decode,
        selected_by: args.select,
        selected: trained.kinds[selected].name().into(),
        models: trained
            .kinds
            .iter()
            .zip(trained.last_fitted())
            .zip(&trained.calibrations)
            .map(|((kind, fitted), calibration)| ModelRecord {
                calibration: calibration.clone(),
                parts: if *kind == Kind::Blend { trained.parts.clone() } else { Vec::new() },
                settings: trained.settings.get(kind).cloned().unwrap_or_default().of(*kind),
                search: trained.searched.get(kind).cloned(),
                ..model(*kind, fitted)
            })
            .collect(),
        importance: Vec::new(),
        effects: Vec::new(),
        quality: Vec::new(),
        profile: None,
        recommend: None,
        provenance: Provenance::default(),
    }
}

fn model(kind: Kind, fitted: &Fitted) -> ModelRecord {
    ModelRecord {
        name: kind.name().into(),
        file: None,
        parameters: fitted.model.parameters(),
        l2: fitted.l2,
        settings: serde_json::Value::Null,
        search: None,
        curve: fitted.curve.clone(),
        calibration: None,
        parts: Vec::new(),
        tract_difference: None,
        plan_difference: None,
    }
}
