//! What the demo prints at its end.

use std::{collections::BTreeMap, fs};

use super::{
    compare::{Agreement, Native},
    prepare::{FIGURES, Trained},
};
use anyhow::{Context, Result};

/// What `tiercast evaluate` printed, and of what data.
pub(crate) fn figures(trained: &Trained) -> Result<()> {
    let path = trained.file(FIGURES);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    println!("\nData: {}\n\n{text}", trained.data);
    Ok(())
}

/// How many of the shop's members are predicted to be in each tier.
pub(crate) fn tiers(native: &Native) {
    let mut counts = BTreeMap::new();
    for row in native.rows.values() {
        *counts.entry((row.tier, row.tier_name.as_str())).or_insert(0u32) += 1;
    }
    println!("Tiers predicted for all {} members, as of {}:", native.rows.len(), native.as_of);
    for ((tier, name), count) in counts {
        println!("  {tier} {name:<20} {count:>8}");
    }
}

/// One line a runtime.
pub(crate) fn agreement(agreements: &[(&str, Agreement)], profiles: bool) {
    let members = agreements.first().map_or(0, |(_, a)| a.members);
    println!("\n{members} members, agreement with the native scores, by bits:");
    // A column of profiles only where there are any.
    let last = |text: &str| if profiles { format!(" {text:>10}") } else { String::new() };
    println!(
        "  {:<10} {:>10} {:>14} {:>8} {:>10}{}",
        "runtime",
        "features",
        "probabilities",
        "tiers",
        "standing",
        last("profiles")
    );
    for (name, a) in agreements {
        let of = |n: usize| format!("{n}/{}", a.members);
        let (features, probabilities) = (of(a.feature_bits), of(a.probability_bits));
        let (tiers, standings) = (of(a.tiers), of(a.standings));
        let profiles = last(&of(a.profiles));
        println!("  {name:<10} {features:>10} {probabilities:>14} {tiers:>8} {standings:>10}{profiles}");
        for difference in &a.differences {
            println!("    {difference}");
        }
    }
}
