//! `--device wgpu` through the program, on the first adapter of the machine; without one these tests fail.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test itself")]

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Output},
};

use tiercast::{models::mix, train::record::RunRecord};

const PROJECT: &str = r#"
[project]
name = "made-up shop"
seed = 7

[currency]
code = "EUR"
exponent = 2

[[events]]
table = "sales.csv"

[events.columns]
member = "customer"
kind = "'purchase'"
time = "day"
amount = "paid"

[tiers]
names = ["Basic", "Gold"]
period = "quarter"
shares = [0.6, 0.4]

[split]
train = ["2024-04-01", "2024-07-01"]
test = ["2024-10-01"]
folds = 2

[train]
models = ["dnn"]

[[features]]
name = "recency"
op = "recency"

[[features]]
name = "spend_91d"
op = "sum"
of = "amount"
window = "91d"
"#;

/// 60 customers who buy once a month at their own level.
fn sales() -> String {
    let noise = |x: u64| (mix(x) >> 11) as f64 / (1_u64 << 53) as f64;
    let mut csv = String::from("customer,day,paid\n");
    for (customer, month) in (0..60_u64).flat_map(|customer| (1..=12_u64).map(move |month| (customer, month)))
    {
        let (level, salt) = (5.0 + 60.0 * noise(customer), customer * 100 + month);
        let (day, paid) = (1 + mix(salt) % 28, level * (0.5 + noise(salt + 500_000)));
        writeln!(csv, "c{customer:03},2024-{month:02}-{day:02},{paid:.2}").unwrap();
    }
    csv
}

fn shop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiercast.toml"), PROJECT).unwrap();
    fs::write(folder.path().join("sales.csv"), sales()).unwrap();
    folder
}

fn train(folder: &Path, device: &str, driver: Option<&str>) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiercast"));
    command.current_dir(folder).args(["train", "-o", "run", "--threads", "2", "--device", device]);
    // Both names: Vulkan's loaders before 1.3.234 know the second one only.
    for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        if let Some(driver) = driver {
            command.env(name, driver);
        }
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn a_shop_is_trained_on_the_device_that_was_asked_for() {
    let folder = shop();
    let (output, said) = train(folder.path(), "wgpu:0", None);
    assert!(output.status.success(), "{said}");
    let record = RunRecord::read(&folder.path().join("run")).unwrap();
    assert!(record.provenance.command.ends_with(" --device wgpu:0"), "{}", record.provenance.command);
    let device = record.provenance.device;
    assert!(device.ends_with(')') && said.contains(&format!("trained on {device}")), "{device}: {said}");
    assert!(folder.path().join("run/bundle.tcb").exists());
}

#[test]
fn no_device_is_an_error_before_the_tables_are_read() {
    let folder = shop();
    fs::remove_file(folder.path().join("sales.csv")).unwrap();
    let refused = |device: &str, driver, why: &[&str]| {
        let (output, said) = train(folder.path(), device, driver);
        assert!(!output.status.success(), "{device} should be refused");
        assert!(why.iter().all(|why| said.contains(why)), "{device}: {said}");
        assert!(!said.contains("panicked") && !said.contains("sales.csv"), "{device}: {said}");
        assert!(!folder.path().join("run").exists());
    };
    refused("wgpu:99", None, &["there is no wgpu:99", "wgpu:0 is "]);
    refused("gpu", None, &["write cpu, wgpu or cuda"]);
    #[cfg(not(feature = "cuda"))]
    refused("cuda", None, &["this build has no cuda", "--features cuda"]);
    #[cfg(target_os = "linux")]
    for device in ["wgpu", "wgpu:0"] {
        refused(device, Some("/nonexistent.json"), &["no driver shows a graphics card", "libvulkan1"]);
    }
}
