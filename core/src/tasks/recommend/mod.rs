//! Recommendations: which items a member will buy next, decided where the member is.
//!
//! The path of a list, step by step:
//!
//! 1. **Rules.** Items that are excluded, or not available, or bought before where only new ones are asked for, are out.
//! 2. **Candidates.** The member's own items, those nearest by factors and by what is bought together, and the popular ones.
//! 3. **Ranker.** Trees give each candidate the probability that the member buys it within the period.
//! 4. **Boosts.** The odds of an item are multiplied by what is declared for it or for one of its labels.
//! 5. **Diversity.** Maximal marginal relevance (Carbonell & Goldstein 1998) gives up some probability for items that differ.
//!
//! A member of whom no item is known gets what the tiers' members buy, weighted with the probabilities of the tiers. For new
//! members a shop may declare steps ([`Welcome`]), each with boosts, diversity and whether only new items count.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    engine::{Engine, EngineKind, Workspace},
    error::{Result, bail},
    event::clip,
    features::MemberState,
    order,
    time::Timestamp,
    wire::put,
};

mod arrange;
mod candidates;
mod catalogue;
mod factors;
mod habits;
mod neighbours;
mod reasons;
mod rows;
#[cfg(test)]
mod tests;
mod welcome;

use arrange::{Arrangement, Rules};

pub use self::{
    candidates::{CandidateRoom, Candidates, RANKER_INPUTS},
    catalogue::{Catalogue, Favourite, Item, MAX_ITEMS, NO_LABEL, Shelf},
    factors::{Factors, Fold},
    neighbours::Neighbours,
    reasons::Why,
    rows::{ItemRows, WIDEST as MAX_FACTORS},
    welcome::{Welcome, WelcomeStep},
};

/// Whether this build can recommend; the small one leaves it out.
pub(crate) const RECOMMENDS: bool = cfg!(feature = "all-kernels");

/// The longest list.
pub const MAX_RECOMMENDATIONS: u32 = 100;

/// What a list of recommendations shall be like.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, remote = "Self")]
pub struct RecommendOptions {
    /// Items of the list, 1 to [`MAX_RECOMMENDATIONS`].
    pub count: u32,
    /// Only items that the member has not bought before.
    pub new_only: bool,
    /// Items, categories, groups and brands to leave out.
    pub exclude: Vec<String>,
    /// Items that there are; none means all.
    pub available: Option<Vec<String>>,
    /// What the odds of an item, or of every item of a category, group or brand, are multiplied by: above 0, up to 1000.
    #[serde(deserialize_with = "each_once")]
    pub boost: BTreeMap<String, f32>,
    /// How much of the order is given to diversity, 0 to 1; the bundle's own if none.
    pub diversity: Option<f32>,
    /// Whether a new member gets the list of its step of the shop's welcome, where the bundle has one.
    pub welcome: bool,
}

impl Default for RecommendOptions {
    fn default() -> Self {
        Self {
            count: 10,
            new_only: false,
            exclude: Vec::new(),
            available: None,
            boost: BTreeMap::new(),
            diversity: None,
            welcome: true,
        }
    }
}

/// From an object and from nothing else: what is derived also takes a list of the fields' values.
impl<'de> Deserialize<'de> for RecommendOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = RecommendOptions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of options")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                RecommendOptions::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A map in which no key is given twice: nobody could say which one counts.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f32>, D::Error> {
    struct Once;
    impl<'de> Visitor<'de> for Once {
        type Value = BTreeMap<String, f32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of numbers")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, by)) = map.next_entry::<String, f32>()? {
                if put(&mut all, name, by).is_none() {
                    return Err(de::Error::custom("a name is given twice in boost"));
                }
            }
            Ok(all)
        }
    }
    deserializer.deserialize_map(Once)
}

impl RecommendOptions {
    /// Reads options from JSON; empty bytes are the defaults.
    ///
    /// # Errors
    /// `invalid_input`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(json)
            .or_else(|error| bail!(InvalidInput, "these are no options of recommendations: {error}"))
    }

    fn check(&self) -> Result<()> {
        if !(1..=MAX_RECOMMENDATIONS).contains(&self.count) {
            bail!(InvalidInput, "count is {}; a list has 1 to {MAX_RECOMMENDATIONS} items", self.count);
        }
        check_wishes(&self.boost, self.diversity)
    }
}

/// What a call and a step of a welcome may both ask for.
fn check_wishes(boost: &BTreeMap<String, f32>, diversity: Option<f32>) -> Result<()> {
    if let Some((name, by)) = boost.iter().find(|(_, by)| !(**by > 0.0 && **by <= 1000.0)) {
        bail!(
            InvalidInput,
            "boost of {:?} is {by}; odds are multiplied by more than 0 and at most 1000",
            clip(name)
        );
    }
    if diversity.is_some_and(|diversity| !(0.0..=1.0).contains(&diversity)) {
        bail!(InvalidInput, "diversity is from 0 to 1");
    }
    Ok(())
}

/// An item that a member may want.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// The item's identifier.
    pub item: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its category.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub category: String,
    /// Probability that the member buys it within the period that starts at the moment asked about, without boosts.
    pub probability: f32,
    /// Why it is in the list, the strongest reason first.
    pub reasons: Vec<Why>,
}

/// What there is to know of what a bundle recommends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecommendInfo<'c> {
    /// Where the factors come from, for example `als`.
    pub model: &'c str,
    /// Items that may be recommended.
    pub items: usize,
    /// Numbers of an item's vector.
    pub factors: usize,
    /// Days that a probability is about.
    pub period_days: f64,
    /// How much of a list's order is given to its diversity where nobody says.
    pub diversity: f32,
}

impl Catalogue {
    /// Says what there is to know, for reports and pages.
    pub fn describe(&self) -> RecommendInfo<'_> {
        RecommendInfo {
            model: &self.model,
            items: self.items.len(),
            factors: self.factors.items.width(),
            period_days: self.period as f64 / crate::time::DAY_MS as f64,
            diversity: self.diversity,
        }
    }
}

/// A catalogue with its ranker loaded.
#[derive(Debug)]
pub(crate) struct Recommender {
    pub(crate) shelf: Shelf,
    ranker: Engine,
}

/// Room to recommend in, used again.
#[derive(Clone, Debug)]
pub(crate) struct RecommendRoom {
    candidates: CandidateRoom,
    workspace: Workspace,
}

impl Recommender {
    pub(crate) fn load(catalogue: Catalogue, ranker: &[u8]) -> Result<Self> {
        let shelf = Shelf::new(catalogue)?;
        let ranker = Engine::load(EngineKind::Plan, ranker, RANKER_INPUTS.len(), 2)?;
        Ok(Self { shelf, ranker })
    }

    pub(crate) fn room(&self) -> RecommendRoom {
        RecommendRoom { candidates: CandidateRoom::default(), workspace: self.ranker.workspace(64) }
    }

    /// The list of a member as known at `now`; `tiers` gives the probabilities of the tiers, should nothing else be known.
    pub(crate) fn recommend(
        &self,
        room: &mut RecommendRoom,
        state: &MemberState,
        now: Timestamp,
        options: &RecommendOptions,
        tiers: impl FnOnce() -> Result<Vec<f32>>,
    ) -> Result<Vec<Recommendation>> {
        options.check()?;
        let catalogue = self.shelf.catalogue();
        let mut rules = Rules::new(&self.shelf, options);
        let candidates = self.shelf.candidates(&mut room.candidates, state, now, |item| rules.allow(item))?;
        let welcome = catalogue.welcome.as_ref().filter(|_| options.welcome);
        let step = welcome.and_then(|welcome| welcome.step(state, candidates.habits.orders, now));
        let mut diversity = options.diversity;
        let mut new_only = options.new_only;
        if let Some(step) = step {
            rules.boost(&step.boost);
            diversity = diversity.or(step.diversity);
            new_only |= step.new_only;
        }
        let how = Arrangement {
            count: options.count as usize,
            diversity: diversity.unwrap_or(catalogue.diversity),
        };
        let mut list = if candidates.habits.affinities.is_empty() {
            self.shelf.first_list(&rules, how, &tiers()?)
        } else {
            self.list(room, &candidates, &rules, new_only, how)?
        };
        if let Some(step) = step {
            for item in &mut list {
                item.reasons.push(Why::Welcome { step: step.name.clone() });
            }
        }
        Ok(list)
    }

    /// The list of a member of whom items are known.
    fn list(
        &self,
        room: &mut RecommendRoom,
        candidates: &Candidates,
        rules: &Rules<'_>,
        new_only: bool,
        how: Arrangement,
    ) -> Result<Vec<Recommendation>> {
        let probabilities = self.rank(room, candidates)?;
        let mut found: Vec<(f32, u32, f32)> = candidates
            .items
            .iter()
            .zip(probabilities)
            .filter(|(item, _)| !(new_only && candidates.habits.own(**item).is_some()))
            .map(|(item, p)| (rules.boosted(*item, p), *item, p))
            .collect();
        order::sort_by(&mut found, |a, b| (b.0, a.1) < (a.0, b.1));
        Ok(self
            .shelf
            .arrange(&found, how)
            .into_iter()
            .filter_map(|(_, item, p)| {
                self.shelf.recommendation(item, p, self.shelf.reasons(candidates, item))
            })
            .collect())
    }

    /// The probability that the member buys each candidate within the period.
    pub(crate) fn rank(&self, room: &mut RecommendRoom, candidates: &Candidates) -> Result<Vec<f32>> {
        let mut pairs = Vec::with_capacity(2 * candidates.items.len());
        self.ranker.run(&mut room.workspace, &candidates.inputs, &mut pairs)?;
        let kept = self.shelf.catalogue().kept;
        pairs
            .chunks_exact(2)
            .map(|pair| match pair {
                [not, buys]
                    if (0.0..=1.0).contains(not) && (0.0..=1.0).contains(buys) && *not + *buys > 0.0 =>
                {
                    Ok(buys * kept / (buys * kept + not))
                }
                _ => bail!(ModelFailed, "what the ranker gave are no probabilities"),
            })
            .collect()
    }
}
