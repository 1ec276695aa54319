//! What features of a member are at the moments of some of the member's own events, those events included: what is known when
//! an order or a login is judged as it happens.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, ListArray, StructArray},
        buffer::OffsetBuffer,
        datatypes::{DataType, Field, FieldRef, Fields},
    },
    error::Result,
};
use serde::{Deserialize, Serialize};
use tiercast_core::{Event, EventKind, FeatureSchema, FeatureSpec, MemberState};

use super::{Members, OfMember, external, vector_type, vectors};

/// What is computed of each member.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The features and the rules of events.
    schema: FeatureSchema,
    /// The kinds of events at which members are looked at.
    kinds: Vec<EventKind>,
    names: Vec<String>,
}

/// [`Moments`] in bytes to another process.
#[derive(Serialize, Deserialize)]
struct Told {
    spec: FeatureSpec,
    kinds: Vec<String>,
}

impl Moments {
    /// The name of the function that gives them.
    pub const NAME: &str = "tiercast_moments";

    /// Features by `schema` at each event of one of some kinds; events of one time are one moment.
    ///
    /// # Errors
    /// `unknown_kind` for a kind that the schema's events do not have.
    pub fn new(schema: FeatureSchema, names: Vec<String>) -> tiercast_core::Result<Self> {
        let rules = &schema.spec().events;
        let kinds = names.iter().map(|name| rules.kind(name)).collect::<tiercast_core::Result<_>>()?;
        Ok(Self { schema, kinds, names })
    }

    /// The times at which one member, whose events are in canonical order, is looked at; the features are appended to `features`.
    ///
    /// # Errors
    /// Core's, which none of these calls should meet: nothing after a moment has been observed by then.
    pub fn of(&self, events: &[Event], features: &mut Vec<f32>) -> Result<Vec<i64>> {
        let mut state = MemberState::new(&self.schema);
        let mut times = Vec::new();
        for same in events.chunk_by(|a, b| a.time == b.time) {
            for event in same {
                state.observe(*event);
            }
            if same.iter().any(|event| self.kinds.contains(&event.kind)) {
                let start = features.len();
                features.resize(start + self.schema.len(), f32::NAN);
                let now = same[0].time;
                self.schema.features_into(&state, now, &mut features[start..]).map_err(external)?;
                times.push(now.ms());
            }
        }
        Ok(times)
    }

    /// What [`OfMember::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of something else.
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        let Told { spec, kinds } = serde_json::from_slice(bytes)?;
        Ok(Self::new(FeatureSchema::compile(spec)?, kinds)?)
    }

    fn fields(&self) -> Fields {
        Fields::from(vec![
            Field::new("time", DataType::Int64, false),
            Field::new("features", vector_type(self.schema.len()), false),
        ])
    }

    fn item_field(&self) -> FieldRef {
        Arc::new(Field::new_list_field(DataType::Struct(self.fields()), false))
    }
}

impl OfMember for Moments {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn data_type(&self) -> DataType {
        DataType::List(self.item_field())
    }

    fn make(&self, members: &Members<'_>) -> Result<ArrayRef> {
        let (mut features, mut times, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        members.each(|_, events| {
            let of_member = self.of(events, &mut features)?;
            lengths.push(of_member.len());
            times.extend(of_member);
            Ok(())
        })?;
        let features = vectors(features, self.schema.len())?;
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(times)), features];
        let structs = StructArray::try_new(self.fields(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(self.item_field(), offsets, Arc::new(structs), None)?))
    }

    fn encode(&self) -> Vec<u8> {
        let told = Told { spec: self.schema.spec().clone(), kinds: self.names.clone() };
        serde_json::to_vec(&told).unwrap_or_default()
    }
}
