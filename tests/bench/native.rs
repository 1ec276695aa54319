//! Native contestants of `cargo xtask bench`: ours and tract, timed on request.
//!
//! `bench ours|tract FOLDER MODEL` loads a model, checks its scores against the reference, prints the largest
//! difference, and then answers each line `ROWS REPEATS FROM` with the nanoseconds that so many calls took. The driver
//! lets the contestants take turns; this program knows nothing of the others.

use std::{
    env, fs,
    io::{BufRead, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use tiercast_core::{Model, Workspace};
use tract_onnx::prelude::*;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [contestant, folder, model] = args.as_slice() else { bail!("bench ours|tract FOLDER MODEL") };
    let folder = Path::new(folder);
    let task = Task::read(folder, model)?;
    match contestant.as_str() {
        "ours" => task.serve(&mut Ours::load(folder, model)?),
        "tract" => task.serve(&mut Tract::load(folder, model, &task)?),
        other => bail!("no contestant {other}"),
    }
}

/// Something that scores rows.
trait Contestant {
    /// Scores `count` rows, one after the other in `rows`, and hands the scores on.
    fn score(&mut self, rows: &[f32], count: usize, seen: &mut dyn FnMut(&[f32])) -> Result<()>;
}

/// The rows to score, and what the reference gives for them.
struct Task {
    rows: Vec<f32>,
    expected: Vec<f32>,
    count: usize,
}

impl Task {
    fn read(folder: &Path, model: &str) -> Result<Self> {
        let floats = |extension: &str| -> Result<Vec<f32>> {
            let path = folder.join(model).with_extension(extension);
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
        };
        Ok(Self { rows: floats("rows")?, expected: floats("expected")?, count: 1024 })
    }

    fn width(&self) -> usize {
        self.rows.len() / self.count
    }

    /// The row number `i`, counted round and round.
    fn row(&self, i: usize) -> &[f32] {
        let at = i % self.count * self.width();
        &self.rows[at..at + self.width()]
    }

    fn serve(&self, contestant: &mut dyn Contestant) -> Result<()> {
        println!("{:e}", self.check(contestant)?);
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let numbers: Vec<usize> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            let [rows, repeats, from] = *numbers else { bail!("ROWS REPEATS FROM, not {line:?}") };
            let mut sum = 0.0;
            let mut seen = |scores: &[f32]| sum += scores[0];
            let start = Instant::now();
            for i in from..from + repeats {
                let values = if rows == 1 { self.row(i) } else { &self.rows };
                contestant.score(values, rows, &mut seen)?;
            }
            let time = start.elapsed().as_nanos();
            ensure!(sum.is_finite(), "a score is not a number");
            println!("{time}");
            std::io::stdout().flush()?;
        }
        Ok(())
    }

    /// The largest absolute difference from the reference.
    fn check(&self, contestant: &mut dyn Contestant) -> Result<f32> {
        let mut largest = 0.0_f32;
        let outputs = self.expected.len() / self.count;
        contestant.score(&self.rows, self.count, &mut |scores| {
            largest = largest.max(difference(scores, &self.expected));
        })?;
        for i in 0..32 {
            contestant.score(self.row(i), 1, &mut |scores| {
                largest = largest.max(difference(scores, &self.expected[i * outputs..(i + 1) * outputs]));
            })?;
        }
        ensure!(largest < 1e-4, "scores are off by {largest}");
        Ok(largest)
    }
}

/// The largest absolute difference; infinite where the lengths differ or it is not a number.
fn difference(scores: &[f32], expected: &[f32]) -> f32 {
    if scores.len() != expected.len() {
        return f32::INFINITY;
    }
    let apart = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    scores.iter().zip(expected).map(apart).fold(0.0, f32::max)
}

/// The compact engine, as a program that scores would use it: buffers made once.
struct Ours {
    model: Model,
    workspace: Workspace,
    scores: Vec<f32>,
}

impl Ours {
    fn load(folder: &Path, model: &str) -> Result<Self> {
        let path = folder.join(model).with_extension("tcb");
        let model = Model::load(&fs::read(&path).with_context(|| path.display().to_string())?)?;
        Ok(Self { workspace: model.workspace(1024), model, scores: Vec::new() })
    }
}

impl Contestant for Ours {
    fn score(&mut self, rows: &[f32], _count: usize, seen: &mut dyn FnMut(&[f32])) -> Result<()> {
        self.scores.clear();
        self.model.run(&mut self.workspace, rows, &mut self.scores)?;
        seen(&self.scores);
        Ok(())
    }
}

/// tract, with a plan for each of the two batch sizes: it then knows every shape.
struct Tract {
    one: Arc<TypedRunnableModel>,
    many: Arc<TypedRunnableModel>,
    width: usize,
}

impl Tract {
    fn load(folder: &Path, model: &str, task: &Task) -> Result<Self> {
        let path = folder.join(model).with_extension("onnx");
        let plan = |rows: usize| {
            let model = tract_onnx::onnx().model_for_path(&path)?;
            let fact = f32::fact([rows, task.width()]);
            model.with_input_fact(0, fact.into())?.into_optimized()?.into_runnable()
        };
        Ok(Self { one: plan(1)?, many: plan(task.count)?, width: task.width() })
    }
}

impl Contestant for Tract {
    fn score(&mut self, rows: &[f32], count: usize, seen: &mut dyn FnMut(&[f32])) -> Result<()> {
        let plan = if count == 1 { &self.one } else { &self.many };
        let input = Tensor::from_shape(&[count, self.width], rows)?;
        let outputs = plan.run(tvec!(input.into_tvalue()))?;
        seen(outputs[0].try_as_plain_ram()?.as_slice::<f32>()?);
        Ok(())
    }
}
