//! A member's rows in, whatever is made of a member's history out, inside the query engine.
//!
//! Three functions: [`EventFunction`] makes a row an event, by core's validation, in a few bytes; [`Gather`] collects a
//! member's events, in whatever order and partitions they come; [`Make`] puts them in canonical order and hands them to
//! [`OfMember`]. All can be sent to another process as bytes, so the plan is the same everywhere. (In one process a fourth, in
//! `own.rs`, keeps a sort from taking slices for whole arrays.)
//!
//! Invariant: no formula is here. What is made of a history, core computes.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, LargeBinaryArray, RecordBatch,
            StringArray,
        },
        compute::cast,
        datatypes::{DataType, Field, Int64Type},
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    functions::expr_fn::split_part,
    functions_aggregate::expr_fn::{count, min},
    logical_expr::{
        self, AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, lit,
    },
    physical_expr::{PhysicalExpr, ScalarFunctionExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan, SendableRecordBatchStream, common::spawn_buffered, execute_stream,
        projection::ProjectionExec, sorts::sort_preserving_merge::SortPreservingMergeExec,
    },
    prelude::{DataFrame, col},
};
use futures::StreamExt;
use tiercast_core::{Event, EventRules};

use crate::{
    engine::Engine,
    table::{Events, diagnose},
};

pub use event::EventFunction;
pub use gather::Gather;
pub use moments::Moments;
pub use points::Points;
#[cfg(test)]
pub(crate) use points::just_before;

use once::Once;
use own::Own;

mod event;
mod gather;
mod moments;
mod once;
mod own;
pub(crate) mod packed;
mod points;

/// What is made of each member's events.
pub trait OfMember: fmt::Debug + Send + Sync {
    /// The function's name in a plan.
    fn name(&self) -> &'static str;

    /// The type of what a member becomes.
    fn data_type(&self) -> DataType;

    /// What each of some members becomes.
    ///
    /// # Errors
    /// Core's.
    fn make(&self, members: &Members<'_>) -> Result<ArrayRef>;

    /// What another process needs to make the same.
    fn encode(&self) -> Vec<u8>;
}

/// Some members, of whom there are names and gathered events.
#[derive(Debug)]
pub struct Members<'m> {
    names: &'m StringArray,
    gathered: &'m LargeBinaryArray,
}

impl<'m> Members<'m> {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.gathered.len()
    }

    /// Shows each of them: the name, and the events in canonical order. One member's events at a time are unpacked.
    ///
    /// # Errors
    /// What `look` says; when events are damaged.
    pub fn each(&self, mut look: impl FnMut(&'m str, &[Event]) -> Result<()>) -> Result<()> {
        let mut events = Vec::new();
        for (name, bytes) in self.names.iter().zip(self.gathered) {
            events.clear();
            packed::read_into(bytes.unwrap_or_default(), &mut events)?;
            canonical(&mut events);
            look(name.unwrap_or_default(), &events)?;
        }
        Ok(())
    }
}

/// How rows are gathered.
#[derive(Clone, Debug)]
pub struct Gathering<'a> {
    /// What a row may hold.
    pub rules: &'a EventRules,
    /// Whether rows that are not events are left out, and counted; otherwise the first one is an error.
    pub skip_invalid: bool,
    /// Only members after this one, by name.
    pub after: Option<&'a str>,
    /// Whether members come by name; otherwise in whatever order.
    pub sorted: bool,
    /// Advanced by the rows that this process reads.
    pub progress: &'a indicatif::ProgressBar,
}

/// Rows that were left out, by code: how many, with the first message of the alphabet.
pub type Skipped = BTreeMap<String, (u64, String)>;

/// Gathers each member's events and gives what becomes of the members, a batch at a time: `member` and what `of` makes.
///
/// # Errors
/// When a table cannot be read, or a row is not an event: the message names table, row and code. And what `take` says.
pub async fn gather(
    events: &Events,
    of: Arc<dyn OfMember>,
    how: &Gathering<'_>,
    mut take: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<Skipped> {
    let (mut invalid, mut once) = (0, Once::default());
    for again in 0.. {
        let last = once.last_member().map(str::to_owned);
        let rest = Gathering { after: last.as_deref().or(how.after), ..how.clone() };
        let broken = match run(events, Arc::clone(&of), &rest, &mut once, &mut invalid, &mut take).await? {
            None => break,
            Some(broken) => broken,
        };
        if again < AGAIN && events.engine.may_give_the_rest(&broken, once.last_member().is_some()) {
            eprintln!("the cluster lost a part of the answer ({broken}); it is asked for the rest");
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        return Err(diagnose::explain(events, how.rules, broken).await);
    }
    if once.repeated > 0 {
        eprintln!(
            "the cluster lost an executor and gave {} members twice; each was taken once",
            once.repeated
        );
    }
    if invalid > 0 { skipped(events, how.rules).await } else { Ok(Skipped::new()) }
}

/// How often a cluster is asked for the rest of an answer.
const AGAIN: u32 = 3;

/// Gives the batches of one run of the plan to `take`. What the query broke off with, if it did, is no error yet.
async fn run(
    events: &Events,
    of: Arc<dyn OfMember>,
    how: &Gathering<'_>,
    once: &mut Once,
    invalid: &mut i64,
    take: &mut impl FnMut(&RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<Option<DataFusionError>> {
    let rows = packed_rows(events, how).await?;
    let stream = match events.engine {
        Engine::Embedded => here(rows, of, how).await,
        Engine::Ballista(_) => plan(rows, Some(of), how)?.execute_stream().await,
    };
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return Ok(Some(error)),
    };
    while let Some(batch) = stream.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Ok(Some(error)),
        };
        let batch = match (&events.engine, how.sorted) {
            (Engine::Ballista(_), true) => match once.take(&batch)? {
                Some(batch) => batch,
                None => return Ok(Some(DataFusionError::Execution(once::BEGINS_AGAIN.into()))),
            },
            _ => batch,
        };
        if how.skip_invalid {
            *invalid += batch.column(2).as_primitive::<Int64Type>().values().iter().sum::<i64>();
        }
        take(&batch)?;
    }
    Ok(None)
}

/// `member`, `made` and, where rows may be left out, `invalid`: how many of the member's were.
///
/// Without `of`, `made` are the gathered events.
fn plan(rows: DataFrame, of: Option<Arc<dyn OfMember>>, how: &Gathering<'_>) -> Result<DataFrame> {
    let as_type = |data_type| logical_expr::cast(col("member"), data_type).alias("member");
    let (rows, member, made) = match of {
        Some(of) => {
            let make = ScalarUDF::new_from_impl(Make::new(of));
            (rows, col("member"), make.call(vec![col("member"), col("events")]))
        }
        // Names of up to twelve bytes are told apart faster as views.
        None => (
            rows.select(vec![as_type(DataType::Utf8View), col("event")])?,
            as_type(DataType::Utf8),
            ScalarUDF::new_from_impl(Own::default()).call(vec![col("events")]),
        ),
    };
    let gathered = AggregateUDF::new_from_impl(Gather::default()).call(vec![col("event")]).alias("events");
    let (mut sums, mut columns) = (vec![gathered], vec![member, made.alias("made")]);
    if how.skip_invalid {
        sums.extend([count(lit(1)).alias("rows"), count(col("event")).alias("valid")]);
        columns.push((col("rows") - col("valid")).alias("invalid"));
    }
    let frame = rows.aggregate(vec![col("member")], sums)?.select(columns)?;
    if how.sorted { frame.sort(vec![col("member").sort(true, true)]) } else { Ok(frame) }
}

/// The same in this process, where members are sorted while they are still events, and not yet what is made of them: features
/// at several dates are many times as long.
async fn here(
    rows: DataFrame,
    of: Arc<dyn OfMember>,
    how: &Gathering<'_>,
) -> Result<SendableRecordBatchStream> {
    let frame = plan(rows, None, how)?;
    let task = Arc::new(at_once(frame.task_ctx()));
    let plan = frame.create_physical_plan().await?;
    let merge = plan.downcast_ref::<SortPreservingMergeExec>();
    let input = merge.map_or(&plan, SortPreservingMergeExec::input);
    let schema = input.schema();
    let make = Arc::new(ScalarUDF::new_from_impl(Make::new(of)));
    let column = |at: usize| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(schema.field(at).name(), at)) };
    let options = Arc::clone(task.session_config().options());
    let made = Arc::new(ScalarFunctionExpr::try_new(make, vec![column(0), column(1)], &schema, options)?);
    let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> =
        vec![(column(0), "member".into()), (made, "made".into())];
    if how.skip_invalid {
        columns.push((column(2), "invalid".into()));
    }
    let mut plan: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(columns, Arc::clone(input))?);
    if let Some(merge) = merge {
        plan = Arc::new(SortPreservingMergeExec::new(merge.expr().clone(), plan));
    }
    // The next batch is made while one is written.
    Ok(spawn_buffered(execute_stream(plan, task)?, 1))
}

/// Has rows dealt to the partitions of their members as they are: what a part of the rows had of a member would be as long as
/// they are, and members would be told apart twice.
fn at_once(task: TaskContext) -> TaskContext {
    let mut config = task.session_config().clone();
    let execution = &mut config.options_mut().execution;
    execution.skip_partial_aggregation_probe_rows_threshold = 0;
    execution.skip_partial_aggregation_probe_ratio_threshold = 0.0;
    task.with_session_config(config)
}

/// `member` and `event`, row by row.
pub(crate) async fn packed_rows(events: &Events, how: &Gathering<'_>) -> anyhow::Result<DataFrame> {
    let event = ScalarUDF::new_from_impl(EventFunction::new(
        how.rules.clone(),
        how.skip_invalid,
        how.progress.clone(),
    ));
    let mut frame = events.frame().await?;
    if let Some(after) = how.after {
        frame = frame.filter(col("member").gt(lit(after)))?;
    }
    Ok(frame.select(vec![col("member"), event.call(events.told()).alias("event")])?)
}

/// The rows that are not events, by code, in a pass of their own.
pub(crate) async fn skipped(events: &Events, rules: &EventRules) -> anyhow::Result<Skipped> {
    let why = ScalarUDF::new_from_impl(EventFunction::why(rules.clone()));
    let code = split_part(col("why"), lit(": "), lit(1_i64)).alias("code");
    let sums = vec![count(lit(1)).alias("rows"), min(col("why")).alias("first")];
    let frame = events.frame().await?.select(vec![why.call(events.told()).alias("why")])?;
    let frame = frame.filter(col("why").is_not_null())?.aggregate(vec![code], sums)?;
    let mut skipped = Skipped::new();
    for batch in frame.collect().await? {
        let rows = batch.column(1).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let (code, why) = (text(batch.column(0), row)?, text(batch.column(2), row)?);
            let message = why.strip_prefix(&format!("{code}: ")).unwrap_or(&why).to_owned();
            skipped.insert(code, (rows.value(row).cast_unsigned(), message));
        }
    }
    Ok(skipped)
}

fn text(column: &ArrayRef, row: usize) -> anyhow::Result<String> {
    let column = cast(column, &DataType::Utf8)?;
    Ok(column.as_string_opt::<i32>().context("a text was expected")?.value(row).to_owned())
}

/// Sorts events canonically and keeps the first of each identity, as
/// [`MemberState::observe`](tiercast_core::MemberState::observe) does.
pub fn canonical(events: &mut Vec<Event>) {
    events.sort_unstable();
    if events.iter().all(|event| event.id == 0) {
        return;
    }
    let mut known = HashSet::with_capacity(events.len());
    events.retain(|event| event.id == 0 || known.insert(event.id));
}

/// The scalar function that makes something of each member's gathered events.
#[derive(Debug)]
pub struct Make {
    of: Arc<dyn OfMember>,
    signature: Signature,
}

impl Make {
    /// Makes `of` of each row's member and events.
    pub fn new(of: Arc<dyn OfMember>) -> Self {
        Self { of, signature: Signature::any(2, Volatility::Stable) }
    }

    /// What is made.
    pub fn of(&self) -> &dyn OfMember {
        self.of.as_ref()
    }
}

impl PartialEq for Make {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.of, &other.of) || self.of.encode() == other.of.encode()
    }
}

impl Eq for Make {}

impl Hash for Make {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.name().hash(state);
    }
}

impl ScalarUDFImpl for Make {
    fn name(&self) -> &str {
        self.of.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.of.data_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [names, events] = &args.args[..] else {
            return Err(DataFusionError::Internal(format!(
                "{} takes a member and its events",
                self.of.name()
            )));
        };
        let names = cast(&names.to_array(args.number_rows)?, &DataType::Utf8)?;
        let events = events.to_array(args.number_rows)?;
        let members = Members { names: names.as_string(), gathered: events.as_binary() };
        Ok(ColumnarValue::Array(self.of.make(&members)?))
    }
}

/// The type of a feature vector: so many 32-bit floats.
fn vector_type(width: usize) -> DataType {
    DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Float32, false)), width as i32)
}

/// Feature vectors, one after the other, as such a list each.
fn vectors(features: Vec<f32>, width: usize) -> Result<ArrayRef> {
    let values = Arc::new(Field::new_list_field(DataType::Float32, false));
    let features = Arc::new(Float32Array::from(features));
    Ok(Arc::new(FixedSizeListArray::try_new(values, width as i32, features, None)?))
}

pub(crate) fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
