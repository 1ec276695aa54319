//! `tiercast train`: cross-validates the models of a project, fits them to the training rows, tests them out of time,
//! and writes a run folder with the bundle.

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, bail};
use tiercast_core::{LowerOptions, OnnxModel, Timestamp, lower};

use crate::{
    bundle::{self, Contents},
    dataset::Dataset,
    evaluate::board,
    export, features,
    metrics::{Judged, Measure},
    models::{Fitted, Kind, Model},
    progress,
    project::Project,
    weights::{Engine, Weights},
};

mod card;
pub mod folds;
pub mod importance;
pub mod predictions;
pub mod record;

use folds::{Prepared, Split};
use predictions::{CROSS_VALIDATION, Predictions, TEST};
use record::{DataRecord, ModelRecord, RunRecord, TierRecord};

/// Cross-validate the models of a project, fit them to the training rows, and test them out of time.
///
/// Members, not rows, are dealt into folds. Tiers, imputation, outlier limits and scaling are fitted to training rows
/// only. The network learns from 85 % of the training members and keeps the weights of the epoch that is best on the
/// other 15 %; the linear models choose their penalty on such a part and are then fitted to all training rows. The bundle gets the trained model that does best in cross-validation by --select; the test has no say in it.
///
/// Writes into the output folder: bundle.tcb, models/*.onnx, predictions.parquet (every prediction on held-out rows)
/// and run.json. The same project, data and seed give the same bytes on the same machine.
///
/// Example: tiercast train -p tiercast.toml -o run
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// The run folder to write; made if missing.
    #[arg(short, long, default_value = "run")]
    pub output: PathBuf,
    /// The measure that chooses the bundle's model in cross-validation.
    #[arg(long, value_enum, default_value = "mae")]
    pub select: Measure,
    /// How the weights of the bundle's model are stored; run.json says how far f16 and i8 move its probabilities.
    #[arg(long, value_enum, default_value = "f32")]
    pub weights: Weights,
    /// Which engine runs the bundle's model.
    #[arg(long, value_enum, default_value = "plan")]
    pub engine: Engine,
    /// Models trained at the same time; the number of cores by default.
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// When the project or its tables cannot be read, there are too few rows, or the output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let project = Project::load(&args.project)?;
    let kinds = kinds(&project)?;
    let bar = progress::spinner("rows read");
    let dataset = features::build(&project, &project.as_ofs(), &bar)?;
    bar.finish_and_clear();
    let built = started.elapsed();
    dataset.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));

    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let trained = Trained::new(&project, &dataset, &kinds, threads)?;
    let predictions = trained.predictions(&project, &dataset);
    let selected = trained.select(&predictions, args.select)?;
    write(&args, &project, &dataset, &trained, &predictions, selected)?;
    say!(
        "{}: {} models on {} rows of {} members in {:.1} s ({:.1} s of it features)",
        args.output.display(),
        kinds.len(),
        trained.last().train.len(),
        trained.members(),
        started.elapsed().as_secs_f64(),
        built.as_secs_f64()
    );
    say!("The bundle holds {} (best {} in cross-validation).", kinds[selected].name(), args.select.label());
    say!("Next: tiercast evaluate {}", args.output.display());
    Ok(ExitCode::SUCCESS)
}

fn kinds(project: &Project) -> anyhow::Result<Vec<Kind>> {
    // The rule is the bar that every figure is held against, so it is always there.
    let mut kinds = vec![Kind::SameTier];
    for name in &project.train.models {
        let kind = Kind::parse(name)?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.len() == 1 {
        bail!("[train] models names nothing to train; add \"logistic\" or \"dnn\"");
    }
    Ok(kinds)
}

/// Every model on every split; the last split is the final fit to the training rows.
struct Trained {
    kinds: Vec<Kind>,
    splits: Vec<Prepared>,
    fitted: Vec<Vec<Fitted>>,
}

impl Trained {
    fn new(project: &Project, dataset: &Dataset, kinds: &[Kind], threads: usize) -> anyhow::Result<Self> {
        let at = |dates: &[Timestamp]| -> Vec<usize> {
            (0..dataset.len()).filter(|row| dates.contains(&dataset.rows[*row].as_of)).collect()
        };
        let (train, test) = (at(&project.split.train), at(&project.split.test));
        let member = folds::member_numbers(dataset);
        let mut splits = folds::cross_validation(&train, &member, project.split.folds, project.seed);
        if splits.len() < 2 {
            bail!(
                "{} training rows are too few to cross-validate; check [split] train and active_within",
                train.len()
            );
        }
        splits.push(Split { fold: None, train, held_out: test });
        let prepare = |split| folds::prepare(dataset, &member, &project.tiers, split);
        let splits = splits.into_iter().map(prepare).collect::<anyhow::Result<Vec<_>>>()?;
        let bar = progress::bar((splits.len() * kinds.len()) as u64, "models trained");
        let fitted = folds::train_all(&splits, kinds, project.seed, threads, &bar)?;
        bar.finish_and_clear();
        Ok(Self { kinds: kinds.to_vec(), splits, fitted })
    }

    fn last(&self) -> &Prepared {
        &self.splits[self.splits.len() - 1]
    }

    fn last_fitted(&self) -> &[Fitted] {
        &self.fitted[self.fitted.len() - 1]
    }

    fn members(&self) -> usize {
        let mut members = self.last().train.member.clone();
        members.sort_unstable();
        members.dedup();
        members.len()
    }

    fn predictions(&self, project: &Project, dataset: &Dataset) -> Predictions {
        let mut all = Predictions { tiers: project.tiers.names.len(), ..Predictions::default() };
        for (at, kind) in self.kinds.iter().enumerate() {
            for (split, fitted) in self.splits.iter().zip(&self.fitted) {
                let probabilities = fitted[at].model.probabilities(&split.held_out);
                let decoded =
                    fitted[at].model.decide(&split.held_out, &probabilities, all.tiers, project.train.decode);
                let name = if split.split.fold.is_some() { CROSS_VALIDATION } else { TEST };
                let rows = &split.split.held_out;
                all.model.extend(rows.iter().map(|_| kind.name().to_owned()));
                all.split.extend(rows.iter().map(|_| name.to_owned()));
                all.fold.extend(rows.iter().map(|_| split.split.fold));
                all.member.extend(rows.iter().map(|row| dataset.rows[*row].member.clone()));
                all.as_of.extend(rows.iter().map(|row| dataset.rows[*row].as_of.ms()));
                all.target.extend(&split.held_out.targets);
                all.target_spend.extend(rows.iter().map(|row| dataset.target_spend[*row]));
                all.probabilities.extend(probabilities);
                all.decoded.extend(decoded);
            }
        }
        all
    }

    /// The trained model that does best in cross-validation. The rule is no candidate: a bundle's model looks at
    /// features, and the rule's own answer is in every assessment as the standing.
    fn select(&self, predictions: &Predictions, measure: Measure) -> anyhow::Result<usize> {
        let sign = if measure.larger_is_better() { -1.0 } else { 1.0 };
        let candidates = (0..self.kinds.len()).filter(|at| self.kinds[*at] != Kind::SameTier);
        let score = |at: usize| {
            let rows = predictions.of(self.kinds[at].name(), CROSS_VALIDATION);
            let judged = judged(predictions, &rows);
            sign * judged.measures().get(measure)
        };
        candidates.min_by(|a, b| score(*a).total_cmp(&score(*b))).context("there is no trained model")
    }
}

/// The run's own decisions on some rows.
fn judged(predictions: &Predictions, rows: &[usize]) -> Judged {
    let of = |tiers: &[u8]| rows.iter().map(|row| tiers[*row]).collect::<Vec<_>>();
    let probabilities: Vec<f32> = rows.iter().flat_map(|row| predictions.row(*row)).copied().collect();
    Judged::new(predictions.tiers, &of(&predictions.target), &of(&predictions.decoded), &probabilities)
}

fn write(
    args: &Args,
    project: &Project,
    dataset: &Dataset,
    trained: &Trained,
    predictions: &Predictions,
    selected: usize,
) -> anyhow::Result<()> {
    let models = args.output.join("models");
    fs::create_dir_all(&models).with_context(|| format!("cannot make {}", models.display()))?;
    let mut record = record(args, project, dataset, trained, selected);
    let last = trained.last();
    let mut selected_onnx = Vec::new();
    for ((kind, fitted), model) in trained.kinds.iter().zip(trained.last_fitted()).zip(&mut record.models) {
        let Model::Network(network) = &fitted.model else { continue };
        let metadata = [("project", project.name.clone()), ("inputs", last.transform.names().join(","))];
        let bytes = export::onnx(kind.name(), network, &metadata);
        let by_burn = network.probabilities(&last.train.inputs);
        let tract = OnnxModel::load(&bytes, last.transform.width(), last.rules.len())?;
        let difference = export::largest_difference(&by_burn, &tract.run(&last.train.inputs)?);
        model.burn_tract_difference = Some(difference);
        let by_plan = run_plan(&bytes, args.weights, &last.train.inputs)?;
        model.burn_plan_difference = Some(export::largest_difference(&by_burn, &by_plan));
        let file = format!("models/{}.onnx", kind.name());
        write_file(&args.output.join(&file), &bytes)?;
        model.file = Some(file);
        if *kind == trained.kinds[selected] {
            selected_onnx = bytes;
        }
    }
    let judged_on: Vec<(&Prepared, &Fitted)> = if last.held_out.is_empty() {
        trained
            .splits
            .iter()
            .zip(&trained.fitted)
            .filter(|(split, _)| split.split.fold.is_some())
            .map(|(split, fitted)| (split, &fitted[selected]))
            .collect()
    } else {
        vec![(last, &trained.last_fitted()[selected])]
    };
    record.importance = importance::permutation(dataset, &judged_on, project.seed);
    predictions.write(&args.output.join("predictions.parquet"))?;
    record.write(&args.output)?;

    let names = [record.selected.as_str(), Kind::SameTier.name()];
    let boards = board::Boards::new(predictions, &record, &names, &[project.train.decode]);
    let now = project.split.test.last().or(project.split.train.last()).copied().unwrap_or_default();
    let bytes = bundle::write(&Contents {
        name: &project.name,
        spec: dataset.schema.spec(),
        transform: &last.transform,
        rules: &last.rules,
        model: trained.kinds[selected].name(),
        onnx: &selected_onnx,
        engine: args.engine.into(),
        weights: args.weights,
        decode: project.train.decode,
        typical: &last.typical,
        card: card::write(&record, &boards),
        now,
        seed: project.seed,
    })?;
    write_file(&args.output.join("bundle.tcb"), &bytes)
}

/// The probabilities that the compact engine gives with weights stored in that way.
fn run_plan(onnx: &[u8], weights: Weights, inputs: &[f32]) -> anyhow::Result<Vec<f32>> {
    let plan = lower(onnx, &LowerOptions { storage: weights.storage(), ..LowerOptions::default() })?;
    let mut out = Vec::new();
    plan.run_rows(&mut plan.workspace(usize::MAX), inputs, &mut out)?;
    Ok(out)
}

fn write_file(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
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
    let is_input = |at: usize| last.transform.columns.iter().any(|column| column.source as usize == at);
    let constant = dataset.schema.names().enumerate().filter(|(at, _)| !is_input(*at));
    let shares = crate::fit::tiers::shares(last.rules.len(), &last.train.targets);
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
            inputs: last.transform.width(),
            constant: constant.map(|(_, name)| name.to_owned()).collect(),
            train_as_of: dates(&project.split.train),
            test_as_of: dates(&project.split.test),
            train_rows: last.train.len(),
            train_members: trained.members(),
            test_rows: last.held_out.len(),
            folds: trained.splits.len() - 1,
            warnings: dataset.warnings.clone(),
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
            .map(|(kind, fitted)| model(*kind, fitted))
            .collect(),
        importance: Vec::new(),
    }
}

fn model(kind: Kind, fitted: &Fitted) -> ModelRecord {
    ModelRecord {
        name: kind.name().into(),
        file: None,
        parameters: match &fitted.model {
            Model::SameTier(_) => 0,
            Model::Network(network) => network.parameters(),
        },
        l2: fitted.l2,
        curve: fitted.curve.clone(),
        burn_tract_difference: None,
        burn_plan_difference: None,
    }
}
