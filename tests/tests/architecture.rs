//! What depends on what, as ARCHITECTURE.md states it.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;
use tiercast_tests::at_root;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked", "--manifest-path"])
        .arg(at_root("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_outer_crates_depend_on_core_and_never_on_each_other() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let ours: BTreeMap<&str, Vec<&str>> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let inside = dependencies.filter(|d| !d["path"].is_null()).map(|d| d["name"].as_str().unwrap());
            (package["name"].as_str().unwrap(), inside.collect())
        })
        .collect();
    assert_eq!(ours["tiercast-core"], [""; 0]);
    for outer in ["tiercast-wasm", "tiercast-edge", "tiercast"] {
        assert_eq!(ours[outer], ["tiercast-core"], "{outer}");
    }
}

#[test]
fn core_without_features_knows_no_model_runtime_no_js_and_no_tables() {
    let direct = |arguments: &[&str]| -> BTreeSet<String> {
        let common = [
            "tree",
            "-p",
            "tiercast-core",
            "-e",
            "normal",
            "--depth",
            "1",
            "--prefix",
            "none",
            "--target",
            "all",
        ];
        let tree = cargo(&[&common, arguments].concat());
        tree.lines().skip(1).filter_map(|line| line.split(' ').next()).map(str::to_string).collect()
    };
    let pure = ["libm", "postcard", "serde", "serde_json", "sha2"];
    assert_eq!(direct(&["--no-default-features"]), BTreeSet::from(pure.map(str::to_string)));
    let mut with_model = BTreeSet::from(pure.map(str::to_string));
    with_model.insert("tract-onnx".into());
    assert_eq!(direct(&[]), with_model);
}
