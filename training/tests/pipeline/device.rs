//! `--device wgpu` through the program, on the first adapter of the machine; without one these tests fail.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tiercast::train::record::RunRecord;

use super::{sales, with_models};

/// Half of the customers and one network, which is work enough for a card that is none.
fn shop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let project = with_models(r#""dnn""#).replace("folds = 3", "folds = 2");
    fs::write(folder.path().join("tiercast.toml"), project).unwrap();
    let half = |line: &&str| *line < "c060" || line.starts_with("customer");
    let sales: Vec<String> = sales().lines().filter(half).map(str::to_owned).collect();
    fs::write(folder.path().join("sales.csv"), sales.join("\n")).unwrap();
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
