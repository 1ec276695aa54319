//! Exported models are what the ONNX checker and onnxruntime take for standard ones, and give what Burn and tract give.
//!
//! The Python side runs in an environment of its own under the target folder, made once with pinned versions.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test itself")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tiercast::{
    export,
    models::{Kind, Model, Rows, fit, mix},
};

const TIERS: usize = 5;
const WIDTH: usize = 12;
const STEPS: usize = 8;

fn rows(n: u64) -> Rows {
    let noise = |x: u64| (mix(x) >> 11) as f64 / (1_u64 << 53) as f64;
    let mut rows = Rows { width: WIDTH, steps: STEPS, channels: 3, ..Rows::default() };
    for i in 0..n {
        let level = noise(i) * TIERS as f64;
        let inputs =
            (0..WIDTH as u64).map(|j| (level / (j + 1) as f64 + 3.0 * noise(i * 31 + j + 7) - 2.0) as f32);
        rows.inputs.extend(inputs);
        for step in 0..STEPS as u64 {
            let is_empty = step < i % 4;
            let number =
                |salt| if is_empty { 0.0 } else { (level * noise(i * 97 + step + salt) - 2.0) as f32 };
            rows.sequence.extend([f32::from(u8::from(is_empty)), number(11), number(23)]);
        }
        rows.next_purchase.push(if noise(i + 9) < 0.2 { f32::NAN } else { (90.0 * noise(i + 5)) as f32 });
        rows.current_spend.push((level * 1000.0) as i64);
        rows.targets.push((level as u8 + 1).min(TIERS as u8));
        rows.member.push(i as u32);
    }
    rows
}

#[test]
fn exported_models_pass_the_checker_and_agree_in_every_runtime() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let rows = rows(700);
    let about = [("project", "a test".into())];
    for kind in [Kind::Linear, Kind::Logistic, Kind::Svm, Kind::Dnn, Kind::Cnn, Kind::Gru, Kind::Transformer]
    {
        let model = fit(kind, TIERS, &rows, 7).unwrap().model;
        let inputs = rows.read(model.reads());
        let onnx = export::model(kind.name(), &model, &about).unwrap();
        compare(&folder, kind.name(), &onnx, &inputs, &model.probabilities(&rows), TIERS);
        if let Model::Sequence(network) = &model {
            let name = format!("{}-profile", kind.name());
            let onnx = export::profile(&name, network, &about);
            compare(&folder, &name, &onnx, &inputs, &network.profiles(&rows), network.profile_width());
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/check.py");
    println!("{}", run(Command::new(python()).arg(script).arg(&folder), "see the assertion above"));
}

/// Compares what trained a model with tract, and writes what onnxruntime is compared with.
fn compare(folder: &Path, name: &str, onnx: &[u8], inputs: &[f32], burn: &[f32], outputs: usize) {
    let width = inputs.len() * outputs / burn.len();
    let tract = tiercast_core::OnnxModel::load(onnx, width, outputs).unwrap().run(inputs).unwrap();
    let largest = burn.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
    let difference = export::largest_difference(burn, &tract) / largest;
    println!("{name}: Burn and tract differ by at most {difference:e} of the largest number");
    assert!(difference < 1e-5, "{name}: {difference}");
    let path = folder.join(name);
    fs::write(path.with_extension("onnx"), onnx).unwrap();
    fs::write(path.with_extension("in"), little_endian(inputs)).unwrap();
    fs::write(path.with_extension("burn"), little_endian(burn)).unwrap();
}

fn little_endian(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The environment's interpreter; made again when the pinned versions change.
fn python() -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx-python");
    let stamp = folder.join("installed.txt");
    let python = folder.join("bin/python");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    let _ = fs::remove_dir_all(&folder);
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&folder),
        "this test needs Python 3.11 with venv: on Debian, apt-get install python3-venv",
    );
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
        "pip could not install onnx and onnxruntime: check the network and the package index in pip's configuration",
    );
    fs::write(stamp, wanted).unwrap();
    python
}

fn run(command: &mut Command, what_to_do: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {what_to_do}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed\n{}{}\n{what_to_do}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}
