//! What sets a group of members apart, in words: the features whose values lie highest or lowest among all rows.

use serde::{Deserialize, Serialize};
use tiercast_core::{FeatureDecl, Of, Op};

use crate::{dataset::Dataset, fit::sequence::Layout, models::kmeans::Groups};

/// How far the mean rank of a group's values must be from the middle, of ½ at most, to set it apart.
const APART: f64 = 0.12;
/// From how far on it is very much so.
const FAR: f64 = 0.35;
/// Traits told of each group.
const MOST_TRAITS: usize = 4;
/// Traits that make a name.
const NAMED: usize = 2;

/// A feature by which a group differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trait {
    /// In words: `frequent`, `high spend`.
    pub words: String,
    /// The feature that says so most clearly.
    pub feature: String,
    /// Mean rank of the group's values among all rows, 0 lowest to 1 highest; ½ is like everybody.
    pub rank: f64,
    /// The group's middle value.
    pub median: f32,
    /// The middle value of all rows.
    pub overall: f32,
}

/// The traits of each group of rows, which are places in the dataset; those farthest from the middle first, and of those
/// that say the same the clearest.
pub(super) fn of_groups(dataset: &Dataset, rows: &[usize], groups: &Groups) -> Vec<Vec<Trait>> {
    let mut found: Vec<Vec<Trait>> = vec![Vec::new(); groups.centres.len()];
    let steps = Layout::of(&dataset.schema).map(|layout| layout.features()).unwrap_or_default();
    for (at, decl) in dataset.schema.spec().features.iter().enumerate().filter(|(at, _)| !steps.contains(at))
    {
        let Some(words) = words(decl) else { continue };
        let values: Vec<f32> = rows.iter().map(|row| dataset.row(*row)[at]).collect();
        let ranks = ranks(&values);
        let overall = median(values.iter().copied());
        for (group, traits) in found.iter_mut().enumerate() {
            let of: Vec<usize> =
                (0..rows.len()).filter(|row| groups.of[*row] == group && !values[*row].is_nan()).collect();
            if of.is_empty() {
                continue;
            }
            let rank = of.iter().map(|row| ranks[*row]).sum::<f64>() / of.len() as f64;
            if (rank - 0.5).abs() >= APART {
                let words = words[usize::from(rank > 0.5)];
                let is_far = (rank - 0.5).abs() >= FAR && is_graded(decl);
                traits.push(Trait {
                    words: if is_far { format!("very {words}") } else { words.to_owned() },
                    feature: decl.name.clone(),
                    rank,
                    median: median(of.iter().map(|row| values[*row])),
                    overall,
                });
            }
        }
    }
    for traits in &mut found {
        traits.sort_by(|a, b| (b.rank - 0.5).abs().total_cmp(&(a.rank - 0.5).abs()));
        let mut told: Vec<String> = Vec::new();
        traits.retain(|one| {
            let plainly = one.words.trim_start_matches("very ").to_owned();
            let is_new = !told.contains(&plainly);
            told.push(plainly);
            is_new
        });
        traits.truncate(MOST_TRAITS);
    }
    found
}

/// A name for each group: its first traits, more of them where two groups would have the same, a number where that does
/// not help.
pub(super) fn names(groups: &[Vec<Trait>]) -> Vec<String> {
    let name = |traits: &[Trait], most: usize| match traits {
        [] => "like most".to_owned(),
        traits => traits.iter().take(most).map(|one| one.words.as_str()).collect::<Vec<_>>().join(", "),
    };
    let mut names: Vec<String> = Vec::new();
    for traits in groups {
        let by_words = (NAMED..=MOST_TRAITS).map(|most| name(traits, most));
        let numbered = (2..).map(|number| format!("{} ({number})", name(traits, NAMED)));
        let new = by_words.chain(numbered).find(|name| !names.contains(name));
        names.extend(new);
    }
    names
}

/// What low and high values mean; none for what is no trait of a member.
fn words(decl: &FeatureDecl) -> Option<[&'static str; 2]> {
    let purchases = decl.events.iter().all(|kind| kind == "purchase");
    Some(match (decl.op, decl.of) {
        _ if !purchases || decl.skip.is_some() => return None,
        (Op::Recency, _) => ["recent", "long absent"],
        (Op::Tenure, _) => ["new", "long-standing"],
        (Op::Distinct, Some(Of::Item | Of::Category)) => ["few things", "many things"],
        (Op::Count, _) | (Op::Distinct, Some(Of::Order | Of::Day)) => ["rare", "frequent"],
        (Op::NetSpend, _) | (Op::Sum | Op::Decayed, Some(Of::Amount)) => ["low spend", "high spend"],
        (Op::Mean, Some(Of::Amount)) => ["cheap things", "dear things"],
        (Op::DiscountShare, _) => ["full price", "discounts"],
        (Op::Trend, _) => ["falling", "rising"],
        (Op::Gap, _) => ["short gaps", "long gaps"],
        _ => return None,
    })
}

/// Whether a trait can be so more or less in plain words.
fn is_graded(decl: &FeatureDecl) -> bool {
    !matches!(decl.op, Op::DiscountShare | Op::Trend | Op::Tenure)
}

/// Ranks from 0 to 1, ties sharing theirs; NaN has none.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).filter(|at| !values[*at].is_nan()).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let last = order.len().saturating_sub(1).max(1) as f64;
    let (mut ranks, mut below) = (vec![0.5; values.len()], 0);
    for ties in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = (below as f64 + (ties.len() - 1) as f64 / 2.0) / last;
        ties.iter().for_each(|at| ranks[*at] = rank);
        below += ties.len();
    }
    ranks
}

fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut known: Vec<f32> = values.filter(|x| !x.is_nan()).collect();
    known.sort_unstable_by(f32::total_cmp);
    known.get(known.len() / 2).copied().unwrap_or(f32::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Vec<Trait> {
        let one = |words: &&str| Trait {
            words: (*words).to_owned(),
            feature: String::new(),
            rank: 0.9,
            median: 1.0,
            overall: 0.0,
        };
        words.iter().map(one).collect()
    }

    #[test]
    fn every_group_has_a_name_of_its_own() {
        let groups = [
            of(&["rare", "low spend"]),
            of(&["rare", "low spend", "recent"]),
            of(&["rare", "low spend"]),
            of(&[]),
            of(&[]),
        ];
        let expected = [
            "rare, low spend",
            "rare, low spend, recent",
            "rare, low spend (2)",
            "like most",
            "like most (2)",
        ];
        assert_eq!(names(&groups), expected);
    }

    #[test]
    fn ties_share_a_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 1.0, f32::NAN]), [1.0, 0.25, 0.25, 0.5]);
    }
}
