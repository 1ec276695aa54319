//! `tiercast train`: cross-validates the models of a project, fits them to the training rows, tests them out of time,
//! and writes a run folder with the bundle.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use serde_json::json;
use tiercast_core::Timestamp;

use crate::{
    dataset::Dataset,
    device::{self, Device},
    evaluate::words,
    features::{self, BuildOptions, store::Store},
    log::{self, Log},
    metrics::{Judged, Measure},
    models::{Fitted, Kind, Model, Params},
    progress,
    project::Project,
    recommend,
    table::ReadOptions,
    weights::{Engine, Weights},
};

mod card;
pub mod effects;
mod folder;
pub mod folds;
pub mod importance;
pub mod predictions;
pub mod profile;
pub mod provenance;
pub mod quality;
pub mod record;
pub mod search;
pub mod stack;
mod stream;
pub mod traits;
mod unfinished;

use folds::{Beyond, Prepared, Split};
use predictions::{CROSS_VALIDATION, Predictions, TEST};
use provenance::Provenance;
use search::{Searched, ledger::Head};
use stack::{Calibration, Part};
use unfinished::Unfinished;

/// Cross-validate the models of a project, fit them to the training rows, and test them out of time.
///
/// Members, not rows, are dealt into folds. Tiers, imputation, outlier limits and scaling are fitted to training rows
/// only. The networks learn from 85 % of the training members and keep the weights of the epoch that is best on the
/// other 15 %; the linear models choose their penalty, and boosting its number of rounds, on such a part and are then
/// fitted to all training rows (ridge chooses its penalty in five inner folds). Then each model's probabilities are
/// calibrated on the rows that the folds held out, where that lowers the log-loss ([train] calibrate = false leaves it
/// out), and the blend adds up all models' logarithms of probabilities, the rule's among them, with weights fitted to
/// those rows; every fold is judged with what the other folds gave. A blend in the browser needs the wasm with every
/// kernel, which is fetched then. The bundle gets the trained model that does best in cross-validation by --select; the
/// test has no say in it.
///
/// Boosting and the networks have settings (learning rate, size, penalties) with defaults that did well on several shops;
/// --search tries others on this one's training rows. All trials are judged on the first fold, the better half of them on
/// the second, and so on; a trial's settings replace the defaults only where its log-loss on held-out members is less by
/// more than one standard error. Often the defaults are as good, and then it says so. A search that was stopped goes on
/// where it was when the same command is given again: search.jsonl in the output folder has what it knows; so does the
/// training after it, whose fits lie in the folder unfinished until the run is whole. Figures of
/// cross-validation are a little too good for settings that it has chosen; those of the test are not.
///
/// Writes into the output folder: bundle.tcb, models/*.onnx, predictions.parquet (every prediction on held-out rows)
/// and run.json. The same project, data and seed give the same bytes on the same machine.
///
/// Example: tiercast train -p tiercast.toml -o run
/// With better settings, if there are any within ten minutes: tiercast train -o run --budget 10m
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
    /// How the weights of the bundle's model are stored; f16 and i8 are rounded, and how far that moves the
    /// probabilities of the training rows is printed. Trees are never rounded.
    #[arg(long, value_enum, default_value = "f32")]
    pub weights: Weights,
    /// Which engine runs the bundle's model.
    #[arg(long, value_enum, default_value = "plan")]
    pub engine: Engine,
    /// Search the settings of boosting and the networks: so many trials of each, the defaults among them. The same
    /// number gives the same result.
    #[arg(long, value_name = "TRIALS", value_parser = clap::value_parser!(u32).range(2..))]
    pub search: Option<u32>,
    /// Search the settings for so long: 90s, 10m, 2h, shared by the models that have some. No fit of the search begins
    /// later; what is known by then is used. With --search, whichever ends first.
    #[arg(long, value_name = "TIME", value_parser = search::duration)]
    pub budget: Option<Duration>,
    /// Where the networks (dnn, corn, cnn, gru, transformer) are trained: cpu, or a graphics card by wgpu (Vulkan, Metal,
    /// Direct3D 12) or cuda (NVIDIA), if this build has it: `cargo install --path training --features wgpu`. wgpu:1 and
    /// cuda:1 are the second card. All else, scoring too, runs on the processor, so that a card changes the networks'
    /// weights and nothing else. Networks of this size learn about as fast on a processor; a card pays for large ones.
    /// What is not there is an error: nothing falls back. More: training/GPU.md.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device::Choice::parse)]
    pub device: device::Choice,
    /// Rows to hold in memory, where it does not hold all. The networks still learn from every row, which they read from
    /// Parquet files epoch by epoch; tiers, transforms, every other model, the search, calibration and all figures are of
    /// a random sample of members with so many rows.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(100..))]
    pub rows: Option<u64>,
    /// Memory for grouping events by member, in MiB, beyond which they go to disk; unlimited by default.
    #[arg(long, value_name = "MIB")]
    pub memory: Option<usize>,
    /// What is told while it works: text, for people, or json: one object a line on stdout, each with `event` (start,
    /// features, fit, note, warning, message, done) and `at`, milliseconds since 1970.
    #[arg(long, value_enum, default_value = "text")]
    pub log: Log,
    /// Models trained at the same time; the number of cores by default.
    #[arg(long)]
    pub threads: Option<usize>,
}

impl Args {
    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// Runs the command.
///
/// # Errors
/// When the project or its tables cannot be read, there are too few rows, or the output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    log::choose(args.log);
    args.weights.check(args.engine)?;
    let project = Project::load(&args.project)?;
    let kinds = kinds(&project)?;
    let device = open(&args, &kinds)?;
    log::event(
        "start",
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "project": project.name,
            "seed": project.seed,
            "device": device.name(),
            "models": kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        }),
    );
    // Before the tables are read: what changes later is then seen in the end.
    let provenance = Provenance { device: device.name().into(), ..Provenance::new(&project, &args)? };
    let bar = progress::spinner("rows read");
    let (dataset, store) = build(&project, &args, &bar)?;
    bar.finish_and_clear();
    let built = started.elapsed();
    dataset.warnings.iter().for_each(|warning| log::warning(warning));
    log::event(
        "features",
        json!({ "rows": dataset.len(), "features": dataset.schema.len(), "seconds": built.as_secs_f64() }),
    );

    let threads = args.threads();
    let trained = Trained::new(&project, (&dataset, store.as_ref()), &kinds, &args, &device, threads)?;
    trained.warnings.iter().for_each(|warning| log::warning(warning));
    let predictions = trained.predictions(&project, &dataset);
    let selected = trained.select(&predictions, args.select)?;
    let bar = progress::spinner("rows read for recommendations");
    let recommended = recommend::train(&project, &trained.last().rules, &read_options(&args), threads, &bar)?;
    bar.finish_and_clear();
    let chosen = (selected, recommended.as_ref());
    let moved = folder::write(&args, &project, &dataset, &trained, &predictions, chosen, provenance)?;
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
    if let Some(moved) = moved {
        say!(
            "Weights as {}: its probabilities move by at most {moved:.1e} on the training rows.",
            args.weights
        );
    }
    trained.unfinished.finish()?;
    say!("Next: tiercast evaluate {}", args.output.display());
    log::event(
        "done",
        json!({
            "output": args.output.display().to_string(),
            "selected": kinds[selected].name(),
            "seconds": started.elapsed().as_secs_f64(),
        }),
    );
    Ok(ExitCode::SUCCESS)
}

/// Builds the rows; where there are more than memory shall hold, a sample of them and the store of all.
fn build(project: &Project, args: &Args, bar: &ProgressBar) -> anyhow::Result<(Dataset, Option<Store>)> {
    let options = BuildOptions { read: read_options(args), skip_invalid: false };
    let Some(most) = args.rows else {
        return Ok((features::build_with(project, &project.as_ofs(), &options, bar)?.0, None));
    };
    let folder = args.output.join(unfinished::FOLDER).join("rows");
    let (dataset, store) = features::build_beyond(project, &options, &folder, most as usize, bar)?;
    if store.rows() == dataset.len() as u64 {
        log::note(&format!("Memory holds all of the {} rows, so --rows changes nothing.", store.rows()));
        return Ok((dataset, None));
    }
    log::note(&format!(
        "The networks learn from all of the {} rows, everything else from {} of them.",
        store.rows(),
        dataset.len()
    ));
    Ok((dataset, Some(store)))
}

fn read_options(args: &Args) -> ReadOptions {
    ReadOptions {
        partitions: None,
        memory: args.memory.map(|mib| mib.max(64) << 20),
        ..ReadOptions::default()
    }
}

/// Opens the device, and says what the user should know about it.
fn open(args: &Args, kinds: &[Kind]) -> anyhow::Result<Device> {
    let device = args.device.open().with_context(|| format!("--device {}", args.device))?;
    device.note().iter().for_each(|note| log::note(note));
    if args.device.kind != device::Kind::Cpu && !kinds.iter().any(|kind| kind.is_network()) {
        log::warning(&format!(
            "--device {} is of no use: no model of [train] models is a network",
            args.device
        ));
    }
    Ok(device)
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
    // The blend comes last, as it is made of the others.
    kinds.sort_by_key(|kind| *kind == Kind::Blend);
    if kinds.iter().all(|kind| matches!(kind, Kind::SameTier | Kind::Blend)) {
        bail!("[train] models names nothing to train; add \"logistic\" or \"boosting\"");
    }
    Ok(kinds)
}

/// Every model on every split; the last split is the final fit to the training rows.
struct Trained {
    kinds: Vec<Kind>,
    splits: Vec<Prepared>,
    /// What a search has found, where there was one.
    settings: BTreeMap<Kind, Params>,
    searched: BTreeMap<Kind, Searched>,
    fitted: Vec<Vec<Fitted>>,
    /// One a kind; none for the rule, the blend, and where there shall be none.
    calibrations: Vec<Option<Calibration>>,
    /// What the blend is made of.
    parts: Vec<Part>,
    /// What could not be done as asked.
    warnings: Vec<String>,
    /// Training rows that the networks read from files, where those at hand are a sample of them.
    streamed: Option<u64>,
    /// What is kept of it until the folder is written.
    unfinished: Unfinished,
}

impl Trained {
    fn new(
        project: &Project,
        (dataset, store): (&Dataset, Option<&Store>),
        kinds: &[Kind],
        args: &Args,
        device: &Device,
        threads: usize,
    ) -> anyhow::Result<Self> {
        let at = |dates: &[Timestamp]| -> Vec<usize> {
            (0..dataset.len()).filter(|row| dates.contains(&dataset.rows[*row].as_of)).collect()
        };
        let (train, test) = (at(&project.split.train), at(&project.split.test));
        let member = folds::member_numbers(dataset);
        let splits = folds::cross_validation(&train, &member, project.split.folds, project.seed);
        if splits.len() < 2 {
            bail!(
                "{} training rows are too few to cross-validate; check [split] train and active_within",
                train.len()
            );
        }
        let prepare = |split| folds::prepare(dataset, &member, &project.tiers, split);
        let mut splits = splits.into_iter().map(prepare).collect::<anyhow::Result<Vec<_>>>()?;
        let (settings, searched) = search(args, kinds, &splits, project.seed, device, threads)?;
        splits.push(prepare(Split { fold: None, train, held_out: test })?);
        let alone: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind != Kind::Blend).collect();
        let bar = progress::bar((splits.len() * alone.len()) as u64, "models trained");
        let head = Head::new(&splits, project.seed, device.name());
        let unfinished = Unfinished::open(&args.output, &head, store)?;
        let members = stream::numbers(dataset, &member);
        let beyond = store.map(|store| Beyond { store, dates: &project.split.train, members: &members });
        let plan = folds::Plan {
            settings: &settings,
            seed: project.seed,
            device,
            beyond,
            threads,
            unfinished: &unfinished,
        };
        let fitted = folds::train_all(&splits, &alone, &plan, &bar)?;
        bar.finish_and_clear();
        let mut trained = Self {
            kinds: kinds.to_vec(),
            splits,
            settings,
            searched,
            fitted,
            calibrations: vec![None; kinds.len()],
            parts: Vec::new(),
            warnings: Vec::new(),
            streamed: store.map(|store| store.rows_at(&project.split.train)),
            unfinished,
        };
        trained.stack(project, dataset, &alone);
        Ok(trained)
    }

    /// Calibrates the models that were trained alone, and blends them if that is asked for.
    fn stack(&mut self, project: &Project, dataset: &Dataset, alone: &[Kind]) {
        let mut blended = Vec::new();
        if self.kinds.contains(&Kind::Blend) {
            let (spec, period, as_ofs) = (dataset.schema.spec(), project.tiers.period, &project.split.train);
            let spend = stack::spend_feature(spec, period, as_ofs);
            (blended, self.parts) = stack::blend(&self.splits, &self.fitted, alone, spend);
            if self.parts.iter().all(|part| part.model != Kind::SameTier.name()) {
                self.warnings.push(stack::without_rule(spec, period, as_ofs, spend));
            }
        }
        for (at, _) in
            alone.iter().enumerate().filter(|(_, kind)| **kind != Kind::SameTier && project.train.calibrate)
        {
            self.calibrations[at] = Some(stack::calibrate(&self.splits, &mut self.fitted, at));
        }
        self.fitted.iter_mut().zip(blended).for_each(|(fitted, blend)| fitted.push(blend));
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
                let name = if split.split.fold.is_some() { CROSS_VALIDATION } else { TEST };
                let rows = &split.split.held_out;
                all.model.extend(rows.iter().map(|_| kind.name().to_owned()));
                all.split.extend(rows.iter().map(|_| name.to_owned()));
                all.fold.extend(rows.iter().map(|_| split.split.fold));
                all.member.extend(rows.iter().map(|row| dataset.rows[*row].member.clone()));
                all.as_of.extend(rows.iter().map(|row| dataset.rows[*row].as_of.ms()));
                all.target.extend(&split.held_out.targets);
                all.target_spend.extend(rows.iter().map(|row| dataset.target_spend[*row]));
                all.probabilities.extend(fitted[at].model.probabilities(&split.held_out));
                if let Model::SameTier(rule) = &fitted[at].model {
                    all.decoded.extend(rule.tiers(&split.held_out.current_spend));
                }
            }
            if *kind != Kind::SameTier {
                for split in [CROSS_VALIDATION, TEST] {
                    all.decoded.extend(all.decide(kind.name(), split, project.train.decode));
                }
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

/// Searches for settings, if that is asked for. It sees the folds only: the test is prepared after it.
fn search(
    args: &Args,
    kinds: &[Kind],
    folds: &[Prepared],
    seed: u64,
    device: &Device,
    threads: usize,
) -> anyhow::Result<(BTreeMap<Kind, Params>, BTreeMap<Kind, Searched>)> {
    if args.search.is_none() && args.budget.is_none() {
        return Ok(Default::default());
    }
    fs::create_dir_all(&args.output).with_context(|| format!("cannot make {}", args.output.display()))?;
    let trials = args.search.map(|trials| trials as usize);
    let plan = search::Plan { trials, budget: args.budget, seed, device: device.clone(), threads };
    let found = search::run(&plan, kinds, folds, &args.output.join(search::FILE))?;
    found.iter().for_each(|(kind, (_, searched))| say!("{}", words::searched(kind.name(), searched)));
    Ok(found.into_iter().map(|(kind, (params, searched))| ((kind, params), (kind, searched))).unzip())
}

/// The run's own decisions on some rows.
fn judged(predictions: &Predictions, rows: &[usize]) -> Judged {
    let of = |tiers: &[u8]| rows.iter().map(|row| tiers[*row]).collect::<Vec<_>>();
    let probabilities: Vec<f32> = rows.iter().flat_map(|row| predictions.row(*row)).copied().collect();
    Judged::new(predictions.tiers, &of(&predictions.target), &of(&predictions.decoded), &probabilities)
}
