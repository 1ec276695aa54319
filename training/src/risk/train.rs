//! `tiercast risk train`: what judges risk in a bundle, learned from the rows that `tiercast risk moments` wrote.
//!
//! Invariant: the last rows by time judge, and nothing of them has a say in what is judged.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use tiercast_core::{Bundle, FeatureSchema, RiskCondition, RiskEvidence, RiskRule};

use super::{
    folder::{self, RiskRecord},
    rule_file,
};
use crate::{
    export, fit,
    models::{
        Forest,
        risk::{
            Inputs, Labelled, curve,
            rules::{self, Rules, Side},
            supervised::{Settings, Supervised, Tried},
        },
        threads,
        uplift::qini::Order,
    },
    policy::{log::Source, record::digest},
    progress,
    project::count,
    whole,
};

/// Learn what judges risk in a bundle.
///
/// ROWS is what `tiercast risk moments --labels` wrote for the bundle's project: the features at each order or login, and whether
/// that was fraud. Boosted trees learn from the earlier rows, calibrated on later ones, which also say where the threshold is:
/// where --alerts percent of the rows are alerted. The last --test of the rows judge what was learned, beside the best pair of
/// thresholds that somebody would write from the same rows.
///
/// The folder gets risk.json and risk.onnx; `tiercast bundle BUNDLE --risk FOLDER -o OUT` puts them into the bundle. A rule of --rules is a
/// line of TOML, a name and thresholds on features: "dear and new" = "last_order >= 300 and device_known <= 0". Rules raise alerts
/// beside the model, and are part of the bundle.
///
/// Example: tiercast risk train run/bundle.tcb moments.parquet --alerts 1 -o risk
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The bundle whose features the rows have.
    pub bundle: PathBuf,
    /// The rows.
    pub rows: PathBuf,
    /// The folder to write.
    #[arg(short, long, default_value = "risk", value_name = "FOLDER")]
    pub output: PathBuf,
    /// Percent of the rows that can be looked at.
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    pub alerts: f64,
    /// The share of the rows, the last ones by time, that judge.
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    pub test: f64,
    /// A TOML file of the shop's own rules.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// What the model is called, with its version.
    #[arg(long, default_value = "risk 1")]
    pub name: String,
    /// The kinds of events that the rows are of; give it once for each.
    #[arg(long, value_name = "KIND", default_value = "purchase")]
    pub each: Vec<String>,
    /// Decides all draws.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Threads; they change how long it takes and no figure. By default one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// Rows by time.
struct Moments {
    features: Vec<f32>,
    fraud: Vec<bool>,
    width: usize,
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or the rows lack a feature, the label or the time, when there is no fraud to learn from or to judge by, and
/// when the folder cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.alerts > 0.0 && args.alerts < 100.0,
        "--alerts {} is no percentage above 0 and below 100",
        args.alerts
    );
    ensure!(args.test > 0.0 && args.test < 1.0, "--test {} is not above 0 and below 1", args.test);
    let inputs: Vec<PathBuf> =
        [Some(&args.bundle), Some(&args.rows), args.rules.as_ref()].into_iter().flatten().cloned().collect();
    for name in [folder::JSON, folder::ONNX] {
        whole::refuse_inputs(&args.output.join(name), &inputs)?;
    }
    let bytes =
        std::fs::read(&args.bundle).with_context(|| format!("cannot read {}", args.bundle.display()))?;
    let bundle = Bundle::parse(&bytes).with_context(|| args.bundle.display().to_string())?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let moments = runtime.block_on(moments(&args.rows, bundle.schema()))?;
    let threads =
        args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let (record, onnx) = threads::allow(threads, || args.learn(&bundle, &moments))?;
    folder::write(&args.output, &record, &onnx)?;
    say!("{}", words(&record).trim_end());
    say!(
        "{}: put it in with `tiercast bundle {} --risk {} -o OUT`",
        args.output.display(),
        args.bundle.display(),
        args.output.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Reads rows and brings them into the order of their times.
async fn moments(path: &Path, schema: &FeatureSchema) -> anyhow::Result<Moments> {
    let of = || path.display().to_string();
    let source = Source::find(path).await?;
    let names: Vec<String> = schema.names().chain(["time", "label"]).map(str::to_owned).collect();
    let table = source.read(&names).await.with_context(of)?;
    let (times, labels) = (table.times("time")?, table.numbers("label").with_context(of)?);
    if let Some(row) = labels.iter().position(|label| *label != 0.0 && *label != 1.0) {
        anyhow::bail!("{}, column \"label\", row {}: {} is neither 0 nor 1", of(), row + 1, labels[row]);
    }
    let columns: Vec<Vec<f32>> = schema
        .names()
        .map(|name| table.some_numbers(name))
        .collect::<anyhow::Result<_>>()
        .with_context(of)?;
    let mut order: Vec<usize> = (0..table.rows).collect();
    order.sort_by_key(|row| times[*row]);
    Ok(Moments {
        features: order.iter().flat_map(|row| columns.iter().map(|column| column[*row])).collect(),
        fraud: order.iter().map(|row| labels[*row] == 1.0).collect(),
        width: columns.len(),
    })
}

impl Moments {
    fn features(&self, rows: std::ops::Range<usize>) -> &[f32] {
        &self.features[rows.start * self.width..rows.end * self.width]
    }
}

impl Args {
    fn learn(&self, bundle: &Bundle, moments: &Moments) -> anyhow::Result<(RiskRecord, Vec<u8>)> {
        let schema = bundle.schema();
        let rows = moments.fraud.len();
        ensure!(
            rows > 2,
            "{} are too few to learn from some, choose by others and judge by the rest",
            count(rows, "row")
        );
        let judged = rows - ((rows as f64 * self.test).round() as usize).clamp(1, rows - 1);
        let later = judged - (judged / 4).max(1);
        let tiers: Vec<u8> = moments.fraud.iter().map(|fraud| 1 + u8::from(*fraud)).collect();
        // Codes are put in order by the earliest rows alone.
        let transform = fit::plain(schema, moments.features(0..later), &tiers[..later]);
        ensure!(transform.width() > 0, "no feature varies in the first {}", count(later, "row"));
        let inputs = |from, to| {
            Inputs::new(transform.width(), fit::apply(&transform, schema.len(), moments.features(from..to)))
        };
        let (early, late, test, known) =
            (inputs(0, later)?, inputs(later, judged)?, inputs(judged, rows)?, inputs(0, judged)?);
        let fraud = |from: usize, to: usize| &moments.fraud[from..to];
        let earlier = Labelled { inputs: &early, fraud: fraud(0, later) };
        let aside = Labelled { inputs: &late, fraud: fraud(later, judged) };
        let settings = Settings::trees();
        let bar = progress::bar(settings.len() as u64 + 1, "forests");
        let tried = Tried::best(&settings, &earlier, &aside, self.seed, |_| bar.inc(1))
            .context("of the rows before those that judge, the last quarter chooses and calibrates")?;
        let threshold = {
            let mut said: Vec<f64> =
                tried.scores.iter().map(|score| tried.platt.probability(*score)).collect();
            said.sort_unstable_by(|a, b| b.total_cmp(a));
            let last = ((said.len() as f64 * self.alerts / 100.0) as usize).min(said.len() - 1);
            // As core compares it.
            (said[last] as f32).clamp(f32::MIN_POSITIVE, 1.0)
        };
        let all = Labelled { inputs: &known, fraud: fraud(0, judged) };
        let model = Supervised::fit(&tried.settings, &all, self.seed)?;
        bar.inc(1);
        bar.finish_and_clear();
        let forest = model.forest().context("trees were asked for")?;
        // What calibrates a score stands in the leaves, so that the trees give probabilities.
        let forest = forest.calibrated(tried.platt.weight, tried.platt.bias);
        let onnx = export::forest_onnx(&self.name, &forest, &[("tiercast.task", "risk".into())]);
        let evidence = self.evidence(&forest, &test, fraud(judged, rows), threshold, &all)?;
        let rules = self.rules(schema)?;
        let record = RiskRecord {
            format: folder::FORMAT,
            producer: concat!("tiercast ", env!("CARGO_PKG_VERSION")).into(),
            schema_hash: bundle.manifest().schema_hash.clone(),
            name: self.name.clone(),
            each: self.each.clone(),
            threshold,
            rules: rules.into_iter().map(Into::into).collect(),
            typical: folder::told(&fit::typical(schema, moments.features(0..judged))),
            transform,
            evidence,
            settings: tried.settings,
            onnx: digest(&onnx),
        };
        Ok((record, onnx))
    }

    /// How what was learned does on rows that it has not seen.
    fn evidence(
        &self,
        forest: &Forest,
        test: &Inputs,
        fraud: &[bool],
        threshold: f32,
        all: &Labelled<'_>,
    ) -> anyhow::Result<RiskEvidence> {
        let chances: Vec<f32> =
            forest.probabilities(test.values()).chunks_exact(2).map(|pair| pair[1]).collect();
        let scores: Vec<f64> = chances.iter().copied().map(f64::from).collect();
        let order = Order::new(&scores);
        let figures = curve::figures(&order, fraud, |_| 1.0)
            .context("the rows that judge are of one kind; give more rows, or a larger --test")?;
        let alerted = |at: &usize| chances[*at] >= threshold;
        let alerts = (0..fraud.len()).filter(alerted).count();
        let (frauds, found) = (
            fraud.iter().filter(|fraud| **fraud).count(),
            (0..fraud.len()).filter(|at| fraud[*at] && alerted(at)).count(),
        );
        let budget = (all.inputs.len() as f64 * self.alerts / 100.0) as usize;
        let rule_recall = match rules::best_pair(all, budget.max(1))? {
            Some(made) => {
                let thumb = Rules::new(vec![made.rule], all.inputs)?.scores(test);
                curve::at(&Order::new(&thumb), fraud, alerts as f64).recall
            }
            None => 0.0,
        };
        let share = |part: usize, of: usize| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        Ok(RiskEvidence {
            rows: fraud.len() as u64,
            frauds: frauds as u64,
            average_precision: figures.average_precision,
            auc: figures.auc,
            alerts: share(alerts, fraud.len()),
            recall: share(found, frauds),
            precision: share(found, alerts),
            rule_recall,
        })
    }

    /// The shop's rules over features.
    fn rules(&self, schema: &FeatureSchema) -> anyhow::Result<Vec<RiskRule>> {
        let Some(path) = &self.rules else { return Ok(Vec::new()) };
        let names: Vec<String> = schema.names().map(str::to_owned).collect();
        let file = rule_file::read(path, &names)?;
        let rule = |(name, conditions): (String, Vec<rules::Condition>)| RiskRule {
            name,
            all: conditions
                .into_iter()
                .map(|condition| RiskCondition {
                    feature: condition.input as u32,
                    at_least: condition.side == Side::AtLeast,
                    value: condition.value,
                })
                .collect(),
        };
        Ok(file.names.into_iter().zip(file.rules).map(rule).collect())
    }
}

fn words(record: &RiskRecord) -> String {
    let RiskEvidence { rows, frauds, average_precision, auc, alerts, recall, precision, rule_recall } =
        &record.evidence;
    format!(
        "judged by the last {rows} rows, {frauds} of them fraud:\n\
         \x20 average precision {average_precision:.3}, AUC {auc:.3}\n\
         \x20 at {:.4} and above {:.2} % are alerts: {:.1} % of the frauds, {:.1} % of the alerts are frauds\n\
         \x20 the best pair of thresholds finds {:.1} % of the frauds with as many alerts\n",
        record.threshold,
        100.0 * alerts,
        100.0 * recall,
        100.0 * precision,
        100.0 * rule_recall,
    )
}

#[cfg(test)]
mod tests;
