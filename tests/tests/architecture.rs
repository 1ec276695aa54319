//! What depends on what, as ARCHITECTURE.md states it.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;
use tiercast_tests::at_root;

/// The project's packages by name, as their manifests declare them: needs nothing that was not cloned.
fn packages() -> BTreeMap<String, Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline", "--locked", "--manifest-path"])
        .arg(at_root("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (package["name"].as_str().unwrap().to_string(), package.clone())).collect()
}

/// The names of a package's dependencies, on any target and of any kind, that satisfy a condition.
fn dependencies(package: &Value, wanted: impl Fn(&Value) -> bool) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|dependency| wanted(dependency))
        .map(|dependency| dependency["name"].as_str().unwrap())
        .collect()
}

#[test]
fn the_outer_crates_depend_on_core_and_never_on_each_other() {
    let packages = packages();
    let ours = |name: &str| -> Vec<&str> {
        dependencies(&packages[name], |dependency| !dependency["path"].is_null()).into_iter().collect()
    };
    assert_eq!(ours("tiercast-core"), [""; 0]);
    for outer in ["tiercast-wasm", "tiercast-edge", "tiercast-models"] {
        assert_eq!(ours(outer), ["tiercast-core"], "{outer}");
    }
    assert_eq!(ours("tiercast"), ["tiercast-core", "tiercast-models"]);
}

#[test]
fn core_without_features_knows_no_model_runtime_no_js_and_no_tables() {
    let packages = packages();
    let core = &packages["tiercast-core"];
    let optional = |dependency: &Value| dependency["optional"] == true;
    let test = |dependency: &Value| dependency["kind"] == "dev";
    let always = dependencies(core, |dependency| !optional(dependency) && !test(dependency));
    assert_eq!(always, BTreeSet::from(["libm", "serde", "serde_json", "sha2"]));
    assert_eq!(dependencies(core, optional), BTreeSet::from(["tract-onnx"]));
}

#[test]
fn what_pages_and_workers_download_has_no_tract() {
    let packages = packages();
    for outer in ["tiercast-wasm", "tiercast-edge"] {
        let core = packages[outer]["dependencies"].as_array().unwrap().iter();
        let core = core.filter(|dependency| dependency["name"] == "tiercast-core").collect::<Vec<_>>();
        let onnx =
            |dependency: &&Value| dependency["features"].as_array().unwrap().iter().any(|f| f == "onnx");
        assert!(!core.is_empty() && !core.iter().any(onnx), "{outer}");
        assert!(
            packages[outer]["features"]
                .get("default")
                .is_none_or(|default| default == &serde_json::json!([]))
        );
    }
}
