//! Ours in `cargo xtask bench --training`: writes the rows that all learn from, and fits models to them on request.
//!
//! `training rows FOLDER CACHE` fetches the two known data sets into a cache folder and writes one split of each, and
//! made-up rows, as plain numbers. `training fit FOLDER THREADS` answers each line `SET MODEL FILE` with the nanoseconds that one fit took and what it
//! chose, and writes the probabilities of the rows held out into the file. The driver lets the contestants take turns; this
//! program knows nothing of the others.

use std::{
    env, fs,
    io::{BufRead, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tiercast::{
    data::fetch::{Set, fetch},
    device::Device,
    features,
    models::{Fitted, Fitting, Kind, Model, Params, Rows, fit_with, mix, threads},
    progress,
    project::Project,
    train::folds,
};

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["rows", folder, cache] => {
            let folder = Path::new(folder);
            for (name, set) in [("complete-journey", Set::CompleteJourney), ("cdnow", Set::Cdnow)] {
                let data = fetch(set, Path::new(cache), false)?;
                write_fold(&folder.join(name), &data.join("tiercast.toml"))?;
            }
            let (train, held_out) = (made_up(0, 50_000), made_up(50_000, 12_500));
            write(&folder.join("made-up"), 5, &train, &held_out)
        }
        ["fit", folder, threads] => serve(Path::new(folder), threads.parse()?),
        _ => bail!("training rows FOLDER CACHE, or training fit FOLDER THREADS"),
    }
}

/// The first fold of a project's cross-validation, as `tiercast train` makes it.
fn write_fold(folder: &Path, project: &Path) -> Result<()> {
    let project = Project::load(project)?;
    let dataset = features::build(&project, &project.split.train, &progress::spinner("rows read"))?;
    let member = folds::member_numbers(&dataset);
    let rows: Vec<usize> = (0..dataset.len()).collect();
    let splits = folds::cross_validation(&rows, &member, project.split.folds, project.seed);
    let split = splits.into_iter().next().context("the project has too few rows")?;
    let prepared = folds::prepare(&dataset, &member, &project.tiers, split)?;
    write(folder, prepared.rules.len(), &prepared.train, &prepared.held_out)
}

/// Rows of 40 inputs whose tier follows from a weighted sum, a product, a bend and luck.
fn made_up(first: u64, count: u64) -> Rows {
    const WIDTH: u64 = 40;
    let uniform = |seed: u64| (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64;
    // Irwin and Hall's sum of twelve is close to normal.
    let normal = |seed: u64| (0..12).map(|i| uniform(mix(seed) ^ i)).sum::<f64>() - 6.0;
    let weights: Vec<f64> = (0..WIDTH).map(|input| normal(input) * 0.25).collect();
    let mut rows = Rows { width: WIDTH as usize, plain_width: WIDTH as usize, ..Rows::default() };
    for row in first..first + count {
        let x: Vec<f64> = (0..WIDTH).map(|input| normal((row + 1) << 8 | input)).collect();
        let sum: f64 = x.iter().zip(&weights).map(|(x, weight)| x * weight).sum();
        let bent = 0.7 * (x[0] * x[1]).tanh() + if x[2] > 0.0 { 0.5 * x[3] } else { 0.0 };
        let score = sum + bent + 0.8 * normal((row + 1) << 8 | 255);
        let tier = [-0.4, 0.8, 2.0, 3.0].iter().filter(|cut| score > **cut).count() as u8 + 1;
        rows.inputs.extend(x.iter().map(|x| *x as f32));
        rows.targets.push(tier);
        rows.target_spend.push(((score + 4.0).max(0.0) * 1000.0) as i64);
        rows.current_spend.push(0);
        rows.member.push(row as u32);
    }
    rows.plain = rows.inputs.clone();
    rows.thresholds = vec![0, 3600, 4800, 6000, 7000];
    rows
}

/// A set as plain numbers, lowest byte first, and its sizes as JSON.
fn write(folder: &Path, tiers: usize, train: &Rows, held_out: &Rows) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (name, rows) in [("train", train), ("held", held_out)] {
        let put = |what: &str, bytes: Vec<u8>| fs::write(folder.join(format!("{name}.{what}")), bytes);
        put("dense", rows.inputs.iter().flat_map(|x| x.to_le_bytes()).collect())?;
        put("plain", rows.plain.iter().flat_map(|x| x.to_le_bytes()).collect())?;
        put("spend", rows.target_spend.iter().flat_map(|x| x.to_le_bytes()).collect())?;
        put("member", rows.member.iter().flat_map(|x| x.to_le_bytes()).collect())?;
        put("tier", rows.targets.clone())?;
    }
    let sizes = json!({
        "tiers": tiers, "rows": train.len(), "held": held_out.len(), "dense": train.width, "plain": train.plain_width,
        "thresholds": train.thresholds,
    });
    fs::write(folder.join("set.json"), sizes.to_string())?;
    Ok(())
}

/// A set as [`write`] wrote it.
struct Sample {
    tiers: usize,
    train: Rows,
    held_out: Rows,
}

impl Sample {
    fn read(folder: &Path) -> Result<Self> {
        let sizes: Value = serde_json::from_slice(&fs::read(folder.join("set.json"))?)?;
        let size =
            |name: &str| sizes[name].as_u64().context("set.json lacks a size").map(|size| size as usize);
        let thresholds = sizes["thresholds"].as_array().into_iter().flatten().filter_map(Value::as_i64);
        let thresholds: Vec<i64> = thresholds.collect();
        let rows = |name: &str| -> Result<Rows> {
            let get = |what: &str| fs::read(folder.join(format!("{name}.{what}")));
            let floats =
                |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let targets = get("tier")?;
            Ok(Rows {
                width: size("dense")?,
                inputs: floats(get("dense")?),
                plain_width: size("plain")?,
                plain: floats(get("plain")?),
                current_spend: vec![0; targets.len()],
                targets,
                target_spend: get("spend")?.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
                thresholds: thresholds.clone(),
                member: get("member")?.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect(),
                ..Rows::default()
            })
        };
        Ok(Self { tiers: size("tiers")?, train: rows("train")?, held_out: rows("held")? })
    }
}

fn serve(folder: &Path, count: usize) -> Result<()> {
    let mut loaded: Option<(String, Sample)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let [name, model, file] = line.split(' ').collect::<Vec<_>>()[..] else {
            bail!("SET MODEL FILE, not {line:?}")
        };
        if loaded.as_ref().is_none_or(|(known, _)| known != name) {
            loaded = Some((name.to_owned(), Sample::read(&folder.join(name))?));
        }
        let Some((_, set)) = &loaded else { continue };
        let (kind, params) = task(model)?;
        let fitting = Fitting { params: &params, seed: 7, device: &Device::Cpu, stream: None };
        let start = Instant::now();
        let fitted = threads::allow(count, || fit_with(kind, &fitting, set.tiers, &set.train))?;
        let time = start.elapsed().as_nanos();
        let probabilities = fitted.model.probabilities(&set.held_out);
        fs::write(file, probabilities.iter().flat_map(|p| p.to_le_bytes()).collect::<Vec<u8>>())?;
        println!("{}", json!({ "ns": time as u64, "chose": chose(&fitted) }));
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// What the driver's names mean: `boosting` and `network` do so many rounds and epochs, as the others do.
fn task(model: &str) -> Result<(Kind, Params)> {
    let mut params = Params::default();
    let kind = match model {
        "boosting" => {
            params.boosting.rounds = Some(100);
            Kind::Boosting
        }
        "network" => {
            params.dnn.epochs = Some(10);
            params.dnn.dropout = 0.0;
            Kind::Dnn
        }
        "boosting-stopped" => Kind::Boosting,
        "network-stopped" => Kind::Dnn,
        name => Kind::parse(name)?,
    };
    Ok((kind, params))
}

/// The penalty, the rounds or the epochs.
fn chose(fitted: &Fitted) -> Value {
    match (&fitted.model, fitted.l2) {
        (_, Some(penalty)) => json!(penalty),
        (Model::Trees(forest), _) => json!(forest.trees.len() / forest.tiers),
        _ => json!(fitted.curve.len()),
    }
}
