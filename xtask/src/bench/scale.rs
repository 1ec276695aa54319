//! `cargo xtask bench --scale`: how a shop's size tells, beside DuckDB and onnxruntime.

use anyhow::Result;

use super::folder;
use crate::{
    setup,
    shell::{Run, cache_dir, exclusive, step},
};

/// Builds and fetches what it needs, then lets Python drive the measuring.
pub(super) fn run(quick: bool, minutes: u64, only: &[String]) -> Result<()> {
    setup::run()?;
    let cache = cache_dir("bench-scale")?;
    let (program, contestant, python) = {
        let _alone = exclusive()?;
        let target = cache.join("native");
        step("bench: tiercast as a release has it, and the engine alone", || {
            // Together: another selection would compile DataFusion again.
            let build = Run::cargo().args([
                "build",
                "--locked",
                "--release",
                "-p",
                "tiercast",
                "-p",
                "tiercast-tests",
            ]);
            let build =
                build.args(["--features", "tiercast-tests/bench", "--bin", "tiercast", "--bin", "bench"]);
            build.env("CARGO_TARGET_DIR", &target).limit(90 * 60).run()
        })?;
        let built =
            |name: &str| target.join("release").join(name).with_extension(std::env::consts::EXE_EXTENSION);
        let requirements = folder().join("requirements-scale.txt");
        (built("tiercast"), built("bench"), setup::python_with(&requirements, &cache.join("python"))?)
    };
    let mut run = Run::new(python).arg(folder().join("scale.py")).arg(program).arg(contestant);
    run = run.arg(cache.join("shops")).arg("--minutes").arg(minutes.to_string());
    for name in only {
        run = run.args(["--only", name]);
    }
    if quick {
        run = run.arg("--quick");
    }
    run.shown().limit((minutes + 30) * 60).run()
}
