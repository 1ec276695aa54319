//! The table that is committed.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    models::{Compared, Outcome},
    operators::{ML, OPERATORS},
    verdict::{ABSOLUTE, Opinion, RELATIVE, Verdict},
};

/// A case and what everyone made of it.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) name: String,
    /// Places in [`OPERATORS`].
    pub(crate) operators: Vec<usize>,
    pub(crate) ours: Verdict,
    pub(crate) onnxruntime: Opinion,
    pub(crate) tract: Opinion,
}

/// How many cases went which way.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    pass: usize,
    constants: usize,
    batch: usize,
    refused: usize,
    fail: usize,
    onnxruntime: usize,
    tract: usize,
}

impl Tally {
    fn of<'j>(cases: impl Iterator<Item = &'j Judged>) -> Self {
        let mut tally = Self::default();
        for case in cases {
            tally.cases += 1;
            match &case.ours {
                Verdict::Pass { constants, batch } => {
                    tally.pass += 1;
                    tally.constants += usize::from(*constants);
                    tally.batch += usize::from(*batch);
                }
                Verdict::Refused(_) => tally.refused += 1,
                Verdict::Fail(_) => tally.fail += 1,
            }
            tally.onnxruntime += usize::from(case.onnxruntime == Opinion::Agrees);
            tally.tract += usize::from(case.tract == Opinion::Agrees);
        }
        tally
    }

    fn row(&self, name: &str) -> String {
        let Self { cases, pass, constants, batch, refused, fail, onnxruntime, tract } = self;
        format!(
            "| {name} | {cases} | {pass} | {constants} | {batch} | {refused} | {fail} | {onnxruntime} | {tract} |\n"
        )
    }
}

/// The whole file.
pub(crate) fn render(cases: &[Judged], models: &[Compared]) -> String {
    let sections = [head(), operators(cases), refusals(cases), opinions(cases), trained(models)];
    sections.join("\n")
}

const HEAD: &str = "# Conformance

Written by `cargo xtask conformance`, which fails where this file and the run differ. Nothing of ONNX's cases and of the
scikit-learn, LightGBM and XGBoost models is committed: they are made on each machine with the packages pinned in
`requirements.txt`:

";

fn head() -> String {
    let pinned = include_str!("requirements.txt").lines().filter(|line| line.contains("=="));
    let pinned: Vec<String> = pinned.map(|line| line.replace("==", " ")).collect();
    format!("{HEAD}{}.\n", pinned.join(", "))
}

fn operators(cases: &[Judged]) -> String {
    let all = Tally::of(cases.iter());
    let mut text = format!(
        "## ONNX's own test cases

The backend test cases of the ONNX package (node, pytorch-converted, pytorch-operator, simple) whose operators are all
in `operators.rs`: {} cases. {} pass, {} are refused by the lowering with a reason, {} fail. onnxruntime passes {} of
them, tract {}.

*Pass*: every output has ONNX's shape and values: the same number for operators that round once or not at all, within
{RELATIVE:e} relative and {ABSOLUTE:e} absolute for sums and transcendental functions, and within 1e-3 relative only
where ONNX's numbers are in half precision or printed with four digits. *With constants*: all inputs but the first had
to become weights, as they are in exported models. *As a batch*: it was run a second time with the first axis as the
batch, inputs without that axis being alike in every row, and passed again; where an operator works across that axis,
the lowering refuses. Every plan is run from its bytes, and rows alone have the bits that they have in a batch.
onnxruntime and tract pass within 1e-3 relative, as in ONNX's own runner, and {ABSOLUTE:e} absolute; tract is asked with
constants too.

| operator | cases | pass | with constants | as a batch | refused | fail | onnxruntime | tract |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
",
        all.cases, all.pass, all.refused, all.fail, all.onnxruntime, all.tract
    );
    let mut without = Vec::new();
    for (place, (domain, operator, _)) in OPERATORS.iter().enumerate() {
        let tally = Tally::of(cases.iter().filter(|case| case.operators == [place]));
        let name = if *domain == ML { format!("ai.onnx.ml.{operator}") } else { (*operator).to_owned() };
        if tally.cases == 0 {
            without.push(name);
        } else {
            text += &tally.row(&name);
        }
    }
    text += &Tally::of(cases.iter().filter(|case| case.operators.len() > 1)).row("several in one graph");
    text += &all.row("all");
    let _ = write!(text, "\nNo case of their own: {}.\n", without.join(", "));
    text
}

fn refusals(cases: &[Judged]) -> String {
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for case in cases {
        if let Verdict::Refused(why) = &case.ours {
            reasons.entry(reason(why)).or_default().push(&case.name);
        }
    }
    let mut text = "### What is refused, and why\n\n| reason | cases | which |\n|---|--:|---|\n".to_owned();
    for (reason, names) in reasons {
        let names: Vec<&str> = names.iter().map(|name| short(name)).collect();
        let _ = writeln!(text, "| {reason} | {} | {} |", names.len(), names.join(", "));
    }
    text
}

/// The refusal without what differs from model to model: names, codes of types, and what to do.
pub(crate) fn reason(why: &str) -> String {
    let why = why.split("; ").next().unwrap_or(why);
    let why = match (why.find(" (node "), why.find("): ")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &why[..start], &why[end + 1..]),
        _ => why.to_owned(),
    };
    let mut text = String::new();
    for (i, part) in why.split('"').enumerate() {
        text += if i % 2 == 0 { part } else { "…" };
    }
    let words = text.split(' ').map(|word| if word.parse::<u32>().is_ok() { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").replace('|', "/")
}

/// How many were refused.
pub(crate) fn refused(cases: &[Judged], models: &[Compared]) -> usize {
    let case = |case: &&Judged| matches!(case.ours, Verdict::Refused(_));
    let model = |model: &&Compared| matches!(model.outcome, Outcome::Refused(_));
    cases.iter().filter(case).count() + models.iter().filter(model).count()
}

fn short(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.strip_prefix("test_").unwrap_or(name)
}

fn opinions(cases: &[Judged]) -> String {
    let differs = |opinion: &Opinion| matches!(opinion, Opinion::Differs(_));
    let names = |of: fn(&Judged) -> &Opinion| -> String {
        let names: Vec<&str> =
            cases.iter().filter(|case| differs(of(case))).map(|case| short(&case.name)).collect();
        if names.is_empty() { "nowhere".to_owned() } else { names.join(", ") }
    };
    format!(
        "### Where the second opinions give other numbers than ONNX\n
- onnxruntime: {}
- tract: {}

What is missing to their counts above they refuse to load or run, or it is of a type that is not compared (floats of 8
bits).\n",
        names(|case| &case.onnxruntime),
        names(|case| &case.tract)
    )
}

fn trained(models: &[Compared]) -> String {
    let mut text = TRAINED.to_owned();
    for model in models {
        text += &model.row();
    }
    text
}

const TRAINED: &str = "## Models as people export them

Small models trained in scikit-learn, LightGBM, XGBoost (`models.py`) and PyTorch (`torch_models.py`, by hand: its
package for Linux is gigabytes; the exported files in `torch/` are ours and committed), and scored on 10,000 rows with
missing values where the model takes them, extremes (±1e30, both zeros, subnormals, large counts) and values exactly
on what trees compare with. Labels must all be onnxruntime's, and a row alone must have the bits that it has in a
batch. *Apart*: rows with a score further than 1e-6 (relative) from onnxruntime's, and the furthest. There neither is
taken for right: the same model is run in 64 bits (trees by onnxruntime, probabilities of support vectors by
scikit-learn, the rest by ONNX's reference implementation). onnxruntime fuses a product and a sum into one rounding and
we may not, so each output of ours may be further than 1e-6, 1e-5, 1e-4 or 1e-3 from that on half as many rows more as
onnxruntime's and one in a thousand; and where no input is beyond 1e9, infinities and NaN must be onnxruntime's. The last
two columns count rows further than 1e-6. Training differs a little between machines, so only what stands before the
numbers is compared.

| model | operators | verdict | rows | apart | furthest | ours to 64 bits | onnxruntime to 64 bits |
|---|---|---|--:|--:|--:|--:|--:|
";

/// The table without what may differ between machines: numbers after a trained model's verdict.
pub(crate) fn stable(table: &str) -> Vec<String> {
    let (cases, models) = table.split_once("## Models").unwrap_or((table, ""));
    let verdict = |line: &str| line.split('|').take(4).collect::<Vec<_>>().join("|");
    cases.lines().map(str::to_owned).chain(models.lines().map(verdict)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_leaves_out_what_differs_from_model_to_model() {
        let why =
            "Cast (node \"a (b)\", ai.onnx 13): it casts to type 17; keep the ONNX file with `--engine onnx`";
        assert_eq!(reason(why), "Cast: it casts to type …");
        assert_eq!(reason("\"x\" has type Double; a plan computes in 32-bit floats"), "… has type Double");
    }
}
