//! A catalogue as of a date: the items, their factors and their neighbours, of what was known then.

use std::collections::HashMap;

use tiercast_core::{
    Catalogue, Factors, Fold, ItemRows, MemberState, NO_LABEL, Neighbours, Period, Shelf, TierRules,
    Timestamp,
};

use super::{goods, said::Said};
use crate::{
    models::recommend::{Sparse, als, neighbours, towers},
    project::RecommendPlan,
};

/// Neighbours that are kept of an item.
const NEIGHBOURS: usize = 20;

/// Where factors come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Als,
    Bpr,
    TwoTower,
}

impl Source {
    pub(super) const ALL: [Self; 3] = [Self::Als, Self::Bpr, Self::TwoTower];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Als => "als",
            Self::Bpr => "bpr",
            Self::TwoTower => "two-tower",
        }
    }
}

/// What is known at a date, but for the factors.
pub(super) struct Base<'a> {
    pub(super) now: Timestamp,
    pub(super) members: Vec<MemberState>,
    /// With factors that are all zero.
    shelf: Shelf,
    matrix: Sparse,
    plan: &'a RecommendPlan,
    seed: u64,
}

impl<'a> Base<'a> {
    pub(super) fn new(
        plan: &'a RecommendPlan,
        seed: u64,
        said: &HashMap<u32, Said>,
        (now, members): (Timestamp, Vec<MemberState>),
        tiers: (&TierRules, Period),
    ) -> anyhow::Result<Self> {
        let hashes = goods::most_bought(&members, plan.catalogue);
        anyhow::ensure!(
            hashes.len() > 1,
            "before {} no two items were each bought by two members, so there is nothing to recommend; check `item` in \
             [events.columns] and the dates of [recommend]",
            now.date()
        );
        let period = plan.period.ms();
        let (items, labels) = goods::describe(&hashes, said, &members, now, period)?;
        let zeros = ItemRows::round(&vec![0.0; items.len()], 1);
        let mut catalogue = Catalogue {
            model: String::new(),
            period,
            half_life: plan.half_life.ms(),
            labels,
            favourites: goods::favourites(&hashes, &members, now, period, tiers),
            factors: Factors { items: zeros, fold: Fold { gram: vec![0.0], alpha: 0.0, history: None } },
            neighbours: Neighbours::round(&vec![Vec::new(); items.len()], 0),
            kept: 1.0,
            diversity: plan.diversity,
            welcome: plan.welcome.clone(),
            items,
        };
        let shelf = Shelf::new(catalogue.clone())?;
        let rows = members.iter().map(|state| shelf.affinities(state, now));
        let matrix = Sparse::of(rows, catalogue.items.len());
        catalogue.neighbours = Neighbours::round(&neighbours::find(&matrix, NEIGHBOURS), NEIGHBOURS);
        Ok(Self { now, members, shelf: Shelf::new(catalogue)?, matrix, plan, seed })
    }

    /// The catalogue with factors of a source.
    pub(super) fn with(&self, source: Source) -> anyhow::Result<Shelf> {
        let factors = match source {
            Source::Als => self.least_squares(),
            Source::Bpr => self.towers(towers::Loss::Pairs),
            Source::TwoTower => self.towers(towers::Loss::Softmax),
        };
        let catalogue = Catalogue { model: source.name().into(), factors, ..self.shelf.catalogue().clone() };
        Ok(Shelf::new(catalogue)?)
    }

    fn least_squares(&self) -> Factors {
        let params = als::Params { factors: self.plan.factors, ..als::Params::default() };
        let found = als::fit(&self.matrix, &params, self.seed);
        let items = ItemRows::round(&found.columns, found.width);
        // Members are solved against the items as they are rounded.
        let rounded: Vec<f32> = (0..items.len()).flat_map(|at| items.row(at).collect::<Vec<_>>()).collect();
        let gram = als::gram(&rounded, found.width, params.l2);
        Factors { items, fold: Fold { gram, alpha: params.alpha, history: None } }
    }

    fn towers(&self, loss: towers::Loss) -> Factors {
        let params = towers::Params { factors: self.plan.factors - 1, ..towers::Params::new(loss) };
        let catalogue = self.shelf.catalogue();
        let labels: Vec<Vec<u32>> = catalogue
            .items
            .iter()
            .map(|item| {
                [item.category, item.group, item.brand].into_iter().filter(|at| *at != NO_LABEL).collect()
            })
            .collect();
        let found = towers::fit(&self.matrix, &labels, catalogue.labels.len(), &params, self.seed);
        let history = Some(ItemRows::round(&found.history, params.factors));
        Factors {
            items: ItemRows::round(&found.items, params.factors + 1),
            fold: Fold { gram: Vec::new(), alpha: 0.0, history },
        }
    }
}
