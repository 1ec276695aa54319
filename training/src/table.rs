//! A shop's tables as one stream of events in canonical columns.
//!
//! The project's SQL expressions only rename, cast and filter; what a value means is decided by
//! [`EventInput::validate`](tiercast_core::EventInput::validate), row by row, in [`columns`].

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch},
        datatypes::{DataType, FieldRef, Int64Type, Schema, TimeUnit},
    },
    common::DFSchema,
    error::DataFusionError,
    execution::{
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    functions_aggregate::expr_fn::{max, min},
    logical_expr::{Expr, ExprSchemable},
    prelude::{CsvReadOptions, DataFrame, ParquetReadOptions, SessionConfig, SessionContext, col},
};
use tiercast_core::Timestamp;

use crate::{
    locate::nearest,
    project::{Columns, EventTable, Project},
};

pub mod columns;
pub mod diagnose;
pub mod survey;

/// The event's fields after `member`, in the order of the canonical columns.
pub const FIELDS: [&str; 10] =
    ["kind", "time", "id", "amount", "discount", "quantity", "item", "category", "channel", "order"];

/// The number of the row in its file, from 1, where it was asked for.
pub const ROW: &str = "__row";

/// How tables are read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Parallel partitions; the number of cores if absent.
    pub partitions: Option<usize>,
    /// Memory for sorting and grouping, in bytes, beyond which data is spilled to disk; unlimited if absent.
    pub memory: Option<usize>,
}

/// A query session that reads names as they are written and texts as plain strings.
///
/// # Errors
/// When the memory limit cannot be set up.
pub fn session(options: &ReadOptions) -> anyhow::Result<SessionContext> {
    let mut config = SessionConfig::new().with_information_schema(false);
    if let Some(partitions) = options.partitions {
        config = config.with_target_partitions(partitions);
    }
    if options.memory.is_some() {
        // A row of the fold's state is a member's whole history: fewer of them at once.
        config = config.with_batch_size(1024);
    }
    let settings = config.options_mut();
    settings.sql_parser.enable_ident_normalization = false;
    settings.sql_parser.map_string_types_to_utf8view = false;
    settings.execution.parquet.schema_force_view_types = false;
    settings.execution.parquet.coerce_int96 = Some("ms".into());
    let runtime = match options.memory {
        Some(bytes) => {
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(bytes))).build()?
        }
        None => RuntimeEnv::default(),
    };
    Ok(SessionContext::new_with_config_rt(config, Arc::new(runtime)))
}

/// Makes a .parquet or .csv file known to a session under a name.
///
/// # Errors
/// When the file is missing, has another ending, or cannot be read.
pub async fn register(context: &SessionContext, name: &str, path: &Path) -> anyhow::Result<()> {
    if !path.is_file() {
        bail!("there is no file {}", path.display());
    }
    let text = path.to_str().with_context(|| format!("{} is not a readable path", path.display()))?;
    let registered = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => context.register_parquet(name, text, ParquetReadOptions::default()).await,
        Some("csv") => register_csv(context, name, text, path.metadata()?.len()).await,
        _ => bail!("{} is neither .parquet nor .csv", path.display()),
    };
    registered.map_err(|error| plain(&error).context(format!("cannot read {}", path.display())))?;
    if context.table(name).await?.schema().fields().is_empty() {
        bail!("{} has no columns", path.display());
    }
    Ok(())
}

/// CSV files up to this size are read whole to tell their columns' types; of larger ones, the first rows.
const WHOLE_CSV: u64 = 256 << 20;
const FIRST_ROWS: usize = 500_000;

/// Numbers are told from texts by looking. Dates stay text, which core reads: a day that does not exist is then an
/// event with a code and a row, and not a failure of the reader.
async fn register_csv(
    context: &SessionContext,
    name: &str,
    path: &str,
    size: u64,
) -> datafusion::error::Result<()> {
    let rows = if size <= WHOLE_CSV { usize::MAX } else { FIRST_ROWS };
    let frame = context.read_csv(path, CsvReadOptions::new().schema_infer_max_records(rows)).await?;
    let undated = |field: &FieldRef| match field.data_type().is_temporal() {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        false => Arc::clone(field),
    };
    let schema = Schema::new(frame.schema().fields().iter().map(undated).collect::<Vec<_>>());
    context.register_csv(name, path, CsvReadOptions::new().schema(&schema)).await
}

/// A name as SQL, whatever is in it.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What the query engine says, without its repetitions.
pub fn plain(error: &DataFusionError) -> anyhow::Error {
    if let DataFusionError::ResourcesExhausted(_) = error.find_root() {
        return anyhow!("the memory allowed is too little even with disk; raise --memory");
    }
    let text = error.find_root().to_string();
    let marks = ["Csv error: ", "Parser error: ", "Arrow error: ", "Parquet error: "];
    let start =
        marks.iter().filter_map(|mark| Some(text.rfind(mark)? + mark.len())).max().unwrap_or_default();
    anyhow!("{}", text[start..].trim_end())
}

/// One of the project's tables, opened and typed.
#[derive(Debug)]
pub struct Table {
    /// The file as the project names it.
    pub name: String,
    /// Its columns and those of its lookups.
    pub schema: DFSchema,
    alias: String,
    declared: EventTable,
    expressions: Vec<(String, Shape)>,
}

/// What a field's expression gives, which decides the canonical column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Absent,
    Integer,
    Float,
    Text,
}

/// All of a project's tables in one session.
pub struct Events {
    /// The session in which the tables are known.
    pub context: SessionContext,
    /// The tables, in the order of the project.
    pub tables: Vec<Table>,
    /// Every file that is read, lookups included.
    pub files: Vec<PathBuf>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("tables", &self.tables).finish_non_exhaustive()
    }
}

impl Events {
    /// Opens the tables of a project.
    ///
    /// # Errors
    /// When a file is missing or an expression does not fit its table; `tiercast check` says where in the project file.
    pub async fn open(project: &Project, options: &ReadOptions) -> anyhow::Result<Self> {
        Self::open_declared(&project.folder, &project.events, options).await
    }

    /// Opens declared tables that stand in a folder.
    ///
    /// # Errors
    /// As [`Events::open`].
    pub async fn open_declared(
        folder: &Path,
        declared: &[EventTable],
        options: &ReadOptions,
    ) -> anyhow::Result<Self> {
        let context = session(options)?;
        let (mut tables, mut files) = (Vec::new(), Vec::new());
        for (index, declared) in declared.iter().enumerate() {
            let named = || format!("table {} (run `tiercast check`)", declared.table);
            let table =
                Table::open(&context, format!("t{index}"), folder, declared).await.with_context(named)?;
            if let Some(newest) = table.newest(&context).await?.filter(|ms| *ms < OldTimes::BEFORE_MS) {
                return Err(OldTimes { table: index, name: table.name, newest }.into());
            }
            tables.push(table);
            files.push(folder.join(&declared.table));
            files.extend(declared.join.iter().map(|join| folder.join(&join.table)));
        }
        Ok(Self { context, tables, files })
    }

    /// Opens a table whose columns have the names of an event's fields.
    ///
    /// # Errors
    /// When the file cannot be read, lacks `member`, `kind` or `time`, or has a column that is nearly named like a field.
    pub async fn open_canonical(path: &Path, options: &ReadOptions) -> anyhow::Result<Self> {
        let context = session(options)?;
        register(&context, "t", path).await?;
        let schema = context.table("t").await?.schema().clone();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let ignored = unknown(&names).with_context(|| path.display().to_string())?;
        if !ignored.is_empty() {
            eprintln!("{}: no field of an event, so not read: {}", path.display(), ignored.join(", "));
        }
        let column = |name: &str| names.contains(&name).then(|| ident(name));
        let required = |name: &str| {
            column(name).with_context(|| {
                format!("{} has no column `{name}`; map its columns with -p tiercast.toml", path.display())
            })
        };
        let columns = Columns {
            member: required("member")?,
            kind: required("kind")?,
            time: required("time")?,
            id: column("id"),
            amount: column("amount"),
            discount: column("discount"),
            quantity: column("quantity"),
            item: column("item"),
            category: column("category"),
            channel: column("channel"),
            order: column("order"),
        };
        let table = std::path::absolute(path)?.display().to_string();
        let declared = EventTable { table, join: Vec::new(), filter: None, columns };
        Self::open_declared(Path::new(""), &[declared], options).await
    }

    /// The times of the first and the last event.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub async fn span(&self) -> anyhow::Result<(Timestamp, Timestamp)> {
        let edges = vec![min(col("time")), max(col("time"))];
        let batches = self.frame().await?.aggregate(vec![], edges)?.collect().await?;
        let batch = batches.iter().find(|batch| batch.num_rows() > 0).context("the table has no event")?;
        Ok((instant(batch.column(0))?, instant(batch.column(1))?))
    }

    /// Whether times are ISO texts, and not milliseconds.
    pub fn times_are_text(&self) -> bool {
        self.shapes()[2] == Shape::Text
    }

    /// All events: `member` and [`FIELDS`], in no particular order.
    ///
    /// # Errors
    /// When the query cannot be planned.
    pub async fn frame(&self) -> anyhow::Result<DataFrame> {
        let parts: Vec<_> = self.tables.iter().map(|table| table.select(&self.shapes(), false)).collect();
        Ok(self.context.sql(&parts.join(" UNION ALL ")).await?)
    }

    /// One table's events with their row numbers in [`ROW`], from 1, in the order of the file.
    ///
    /// # Errors
    /// When the query cannot be planned.
    pub async fn numbered(&self, table: &Table) -> anyhow::Result<DataFrame> {
        // Parallel parts of a file come in any order, and their rows would be numbered in it.
        self.context.sql("SET datafusion.execution.target_partitions = 1").await?;
        Ok(self.context.sql(&table.select(&self.shapes(), true)).await?)
    }

    /// The type of each canonical column: text when any table gives text, so that tables can be put under each other.
    fn shapes(&self) -> Vec<Shape> {
        let widest = |field: usize| {
            let shapes = self.tables.iter().map(|table| table.expressions[field].1);
            shapes.reduce(Shape::widen).unwrap_or(Shape::Absent)
        };
        (0..=FIELDS.len()).map(widest).collect()
    }
}

/// The columns that are no field of an event.
///
/// # Errors
/// When one of them is nearly named like a field that the table lacks: what it holds would be missed in silence.
fn unknown<'n>(names: &[&'n str]) -> anyhow::Result<Vec<&'n str>> {
    let fields = || std::iter::once("member").chain(FIELDS);
    let lacking: Vec<_> = fields().filter(|field| !names.contains(field)).collect();
    let unknown: Vec<_> = names.iter().copied().filter(|name| fields().all(|field| field != *name)).collect();
    for name in &unknown {
        if let Some(field) = nearest(name, lacking.iter().copied()) {
            bail!(
                "the column {name:?} is not read; did you mean `{field}`? \
                 rename it, leave it out, or map the columns with -p tiercast.toml"
            );
        }
    }
    Ok(unknown)
}

/// A table whose numbers, read as milliseconds, all lie long ago: they are something else.
#[derive(Debug)]
pub struct OldTimes {
    /// The table's place in the project.
    pub table: usize,
    name: String,
    newest: i64,
}

impl OldTimes {
    /// 1990-01-01, before which no shop kept such tables.
    const BEFORE_MS: i64 = 631_152_000_000;

    /// What to do.
    pub const HELP: &str = "numbers are milliseconds since 1970. In the project file, for \
        seconds write `time = \"column * 1000\"`; for yyyymmdd write \
        `time = \"CAST(CAST(column AS VARCHAR) AS DATE)\"`";

    /// What was found.
    pub fn found(&self) -> String {
        let newest = Timestamp::from_ms(self.newest)
            .map_or_else(|_| format!("{} ms", self.newest), |time| time.to_string());
        format!("the newest event is of {newest}")
    }
}

impl fmt::Display for OldTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}: {}: {}", self.name, self.found(), Self::HELP)
    }
}

impl std::error::Error for OldTimes {}

/// The first value of a canonical time column.
fn instant(times: &ArrayRef) -> anyhow::Result<Timestamp> {
    if times.is_empty() || times.is_null(0) {
        bail!("the table has no event");
    }
    match (times.as_primitive_opt::<Int64Type>(), times.as_string_opt::<i32>()) {
        (Some(ms), _) => Ok(Timestamp::from_ms(ms.value(0))?),
        (_, Some(text)) => Ok(Timestamp::parse(text.value(0))?),
        _ => bail!("a time column has type {}", times.data_type()),
    }
}

impl Shape {
    fn widen(self, other: Self) -> Self {
        match (self, other) {
            (Self::Absent, shape) | (shape, Self::Absent) => shape,
            (a, b) if a == b => a,
            (Self::Text, _) | (_, Self::Text) => Self::Text,
            _ => Self::Float,
        }
    }

    fn sql_type(self) -> &'static str {
        match self {
            Self::Integer => "BIGINT",
            Self::Float => "DOUBLE",
            Self::Absent | Self::Text => "VARCHAR",
        }
    }
}

impl Table {
    async fn open(
        context: &SessionContext,
        alias: String,
        folder: &Path,
        declared: &EventTable,
    ) -> anyhow::Result<Self> {
        let schema = joined_schema(context, &alias, folder, declared).await?;
        let mut expressions = Vec::new();
        for field in std::iter::once("member").chain(FIELDS) {
            let given = declared.columns.given().into_iter().find(|(name, _)| *name == field);
            expressions.push(match given {
                Some((_, sql)) => canonical(context, &schema, field, sql)
                    .with_context(|| format!("column `{field}`: {sql}"))?,
                None => ("NULL".into(), Shape::Absent),
            });
        }
        Ok(Self { name: declared.table.clone(), schema, alias, declared: declared.clone(), expressions })
    }

    /// The largest time that is a number of milliseconds; none where times are ISO texts.
    async fn newest(&self, context: &SessionContext) -> anyhow::Result<Option<i64>> {
        let shapes: Vec<_> = self.expressions.iter().map(|(_, shape)| *shape).collect();
        let times = format!("SELECT TRY_CAST(\"time\" AS BIGINT) FROM ({})", self.select(&shapes, false));
        let sql = match shapes[2] {
            // Where one text is no number, the others are dates too: no need to read them all.
            Shape::Text => format!("SELECT * FROM ({times} WHERE \"time\" IS NOT NULL LIMIT 1)"),
            _ => times,
        };
        let frame = context.sql(&sql).await?;
        let time = Expr::Column(frame.schema().columns().into_iter().next().context("no time")?);
        // A row that cannot be read is told of by the pass that reads rows, with its number.
        let Ok(batches) = frame.aggregate(vec![], vec![max(time)])?.collect().await else { return Ok(None) };
        let newest = |batch: &RecordBatch| {
            let times = batch.column(0).as_primitive_opt::<Int64Type>()?;
            (!times.is_empty() && times.is_valid(0)).then(|| times.value(0))
        };
        Ok(batches.iter().find_map(newest))
    }

    fn select(&self, shapes: &[Shape], numbered: bool) -> String {
        let names = std::iter::once("member").chain(FIELDS);
        let mut columns: Vec<_> = names
            .zip(&self.expressions)
            .zip(shapes)
            .map(|((name, (sql, _)), shape)| format!("CAST({sql} AS {}) AS \"{name}\"", shape.sql_type()))
            .collect();
        if numbered {
            columns.push(format!("\"{ROW}\""));
        }
        let filter = self.declared.filter.as_ref().map_or(String::new(), |sql| format!(" WHERE ({sql})"));
        format!("SELECT {} FROM {}{filter}", columns.join(", "), from(&self.alias, &self.declared, numbered))
    }
}

/// Registers a table and its lookups, and gives the columns that expressions may name.
///
/// # Errors
/// When a file cannot be read or a lookup does not have the column it is joined on.
pub async fn joined_schema(
    context: &SessionContext,
    alias: &str,
    folder: &Path,
    declared: &EventTable,
) -> anyhow::Result<DFSchema> {
    register(context, alias, &folder.join(&declared.table)).await?;
    for (index, join) in declared.join.iter().enumerate() {
        register(context, &format!("{alias}_{index}"), &folder.join(&join.table)).await?;
    }
    let all = context.sql(&format!("SELECT * FROM {}", from(alias, declared, false))).await?;
    Ok(all.schema().clone())
}

/// The table with its lookups as one relation, so that expressions name the shared columns without ambiguity.
fn from(alias: &str, declared: &EventTable, numbered: bool) -> String {
    let mut sql = match numbered {
        true => format!("(SELECT *, row_number() OVER () AS \"{ROW}\" FROM \"{alias}\") AS \"{alias}\""),
        false => format!("\"{alias}\""),
    };
    for (index, join) in declared.join.iter().enumerate() {
        sql += &format!(" LEFT JOIN \"{alias}_{index}\" USING ({})", ident(&join.on));
    }
    format!("(SELECT * FROM {sql}) AS \"{alias}\"")
}

/// Checks that a field can be read from an expression over a table's columns.
///
/// # Errors
/// When the expression names an unknown column or has a type that the field cannot be read from.
pub fn check_expression(
    context: &SessionContext,
    schema: &DFSchema,
    field: &str,
    sql: &str,
) -> anyhow::Result<()> {
    canonical(context, schema, field, sql).map(drop)
}

/// An expression cast to what the event's field is read from: times to milliseconds, exact decimals to text.
///
/// # Errors
/// When the expression names an unknown column or has a type that the field cannot be read from.
fn canonical(
    context: &SessionContext,
    schema: &DFSchema,
    field: &str,
    sql: &str,
) -> anyhow::Result<(String, Shape)> {
    let found = context.parse_sql_expr(sql, schema)?.get_type(schema)?;
    let cast = match field {
        "time" => time(sql, &found),
        "amount" | "discount" => Some(match found {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => (format!("({sql})"), Shape::Float),
            _ => (format!("({sql})"), Shape::Text),
        }),
        "quantity" => Some((format!("({sql})"), Shape::Float)),
        _ => Some((format!("({sql})"), Shape::Text)),
    };
    cast.ok_or_else(|| {
        anyhow!("a {found} cannot be read as a time; give a timestamp, a date, ISO text or milliseconds")
    })
}

fn time(sql: &str, found: &DataType) -> Option<(String, Shape)> {
    let ms = match found {
        DataType::Timestamp(TimeUnit::Second, _) => format!("CAST(({sql}) AS BIGINT) * 1000"),
        DataType::Timestamp(TimeUnit::Millisecond, _) => format!("CAST(({sql}) AS BIGINT)"),
        DataType::Timestamp(TimeUnit::Microsecond, _) => format!("CAST(({sql}) AS BIGINT) / 1000"),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => format!("CAST(({sql}) AS BIGINT) / 1000000"),
        DataType::Date32 => format!("CAST(CAST(({sql}) AS INT) AS BIGINT) * 86400000"),
        DataType::Date64 => format!("CAST(({sql}) AS BIGINT)"),
        found if found.is_integer() => format!("CAST(({sql}) AS BIGINT)"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            return Some((format!("({sql})"), Shape::Text));
        }
        DataType::Null => return Some((format!("({sql})"), Shape::Text)),
        _ => return None,
    };
    Some((ms, Shape::Integer))
}
