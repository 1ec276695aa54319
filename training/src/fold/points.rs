//! What features, spend and the next purchase of a member are at each as-of date.
//!
//! An as-of date sees the events before it; its target sees those from it on.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Float32Array, Int64Array, ListArray, StructArray},
        buffer::OffsetBuffer,
        datatypes::{DataType, Field, FieldRef, Fields},
    },
    error::Result,
};
use serde::{Deserialize, Serialize};
use tiercast_core::{
    DAY_MS, Duration, Event, EventKind, FeatureSchema, FeatureSpec, MemberState, Period, Timestamp, net_spend,
};

use super::{Members, OfMember, external, vector_type, vectors};

/// What is computed of each member.
#[derive(Clone, Debug)]
pub struct Points {
    /// The features and the rules of events.
    pub schema: FeatureSchema,
    /// When members are looked at, ascending.
    pub as_ofs: Vec<Timestamp>,
    /// Gives the current period, which ends at an as-of date, and the target period, which starts there.
    pub period: Period,
    /// Only members with a purchase within this long before an as-of date; otherwise any event before it counts.
    pub active_within: Option<Duration>,
}

/// A member at one as-of date.
struct Point {
    /// When the member is looked at.
    as_of: Timestamp,
    /// Net spend in the period that ends there, minor units.
    current: i64,
    /// Net spend in the period that starts there, minor units.
    target: i64,
    /// Days until the first purchase of that period; NaN where there is none.
    next: f32,
}

/// [`Points`] in bytes to another process.
#[derive(Serialize, Deserialize)]
struct Told {
    spec: FeatureSpec,
    as_ofs: Vec<i64>,
    period: Period,
    active_within: Option<Duration>,
}

impl Points {
    /// The name of the function that gives points.
    pub const NAME: &str = "tiercast_points";

    /// Where the period before each as-of date begins, and where the one from it on ends.
    fn periods(&self) -> Vec<(Timestamp, Timestamp)> {
        let ends = |as_of: &Timestamp| (self.period.before(*as_of).0, self.period.around(*as_of).1);
        self.as_ofs.iter().map(ends).collect()
    }

    /// Looks at one member, whose events are in canonical order, at each as-of date at which the member is eligible: appends
    /// the points and their features, and returns how many they are.
    ///
    /// # Errors
    /// Core's, which none of these calls should meet: no as-of lies before what was forgotten.
    fn append(
        &self,
        periods: &[(Timestamp, Timestamp)],
        events: &[Event],
        features: &mut Vec<f32>,
        points: &mut Vec<Point>,
    ) -> Result<usize> {
        let mut state = MemberState::with_room(&self.schema, events.len());
        let before = points.len();
        let mut seen = 0;
        for (&as_of, &(current_from, target_to)) in self.as_ofs.iter().zip(periods) {
            let known = events.partition_point(|event| event.time < as_of);
            state.observe_all(&events[seen..known]);
            seen = known;
            if !self.eligible(&events[..known], as_of) {
                continue;
            }
            let start = features.len();
            features.resize(start + self.schema.len(), f32::NAN);
            self.schema
                .features_into(&state, just_before(as_of)?, &mut features[start..])
                .map_err(external)?;
            points.push(Point {
                as_of,
                current: net_spend(&events[..known], current_from, as_of),
                target: net_spend(&events[known..], as_of, target_to),
                next: next_purchase(&events[known..], as_of, target_to),
            });
        }
        Ok(points.len() - before)
    }

    fn eligible(&self, known: &[Event], as_of: Timestamp) -> bool {
        let Some(within) = self.active_within else { return !known.is_empty() };
        let recent = known.iter().rev().take_while(|event| event.time.ms() >= as_of.ms() - within.ms());
        recent.into_iter().any(|event| event.kind == EventKind::Purchase)
    }

    /// What [`OfMember::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of something else.
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        let Told { spec, as_ofs, period, active_within } = serde_json::from_slice(bytes)?;
        let as_ofs = as_ofs.into_iter().map(Timestamp::from_ms).collect::<tiercast_core::Result<_>>()?;
        Ok(Self { schema: FeatureSchema::compile(spec)?, as_ofs, period, active_within })
    }

    fn point_fields(&self) -> Fields {
        Fields::from(vec![
            Field::new("as_of", DataType::Int64, false),
            Field::new("features", vector_type(self.schema.len()), false),
            Field::new("current", DataType::Int64, false),
            Field::new("target", DataType::Int64, false),
            Field::new("next", DataType::Float32, false),
        ])
    }

    fn item_field(&self) -> FieldRef {
        Arc::new(Field::new_list_field(DataType::Struct(self.point_fields()), false))
    }

    /// The points, and the times of the first and the last event.
    fn fields(&self) -> Fields {
        Fields::from(vec![
            Field::new("points", DataType::List(self.item_field()), false),
            Field::new("first", DataType::Int64, true),
            Field::new("last", DataType::Int64, true),
        ])
    }
}

impl OfMember for Points {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn data_type(&self) -> DataType {
        DataType::Struct(self.fields())
    }

    fn make(&self, members: &Members<'_>) -> Result<ArrayRef> {
        let (most, periods) = (members.count() * self.as_ofs.len(), self.periods());
        let mut features = Vec::with_capacity(most * self.schema.len());
        let (mut points, mut lengths) = (Vec::with_capacity(most), Vec::with_capacity(members.count()));
        let (mut first, mut last) = (Vec::new(), Vec::new());
        members.each(|_, events| {
            lengths.push(self.append(&periods, events, &mut features, &mut points)?);
            first.push(events.first().map(|event| event.time.ms()));
            last.push(events.last().map(|event| event.time.ms()));
            Ok(())
        })?;
        let numbers = |get: fn(&Point) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(points.iter().map(get)))
        };
        let columns: Vec<ArrayRef> = vec![
            numbers(|point| point.as_of.ms()),
            vectors(features, self.schema.len())?,
            numbers(|point| point.current),
            numbers(|point| point.target),
            Arc::new(Float32Array::from_iter_values(points.iter().map(|point| point.next))),
        ];
        let structs = StructArray::try_new(self.point_fields(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let lists = ListArray::try_new(self.item_field(), offsets, Arc::new(structs), None)?;
        let columns: Vec<ArrayRef> =
            vec![Arc::new(lists), Arc::new(Int64Array::from(first)), Arc::new(Int64Array::from(last))];
        Ok(Arc::new(StructArray::try_new(self.fields(), columns, None)?))
    }

    fn encode(&self) -> Vec<u8> {
        let told = Told {
            spec: self.schema.spec().clone(),
            as_ofs: self.as_ofs.iter().map(|as_of| as_of.ms()).collect(),
            period: self.period,
            active_within: self.active_within,
        };
        serde_json::to_vec(&told).unwrap_or_default()
    }
}

/// The last moment before a period starts: what is known then is what a model of that period may see.
pub(crate) fn just_before(as_of: Timestamp) -> Result<Timestamp> {
    Timestamp::from_ms(as_of.ms() - 1).map_err(external)
}

/// Days from `as_of` to the first purchase before `to`; NaN where there is none.
fn next_purchase(events: &[Event], as_of: Timestamp, to: Timestamp) -> f32 {
    let first = events.iter().find(|event| event.kind == EventKind::Purchase && event.time < to);
    first.map_or(f32::NAN, |event| ((event.time.ms() - as_of.ms()) as f64 / DAY_MS as f64) as f32)
}
