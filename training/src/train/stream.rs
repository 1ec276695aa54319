//! Rows beyond memory as the networks see them, epoch by epoch.

use std::collections::{BTreeSet, HashMap};

use tiercast_core::Timestamp;

use super::folds::Prepared;
use crate::{
    dataset::Dataset,
    features::store::{FILES, Store},
    models::{Rows, Stream, mix},
};

/// A store as a split's networks see it.
#[derive(Debug)]
pub(super) struct OfSplit<'a> {
    store: &'a Store,
    split: &'a Prepared,
    /// When training rows are.
    dates: &'a [Timestamp],
    /// The sample's members by name, with their numbers.
    members: &'a HashMap<&'a str, u32>,
    /// Those of them whom the fold holds out.
    held_out: BTreeSet<u32>,
}

impl<'a> OfSplit<'a> {
    pub(super) fn new(
        store: &'a Store,
        split: &'a Prepared,
        dates: &'a [Timestamp],
        members: &'a HashMap<&'a str, u32>,
    ) -> Self {
        // What the final fit is judged on is of another time, and mostly of the same members.
        let held_out = split.split.fold.map(|_| split.held_out.member.iter().copied().collect());
        Self { store, split, dates, members, held_out: held_out.unwrap_or_default() }
    }
}

/// The members of a dataset by name, with the numbers that their rows have.
pub(super) fn numbers<'d>(dataset: &'d Dataset, member: &[u32]) -> HashMap<&'d str, u32> {
    dataset.rows.iter().zip(member).map(|(row, number)| (row.member.as_str(), *number)).collect()
}

impl Stream for OfSplit<'_> {
    fn pass(
        &self,
        seed: u64,
        left_out: &BTreeSet<u32>,
        learn: &mut dyn FnMut(&Rows) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut files: Vec<u64> = (0..FILES).collect();
        files.sort_by_key(|at| mix(seed ^ mix(*at)));
        for at in files {
            let rows = self.store.read(at)?;
            let number = |at: usize| self.members.get(rows.keys[at].member.as_str()).copied();
            let is_open = |number: u32| !self.held_out.contains(&number) && !left_out.contains(&number);
            let open: Vec<usize> = (0..rows.len())
                .filter(|at| self.dates.contains(&rows.keys[*at].as_of) && number(*at).is_none_or(is_open))
                .collect();
            if open.is_empty() {
                continue;
            }
            // Nobody beyond the sample is held out, and so nobody asks for his number.
            let member = open.iter().map(|at| number(*at).unwrap_or(u32::MAX)).collect();
            let rows = rows.select(&open, self.store.width());
            learn(&self.split.networks_see(&rows.features, &rows.target, &rows.next, member))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        features::{self, BuildOptions},
        fixtures::synthetic,
        train::folds::{self, Split},
    };
    use indicatif::ProgressBar;

    #[test]
    fn a_pass_gives_every_training_row_but_of_members_held_out_or_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let project = synthetic(folder.path(), 150);
        let hidden = ProgressBar::hidden;
        let all = features::build(&project, &project.as_ofs(), &hidden()).unwrap();
        let place = folder.path().join("rows");
        let built = features::build_beyond(&project, &BuildOptions::default(), &place, 200, &hidden());
        let (sample, store) = built.unwrap();
        assert!(sample.len() > 150 && sample.len() <= 200 && store.rows() == all.len() as u64);
        assert!(sample.rows.iter().all(|row| all.rows.contains(row)));

        let member = folds::member_numbers(&sample);
        let dates = &project.split.train;
        let train: Vec<usize> =
            (0..sample.len()).filter(|at| dates.contains(&sample.rows[*at].as_of)).collect();
        let splits = folds::cross_validation(&train, &member, 4, 7);
        let last = Split { fold: None, train, held_out: Vec::new() };
        let numbers = numbers(&sample, &member);
        for split in [splits[1].clone(), last] {
            let split = folds::prepare(&sample, &member, &project.tiers, split).unwrap();
            let stream = OfSplit::new(&store, &split, dates, &numbers);
            let aside = BTreeSet::from([split.train.member[0], split.train.member[9]]);
            let pass = |seed| {
                let (mut targets, mut inputs, mut next) = (Vec::new(), Vec::new(), Vec::new());
                let taken = stream.pass(seed, &aside, &mut |rows| {
                    assert!(rows.width == split.train.width && rows.steps == split.train.steps);
                    targets.extend(rows.target_spend.clone());
                    next.extend(rows.next_purchase.iter().map(|days| days.to_bits()));
                    let row = |at| [rows.row(at), rows.sequence_of(at)].concat();
                    inputs.extend(
                        (0..rows.len()).map(|at| row(at).iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
                    );
                    Ok(())
                });
                taken.unwrap();
                targets.into_iter().zip(inputs).zip(next).collect::<Vec<_>>()
            };
            let seen = pass(3);
            assert!(seen == pass(3) && seen != pass(4));

            let held_out: BTreeSet<u32> = split.held_out.member.iter().copied().collect();
            let is_open = |at: &usize| {
                let known = numbers.get(all.rows[*at].member.as_str());
                dates.contains(&all.rows[*at].as_of)
                    && known.is_none_or(|known| !aside.contains(known) && !held_out.contains(known))
            };
            let open: Vec<usize> = (0..all.len()).filter(is_open).collect();
            let of = |at: &[usize], values: &[i64]| at.iter().map(|at| values[*at]).collect::<Vec<_>>();
            let next: Vec<f32> = open.iter().map(|at| all.next_purchase[*at]).collect();
            let rows = split.networks_see(
                &folds::raw(&all, &open),
                &of(&open, &all.target_spend),
                &next,
                vec![0; open.len()],
            );
            let mut expected: Vec<_> = (0..rows.len())
                .map(|at| {
                    let row = [rows.row(at), rows.sequence_of(at)].concat();
                    let bits = row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    ((rows.target_spend[at], bits), rows.next_purchase[at].to_bits())
                })
                .collect();
            let mut seen = seen;
            seen.sort();
            expected.sort();
            assert!(seen.len() > split.train.len() && seen == expected);
        }
    }
}
