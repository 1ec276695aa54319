//! What depends on what, as ARCHITECTURE.md states it.

use std::{collections::BTreeMap, process::Command};

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
    let tree =
        cargo(&["tree", "-p", "tiercast-core", "--no-default-features", "-e", "normal", "--prefix", "none"]);
    for absent in ["tract", "wasm-bindgen", "js-sys", "arrow", "datafusion", "tokio", "rand", "getrandom"] {
        assert!(!tree.lines().any(|line| line.starts_with(absent)), "{absent} in\n{tree}");
    }
    let with_model = cargo(&["tree", "-p", "tiercast-core", "-e", "normal", "--prefix", "none"]);
    assert!(with_model.lines().any(|line| line.starts_with("tract-onnx ")), "the check above can fail");
}
