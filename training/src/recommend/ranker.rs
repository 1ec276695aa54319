//! What the ranker learns from: candidates as core describes them, and whether the member bought them in the period after.

use std::collections::HashSet;

use anyhow::Context;
use tiercast_core::{CandidateRoom, Candidates, FeatureSchema, MemberState, RANKER_INPUTS, Shelf, name_hash};

use super::{base::Base, latest};
use crate::models::{self, Fitting, Kind, Model, Params, Rows, boosting, device::Device, mix, threads};

/// Rows that are learned from at most, about.
const MOST_ROWS: usize = 600_000;
/// The share of rows without a purchase that are learned from: there are many, and much alike.
const KEPT: f32 = 0.25;
/// Of how many members one is also shown as somebody with few orders, so that the ranker knows such.
const YOUNG: u64 = 3;

/// Examples of all training dates.
pub(super) struct Examples {
    seed: u64,
    inputs: Vec<f32>,
    targets: Vec<u8>,
    members: Vec<u32>,
}

impl Examples {
    fn new(seed: u64) -> Self {
        Self { seed, inputs: Vec::new(), targets: Vec::new(), members: Vec::new() }
    }

    /// Each member's candidates as of a date.
    pub(super) fn of(
        seed: u64,
        shelf: &Shelf,
        schema: &FeatureSchema,
        base: &Base<'_>,
        bought: &[HashSet<u32>],
    ) -> anyhow::Result<Self> {
        let hashes: Vec<u32> = shelf.catalogue().items.iter().map(|item| name_hash(&item.id)).collect();
        let luck = mix(seed ^ base.now.ms().cast_unsigned());
        let members: Vec<(u32, (&MemberState, &HashSet<u32>))> =
            (0..).zip(base.members.iter().zip(bought)).collect();
        let made = threads::map(members.chunks(64).collect(), |block: &[_]| {
            let (mut room, mut examples) = (CandidateRoom::default(), Self::new(luck));
            for (member, (state, bought)) in block.iter().filter(|(_, (state, _))| !state.is_empty()) {
                let chance = mix(luck ^ mix(u64::from(*member)));
                let found = shelf.candidates(&mut room, state, base.now, |_| true)?;
                examples.take(&found, *member, bought, &hashes);
                if chance.is_multiple_of(YOUNG) {
                    let young = latest(schema, state, [1, 2, 3, 5][(chance >> 32) as usize % 4]);
                    let found = shelf.candidates(&mut room, &young, base.now, |_| true)?;
                    examples.take(&found, *member, bought, &hashes);
                }
            }
            Ok::<_, tiercast_core::Error>(examples)
        });
        let mut all = Self::new(seed);
        for examples in made {
            all.extend(examples?);
        }
        Ok(all)
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.inputs.extend(more.inputs);
        self.targets.extend(more.targets);
        self.members.extend(more.members);
    }

    /// Takes all that was bought and a share of the rest.
    fn take(&mut self, found: &Candidates, member: u32, bought: &HashSet<u32>, hashes: &[u32]) {
        for (at, row) in found.items.iter().zip(found.inputs.chunks_exact(RANKER_INPUTS.len())) {
            let buys = bought.contains(&hashes[*at as usize]);
            let chance = mix(self.seed ^ mix(u64::from(member) << 32 | u64::from(*at))) >> 40;
            if buys || (chance as f32) < KEPT * (1_u64 << 24) as f32 {
                self.inputs.extend(row);
                self.targets.push(1 + u8::from(buys));
                self.members.push(member);
            }
        }
    }

    /// Trains the ranker; also gives the rows and those with a purchase, and the share of the other rows that was kept.
    pub(super) fn fit(mut self) -> anyhow::Result<(Model, [usize; 2], f32)> {
        self.limit();
        let bought = self.targets.iter().filter(|target| **target == 2).count();
        anyhow::ensure!(
            bought > 0 && bought < self.targets.len(),
            "no member bought any of its candidates in the periods after the dates of [recommend] train, so a ranker cannot \
             be learned; check the dates"
        );
        let rows = Rows {
            plain_width: RANKER_INPUTS.len(),
            plain: self.inputs,
            targets: self.targets,
            member: self.members,
            ..Rows::default()
        };
        let boosting = boosting::Params {
            rate: 0.1,
            leaves: 31,
            depth: 6,
            weight: 20.0,
            l2: 5.0,
            inputs: 0.7,
            rounds: Some(120),
        };
        let params = Params { boosting, ..Params::default() };
        let fitting = Fitting { params: &params, seed: self.seed, device: &Device::Cpu, stream: None };
        let fitted = models::fit_with(Kind::Boosting, &fitting, 2, &rows).context("the ranker")?;
        Ok((fitted.model, [rows.len(), bought], KEPT))
    }

    /// Leaves out members at random, so that there are not too many rows.
    fn limit(&mut self) {
        if self.targets.len() <= MOST_ROWS {
            return;
        }
        let share = MOST_ROWS as f64 / self.targets.len() as f64;
        let stays =
            |member: u32| (mix(self.seed ^ u64::from(member)) >> 11) as f64 / (1_u64 << 53) as f64 <= share;
        let rows = self.inputs.chunks_exact(RANKER_INPUTS.len()).zip(self.targets.iter().zip(&self.members));
        let mut rest = Self::new(self.seed);
        for (row, (target, member)) in rows.filter(|(_, (_, member))| stays(**member)) {
            rest.inputs.extend(row);
            rest.targets.push(*target);
            rest.members.push(*member);
        }
        *self = rest;
    }
}
