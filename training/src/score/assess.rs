//! A member's events in, the row of an assessment out: what [`fold::gather`](crate::fold::gather) makes of a member, and
//! what is made of a stored history.

use std::{fmt, sync::Arc};

use anyhow::Context;
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, StringArray, StructArray, UInt32Array},
        buffer::NullBuffer,
        compute::take,
        datatypes::DataType,
    },
    error::Result,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tiercast_core::{
    Assessment, DecideOptions, Decision, FeatureSchema, MemberState, Profile, Reason, RecommendOptions,
    Recommendation, Scorer, Scratch, Task, Timestamp,
};

use super::layout::Layout;
use crate::fold::{Members, OfMember, external};

/// Members that are assessed together: their rows go through the model as one batch.
const BATCH: usize = 256;

/// What a row says beside tier, probabilities and standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The features.
    pub(crate) features: bool,
    /// The profile's embedding.
    pub(crate) embedding: bool,
    /// So many of the strongest reasons.
    pub(crate) reasons: usize,
    /// So many recommendations.
    pub(crate) recommend: u32,
    /// What the bundle's policies decide.
    pub(crate) decide: bool,
}

/// How a row is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// As columns.
    Columns,
    /// As a line of CSV without the member.
    Csv,
    /// As an object of JSON without the member.
    Json,
}

/// A member's assessment.
#[derive(Debug)]
pub(crate) struct Scored {
    /// What core says.
    pub(crate) assessment: Assessment,
    /// What it says of the member's behaviour, if the bundle has profiles.
    pub(crate) profile: Option<Profile>,
    /// What moved the score, the strongest first.
    pub(crate) reasons: Vec<Reason>,
    /// What the member will buy next, the most wanted first.
    pub(crate) recommendations: Vec<Recommendation>,
    /// What the policies decide, in the order of [`Task::ALL`], as far as the bundle has any.
    pub(crate) decisions: Vec<Decision>,
}

/// Assesses members with a bundle, as known at a moment.
pub(crate) struct Scores {
    told: Told,
    scorer: Scorer,
    layout: Layout,
}

/// [`Scores`] in bytes to another process.
#[derive(Serialize, Deserialize)]
struct Told {
    bundle: Vec<u8>,
    as_of: i64,
    wanted: Wanted,
    form: Form,
}

impl fmt::Debug for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scores")
            .field("as_of", &self.told.as_of)
            .field("wanted", &self.told.wanted)
            .finish_non_exhaustive()
    }
}

impl Scores {
    /// The name of the function that gives assessments.
    pub(crate) const NAME: &str = "tiercast_score";

    /// Loads a bundle, which must prove itself.
    ///
    /// # Errors
    /// Core's; when the bundle has no embeddings that were wanted.
    pub(crate) fn new(bundle: Vec<u8>, as_of: Timestamp, wanted: Wanted, form: Form) -> anyhow::Result<Self> {
        let scorer = Scorer::load(&bundle)?;
        scorer.prove().context("it does not give here what it gave where it was made")?;
        let layout = Layout::new(&scorer, wanted, &short_hash(&bundle))?;
        Ok(Self { told: Told { bundle, as_of: as_of.ms(), wanted, form }, scorer, layout })
    }

    /// What [`OfMember::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of something else, and those of [`Scores::new`].
    #[cfg(feature = "cluster")]
    pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        let Told { bundle, as_of, wanted, form } =
            postcard::from_bytes(bytes).context("the scores of a plan cannot be read")?;
        Self::new(bundle, Timestamp::from_ms(as_of)?, wanted, form)
    }

    /// The columns of a row.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The features that the bundle knows.
    pub(crate) fn schema(&self) -> &FeatureSchema {
        self.scorer.bundle().schema()
    }

    fn as_of(&self) -> tiercast_core::Result<Timestamp> {
        Timestamp::from_ms(self.told.as_of)
    }

    /// Assesses members by their histories.
    ///
    /// # Errors
    /// Core's.
    pub(crate) fn assess(
        &self,
        scratch: &mut Scratch,
        names: &[&str],
        states: &[MemberState],
    ) -> tiercast_core::Result<Vec<Scored>> {
        let (bundle, as_of) = (self.scorer.bundle(), self.as_of()?);
        let (width, tiers) = (self.schema().len(), bundle.rules().len());
        let mut features = vec![f32::NAN; states.len() * width];
        for (state, row) in states.iter().zip(features.chunks_mut(width)) {
            self.schema().features_into(state, as_of, row)?;
        }
        let mut probabilities = Vec::with_capacity(states.len() * tiers);
        self.scorer.score_in(scratch, &features, &mut probabilities)?;
        let rows = states.iter().zip(names).zip(features.chunks(width)).zip(probabilities.chunks(tiers));
        rows.map(|(((state, name), features), probabilities)| {
            let reasons = match self.told.wanted.reasons {
                0 => Vec::new(),
                most => {
                    let mut all = self.scorer.explain_in(scratch, features)?;
                    all.truncate(most);
                    all
                }
            };
            let has_profile = self.scorer.profile_spec().is_some();
            let profile = has_profile.then(|| self.scorer.profile_in(scratch, state, as_of)).transpose()?;
            let recommendations = match self.told.wanted.recommend {
                0 => Vec::new(),
                count => {
                    let options = RecommendOptions { count, ..RecommendOptions::default() };
                    self.scorer.recommend_in(scratch, state, as_of, &options)?
                }
            };
            let assessment = bundle.decide(state, as_of, features.to_vec(), probabilities.to_vec())?;
            let decisions = match self.told.wanted.decide {
                true => self.decisions(scratch, state, name)?,
                false => Vec::new(),
            };
            Ok(Scored { assessment, profile, reasons, recommendations, decisions })
        })
        .collect()
    }

    /// What the policies decide on a member.
    fn decisions(
        &self,
        scratch: &mut Scratch,
        state: &MemberState,
        name: &str,
    ) -> tiercast_core::Result<Vec<Decision>> {
        let (as_of, options) = (self.as_of()?, DecideOptions::of(name));
        let tasks = Task::ALL.into_iter().filter(|task| self.scorer.policy(*task).is_some());
        tasks.map(|task| self.scorer.decide_in(scratch, task, state, as_of, &options)).collect()
    }

    /// Room for [`Scores::assess`].
    pub(crate) fn scratch(&self) -> Scratch {
        self.scorer.scratch(BATCH)
    }

    /// Rows of assessments in their form.
    fn rows(&self, rows: &[Scored]) -> Result<ArrayRef> {
        let lines = |line: &dyn Fn(&Scored) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(line)))
        };
        Ok(match self.told.form {
            Form::Columns => Arc::new(self.layout.columns(rows)?),
            Form::Csv => lines(&|row| self.layout.csv(row)),
            Form::Json => lines(&|row| self.layout.json(row)),
        })
    }

    /// Rows of assessments of states, [`BATCH`] at a time.
    ///
    /// # Errors
    /// Core's.
    pub(super) fn of_states(&self, names: &[String], states: &[MemberState]) -> Result<ArrayRef> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut scratch, mut scored) = (self.scratch(), Vec::with_capacity(states.len()));
        for (states, names) in states.chunks(BATCH).zip(names.chunks(BATCH)) {
            scored.extend(self.assess(&mut scratch, names, states).map_err(external)?);
        }
        self.rows(&scored)
    }
}

impl OfMember for Scores {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn data_type(&self) -> DataType {
        match self.told.form {
            Form::Columns => DataType::Struct(self.layout.fields().clone()),
            Form::Csv | Form::Json => DataType::Utf8,
        }
    }

    /// Null for a member without an event up to the moment.
    fn make(&self, members: &Members<'_>) -> Result<ArrayRef> {
        let as_of = self.as_of().map_err(external)?;
        let (mut scratch, mut scored) = (self.scratch(), Vec::new());
        let mut places = Vec::with_capacity(members.count());
        let (mut states, mut known_as) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        members.each(|name, events| {
            let known = &events[..events.partition_point(|event| event.time <= as_of)];
            if known.is_empty() {
                places.push(None);
                return Ok(());
            }
            let mut state = self.scorer.bundle().new_member();
            state.observe_all(known);
            places.push(Some((scored.len() + states.len()) as u32));
            states.push(state);
            known_as.push(name);
            if states.len() == BATCH {
                scored.extend(self.assess(&mut scratch, &known_as, &states).map_err(external)?);
                states.clear();
                known_as.clear();
            }
            Ok(())
        })?;
        if !states.is_empty() {
            scored.extend(self.assess(&mut scratch, &known_as, &states).map_err(external)?);
        }
        let rows = self.rows(&scored)?;
        if scored.len() == places.len() {
            return Ok(rows);
        }
        let places = UInt32Array::from(places);
        let Some(columns) = rows.as_any().downcast_ref::<StructArray>() else {
            return Ok(take(&rows, &places, None)?);
        };
        let nulls = NullBuffer::from_iter(places.iter().map(|place| place.is_some()));
        let columns =
            columns.columns().iter().map(|column| take(column, &places, None)).collect::<Result<_, _>>()?;
        Ok(Arc::new(StructArray::try_new(self.layout.fields().clone(), columns, Some(nulls))?))
    }

    fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.told).unwrap_or_default()
    }
}

/// What a bundle is called in its scores: the start of its SHA-256.
pub(crate) fn short_hash(bundle: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bundle))[..16].to_owned()
}
