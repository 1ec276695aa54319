//! A report of policies for a terminal.

use super::evaluate::{Judged, Report};
use crate::{
    models::policy::ope::{Estimate, Evaluation, Interval},
    project::count,
};

/// The whole report.
pub(super) fn report(log: &str, report: &Report) -> String {
    let mut lines = vec![head(log, report)];
    if let Some(first) = report.policies.first() {
        lines.push(format!(
            "in force: {}, a {:.0} % interval over {}\n",
            between(&first.evaluation.incumbent),
            100.0 * first.evaluation.level,
            count(first.evaluation.members, "member")
        ));
    }
    lines.extend(report.policies.iter().flat_map(|policy| [figures(policy), verdict(policy)]));
    lines.join("\n")
}

fn head(log: &str, report: &Report) -> String {
    let Report { rows, learned, arms, positions, .. } = report;
    let size = format!("{log}: {}, {}", count(*rows, "row"), count(*arms, "arm"));
    let size = if *positions > 1 { format!("{size}, {positions} positions") } else { size };
    match learned {
        0 => size,
        _ => format!("{size}; {learned} learned from, {} judge", rows - learned),
    }
}

fn between(Estimate { value, bootstrap: Interval { low, high }, .. }: &Estimate) -> String {
    format!("{value:.6} ({low:.6} to {high:.6})")
}

fn figures(policy: &Judged) -> String {
    let mut lines = vec![format!("{:<22}{:>12}{:>26}{:>26}", policy.name, "value", "bootstrap", "Bernstein")];
    let line = |(name, estimate): (&str, &Estimate)| {
        let ends = |Interval { low, high }: Interval| format!("{low:.6} to {high:.6}");
        let Estimate { value, bootstrap, bernstein, .. } = *estimate;
        format!("  {name:<20}{value:>12.6}{:>26}{:>26}", ends(bootstrap), ends(bernstein))
    };
    lines.extend(estimates(&policy.evaluation).into_iter().map(line));
    let weights = &policy.evaluation.weights;
    lines.push(format!(
        "  worth {:.0} of {}; largest weight {:.1}; {:.1} % of rows weigh over {:.0}; {:.1} % where the log has nothing",
        weights.effective_rows,
        count(policy.evaluation.rows, "row"),
        weights.largest,
        100.0 * weights.heavy,
        weights.bound,
        100.0 * weights.unseen
    ));
    lines.join("\n")
}

fn estimates(evaluation: &Evaluation) -> Vec<(&'static str, &Estimate)> {
    let mut all = vec![
        ("IPS", &evaluation.ips),
        ("SNIPS", &evaluation.snips),
        ("clipped IPS", &evaluation.clipped_ips),
    ];
    if let Some(modelled) = &evaluation.modelled {
        all.extend([
            ("DM", &modelled.direct),
            ("DR", &modelled.doubly_robust),
            ("self-normalised DR", &modelled.self_normalised),
            ("Switch-DR", &modelled.switch),
            ("clipped DR", &modelled.clipped),
        ]);
    }
    let judged = if evaluation.modelled.is_some() { "DR - in force" } else { "IPS - in force" };
    all.extend([(judged, &evaluation.lift), ("mean weight", &evaluation.weights.mean)]);
    all
}

fn verdict(policy: &Judged) -> String {
    match policy.proven {
        true => "  PROVEN better than the policy in force\n".into(),
        false => {
            let why = policy.refusals.iter().map(|refusal| format!("\n  - {refusal}"));
            format!("  NOT PROVEN to be better than the policy in force:{}\n", why.collect::<String>())
        }
    }
}
