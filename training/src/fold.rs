//! The core fold as an aggregate function: a member's rows in, features at each as-of date out.
//!
//! Invariant: nothing is computed here. Rows become events through core's validation, events go through core's
//! [`MemberState`] in time order, and core gives features and spend. An as-of date sees the events before it; its
//! target sees those from it on.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, Int64Array,
            LargeBinaryArray, LargeBinaryBuilder, ListArray, StructArray,
        },
        buffer::OffsetBuffer,
        datatypes::{DataType, Field, FieldRef, Fields},
    },
    error::{DataFusionError, Result},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};
use indicatif::ProgressBar;
use tiercast_core::{
    DAY_MS, Duration, Event, EventKind, FeatureSchema, MemberState, Period, Timestamp, net_spend,
};

use crate::table::{
    FIELDS,
    columns::{EventColumns, RowError},
};

mod packed;

/// The name of the aggregate function in SQL.
pub const NAME: &str = "tiercast_fold";

/// What the fold computes, and what it does with rows that are not events.
#[derive(Clone, Debug)]
pub struct FoldPlan {
    /// The features and the rules of events.
    pub schema: FeatureSchema,
    /// When members are looked at, ascending.
    pub as_ofs: Vec<Timestamp>,
    /// Gives the current period, which ends at an as-of date, and the target period, which starts there.
    pub period: Period,
    /// Only members with a purchase within this long before an as-of date; otherwise any event before it counts.
    pub active_within: Option<Duration>,
    /// Where invalid rows are counted; without it the first one is an error.
    pub skipped: Option<Arc<Skipped>>,
    /// The times of the first and the last valid event, once the rows are read.
    pub span: Arc<Span>,
    /// Advanced by the rows read.
    pub progress: ProgressBar,
}

/// The earliest and the latest of the times that were seen.
#[derive(Debug)]
pub struct Span(AtomicI64, AtomicI64);

impl Default for Span {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN))
    }
}

impl Span {
    fn add(&self, time: Timestamp) {
        self.0.fetch_min(time.ms(), Ordering::Relaxed);
        self.1.fetch_max(time.ms(), Ordering::Relaxed);
    }

    /// The first and the last time; none when there was no event.
    pub fn get(&self) -> Option<(Timestamp, Timestamp)> {
        let time = |ms: &AtomicI64| Timestamp::from_ms(ms.load(Ordering::Relaxed)).ok();
        Some((time(&self.0)?, time(&self.1)?))
    }
}

/// Invalid rows that were left out, by code, with one message of each.
#[derive(Debug, Default)]
pub struct Skipped(Mutex<BTreeMap<String, (u64, String)>>);

impl Skipped {
    /// Counts one.
    pub fn add(&self, error: RowError) {
        if let Ok(mut counts) = self.0.lock() {
            counts.entry(error.code).or_insert((0, error.message)).0 += 1;
        }
    }

    /// How many of each code, with the first message.
    pub fn counts(&self) -> BTreeMap<String, (u64, String)> {
        self.0.lock().map(|counts| counts.clone()).unwrap_or_default()
    }
}

/// A member at one as-of date.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// When the member is looked at.
    pub as_of: Timestamp,
    /// Net spend in the period that ends there, minor units.
    pub current: i64,
    /// Net spend in the period that starts there, minor units.
    pub target: i64,
    /// Days until the first purchase of that period; NaN where there is none.
    pub next: f32,
}

impl FoldPlan {
    /// Folds one member's events: the points at which the member is eligible, their features appended to `features`.
    ///
    /// # Errors
    /// Core's, which none of these calls should meet: events come in order, and no as-of lies before what was forgotten.
    pub fn fold(&self, events: &mut Vec<Event>, features: &mut Vec<f32>) -> Result<Vec<Point>> {
        canonical(events);
        let mut state = MemberState::new(&self.schema);
        let mut points = Vec::new();
        let mut seen = 0;
        for &as_of in &self.as_ofs {
            let known = events.partition_point(|event| event.time < as_of);
            for event in &events[seen..known] {
                state.observe(*event);
            }
            seen = known;
            if !self.eligible(&events[..known], as_of) {
                continue;
            }
            let start = features.len();
            features.resize(start + self.schema.len(), f32::NAN);
            self.schema
                .features_into(&state, just_before(as_of)?, &mut features[start..])
                .map_err(external)?;
            let (current_from, _) = self.period.before(as_of);
            let (_, target_to) = self.period.around(as_of);
            points.push(Point {
                as_of,
                current: net_spend(&events[..known], current_from, as_of),
                target: net_spend(&events[known..], as_of, target_to),
                next: next_purchase(&events[known..], as_of, target_to),
            });
        }
        Ok(points)
    }

    fn eligible(&self, known: &[Event], as_of: Timestamp) -> bool {
        let Some(within) = self.active_within else { return !known.is_empty() };
        let recent = known.iter().rev().take_while(|event| event.time.ms() >= as_of.ms() - within.ms());
        recent.into_iter().any(|event| event.kind == EventKind::Purchase)
    }

    /// Reads a row, or counts it as skipped.
    fn read(&self, columns: &EventColumns<'_>, row: usize) -> Result<Option<Event>> {
        match (columns.event(row, &self.schema.spec().events), &self.skipped) {
            (Ok(event), _) => {
                self.span.add(event.time);
                Ok(Some(event))
            }
            (Err(error), Some(skipped)) => {
                skipped.add(error);
                Ok(None)
            }
            (Err(error), None) => Err(external(error)),
        }
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

/// Sorts events canonically and keeps the first of each identity, as [`MemberState::observe`] does.
pub fn canonical(events: &mut Vec<Event>) {
    events.sort_unstable();
    let mut known = HashSet::with_capacity(events.len());
    events.retain(|event| event.id == 0 || known.insert(event.id));
}

/// The aggregate function of a plan, to be registered under [`NAME`].
pub fn function(plan: FoldPlan) -> AggregateUDF {
    AggregateUDF::new_from_impl(Fold {
        plan: Arc::new(plan),
        signature: Signature::any(1 + FIELDS.len(), Volatility::Stable),
    })
}

#[derive(Debug)]
struct Fold {
    plan: Arc<FoldPlan>,
    signature: Signature,
}

impl PartialEq for Fold {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
    }
}

impl Eq for Fold {}

impl Hash for Fold {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plan.schema.hash().hash(state);
    }
}

impl Fold {
    fn point_fields(&self) -> Fields {
        let values = Arc::new(Field::new_list_field(DataType::Float32, false));
        let width = self.plan.schema.len() as i32;
        Fields::from(vec![
            Field::new("as_of", DataType::Int64, false),
            Field::new("features", DataType::FixedSizeList(values, width), false),
            Field::new("current", DataType::Int64, false),
            Field::new("target", DataType::Int64, false),
            Field::new("next", DataType::Float32, false),
        ])
    }

    fn item_field(&self) -> FieldRef {
        Arc::new(Field::new_list_field(DataType::Struct(self.point_fields()), false))
    }
}

impl AggregateUDFImpl for Fold {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(self.item_field()))
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Err(DataFusionError::NotImplemented(format!("{NAME} is used with GROUP BY member")))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        // Offsets of plain Binary overflow at 2 GiB of events.
        Ok(vec![Arc::new(Field::new(format!("{}[events]", args.name), DataType::LargeBinary, true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let (item, fields) = (self.item_field(), self.point_fields());
        Ok(Box::new(Groups { plan: Arc::clone(&self.plan), item, fields, events: Vec::new(), allocated: 0 }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The events of each group so far.
#[derive(Debug)]
struct Groups {
    plan: Arc<FoldPlan>,
    item: FieldRef,
    fields: Fields,
    events: Vec<Vec<Event>>,
    allocated: usize,
}

impl Groups {
    fn push(&mut self, group: usize, event: Event) {
        let events = &mut self.events[group];
        let before = events.capacity();
        events.push(event);
        self.allocated += (events.capacity() - before) * size_of::<Event>();
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Vec<Event>> {
        let taken = emit_to.take_needed(&mut self.events);
        self.allocated -= taken.iter().map(|events| events.capacity() * size_of::<Event>()).sum::<usize>();
        taken
    }

    /// Calls `use_event` with each valid row that the filter keeps.
    fn read(
        plan: &FoldPlan,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
        mut use_row: impl FnMut(usize, Option<Event>),
    ) -> Result<()> {
        let columns = EventColumns::new(values)?;
        for row in 0..columns.rows() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            use_row(row, if kept { plan.read(&columns, row)? } else { None });
        }
        plan.progress.inc(columns.rows() as u64);
        Ok(())
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.events.resize_with(total, Vec::new);
        let plan = Arc::clone(&self.plan);
        Self::read(&plan, values, filter, |row, event| {
            if let Some(event) = event {
                self.push(groups[row], event);
            }
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (mut features, mut points, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for mut events in self.take(emit_to) {
            let of_member = self.plan.fold(&mut events, &mut features)?;
            lengths.push(of_member.len());
            points.extend(of_member);
        }
        let numbers = |get: fn(&Point) -> i64| -> ArrayRef {
            Arc::new(points.iter().map(|point| Some(get(point))).collect::<Int64Array>())
        };
        let values = Arc::new(Field::new_list_field(DataType::Float32, false));
        let width = self.plan.schema.len() as i32;
        let features =
            FixedSizeListArray::try_new(values, width, Arc::new(Float32Array::from(features)), None)?;
        let columns: Vec<ArrayRef> = vec![
            numbers(|point| point.as_of.ms()),
            Arc::new(features),
            numbers(|point| point.current),
            numbers(|point| point.target),
            Arc::new(points.iter().map(|point| Some(point.next)).collect::<Float32Array>()),
        ];
        let structs = StructArray::try_new(self.fields.clone(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.item), offsets, Arc::new(structs), None)?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut builder = LargeBinaryBuilder::new();
        let mut bytes = Vec::new();
        for events in self.take(emit_to) {
            bytes.clear();
            events.iter().for_each(|event| packed::write(event, &mut bytes));
            builder.append_value(&bytes);
        }
        Ok(vec![Arc::new(builder.finish())])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.events.resize_with(total, Vec::new);
        let states: &LargeBinaryArray = values[0].as_binary();
        for (row, &group) in groups.iter().enumerate() {
            if states.is_valid(row) {
                for event in packed::read(states.value(row))? {
                    self.push(group, event);
                }
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut builder = LargeBinaryBuilder::new();
        let mut bytes = Vec::new();
        Self::read(&self.plan, values, filter, |_, event| {
            bytes.clear();
            event.iter().for_each(|event| packed::write(event, &mut bytes));
            builder.append_value(&bytes);
        })?;
        Ok(vec![Arc::new(builder.finish())])
    }

    fn size(&self) -> usize {
        self.allocated + self.events.capacity() * size_of::<Vec<Event>>()
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
