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
        datatypes::Int64Type,
    },
    common::DFSchema,
    error::DataFusionError,
    execution::{memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
    functions_aggregate::expr_fn::{max, min},
    logical_expr::Expr,
    prelude::{DataFrame, SessionConfig, SessionContext, col},
};
use sha2::{Digest, Sha256};
use tiercast_core::Timestamp;

use crate::{
    engine::Engine,
    file_hash::FileHash,
    locate::nearest,
    project::{Columns, EventTable, Project},
};

pub mod columns;
pub mod diagnose;
mod old_times;
mod shape;
pub mod source;
pub mod stores;
pub mod survey;

pub use old_times::OldTimes;
use shape::{Shape, canonical};
pub use source::{Place, Source, SourceFile};
use stores::Stores;

/// The event's fields after `member`, in the order of the canonical columns.
pub const FIELDS: [&str; 17] = [
    "kind",
    "time",
    "id",
    "amount",
    "discount",
    "quantity",
    "item",
    "category",
    "channel",
    "order",
    "device",
    "card",
    "address",
    "ip",
    "latitude",
    "longitude",
    "device_members",
];

/// How many of [`FIELDS`], the last ones, say where an event came from; tables that tell none of them need not give them.
pub const ORIGINS: usize = 7;

/// The number of the row in its file, from 1, where it was asked for.
pub const ROW: &str = "__row";

/// How tables are read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Parallel partitions; by default the number of cores, and on a cluster [`CLUSTER_PARTITIONS`].
    pub partitions: Option<usize>,
    /// Memory for sorting and grouping, in bytes, beyond which data is spilled to disk; unlimited if absent. Of a cluster
    /// each executor has its own.
    pub memory: Option<usize>,
    /// Where queries run.
    pub engine: Engine,
}

/// Parts that a cluster's work is cut into by default: several for each core of a few machines.
pub const CLUSTER_PARTITIONS: usize = 16;

impl ReadOptions {
    fn partitions(&self) -> usize {
        self.partitions.unwrap_or_else(|| match self.engine {
            Engine::Embedded => std::thread::available_parallelism().map_or(2, usize::from),
            Engine::Ballista(_) => CLUSTER_PARTITIONS,
        })
    }
}

/// A query session that reads names as they are written and texts as plain strings.
///
/// # Errors
/// When the memory limit cannot be set up, or the build has no such engine.
pub fn session(options: &ReadOptions) -> anyhow::Result<SessionContext> {
    let config = settings(SessionConfig::new()).with_target_partitions(options.partitions());
    let mut runtime = RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(Stores::default()));
    if let Some(bytes) = options.memory {
        runtime = runtime.with_memory_pool(Arc::new(FairSpillPool::new(bytes)));
    }
    let runtime = Arc::new(runtime.build()?);
    match &options.engine {
        Engine::Embedded => Ok(SessionContext::new_with_config_rt(config, runtime)),
        #[cfg(feature = "cluster")]
        Engine::Ballista(url) => crate::cluster::session(url, config, runtime),
        #[cfg(not(feature = "cluster"))]
        Engine::Ballista(_) => bail!("this build knows no cluster"),
    }
}

/// What every engine's session is set to.
pub(crate) fn settings(config: SessionConfig) -> SessionConfig {
    let mut config = config.with_information_schema(false);
    let settings = config.options_mut();
    settings.sql_parser.enable_ident_normalization = false;
    settings.sql_parser.map_string_types_to_utf8view = false;
    settings.execution.parquet.schema_force_view_types = false;
    settings.execution.parquet.coerce_int96 = Some("ms".into());
    settings.execution.listing_table_ignore_subdirectory = false;
    config
}

/// Makes a table's files known to a session under a name.
///
/// # Errors
/// When there is no file, or one has another ending or cannot be read.
pub async fn register(context: &SessionContext, name: &str, place: &Place) -> anyhow::Result<Source> {
    let source = Source::find(context, place).await?;
    source.register(context, name).await?;
    Ok(source)
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
    /// Its files.
    pub source: Source,
    alias: String,
    declared: EventTable,
    expressions: Vec<(String, Shape)>,
}

/// All of a project's tables in one session.
pub struct Events {
    /// The session in which the tables are known.
    pub context: SessionContext,
    /// The tables, in the order of the project.
    pub tables: Vec<Table>,
    /// Every file of this machine that is read, lookups included.
    pub files: Vec<PathBuf>,
    /// Where the queries run.
    pub engine: Engine,
    sources: Vec<Source>,
    /// Where the tables are declared, for a look at them from this process.
    declared: (PathBuf, Vec<EventTable>),
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
        let (mut tables, mut files, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (index, one) in declared.iter().enumerate() {
            let named = || format!("table {} (run `tiercast check`)", one.table);
            let (table, sources) =
                Table::open(&context, format!("t{index}"), folder, one).await.with_context(named)?;
            if let Some(newest) = table.newest(&context).await?.filter(|ms| *ms < OldTimes::BEFORE_MS) {
                return Err(OldTimes { table: index, name: table.name, newest }.into());
            }
            tables.push(table);
            files.extend(sources.iter().flat_map(Source::paths).cloned());
            all.extend(sources);
        }
        Ok(Self {
            context,
            tables,
            files,
            sources: all,
            engine: options.engine.clone(),
            declared: (folder.to_owned(), declared.to_vec()),
        })
    }

    /// What all tables hold, lookups included, and how their rows become events, as a hash.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn hash(&self) -> anyhow::Result<String> {
        let mut all = Sha256::new().chain_update(format!("{:?}\n", self.declared.1));
        for source in &self.sources {
            let FileHash { bytes, sha256, .. } = source.hash()?;
            all.update(format!("{bytes} {sha256}\n"));
        }
        Ok(format!("{:x}", all.finalize()))
    }

    /// Leaves out of the tables all files but some, and tables of which no file is kept.
    ///
    /// # Errors
    /// When a file cannot be registered.
    pub(crate) async fn keep(&mut self, is_kept: &dyn Fn(&Table, &SourceFile) -> bool) -> anyhow::Result<()> {
        let mut kept_tables = Vec::new();
        for mut table in std::mem::take(&mut self.tables) {
            let all = std::mem::take(&mut table.source.files);
            let before = all.len();
            table.source.files = all.into_iter().filter(|file| is_kept(&table, file)).collect();
            if (1..before).contains(&table.source.files.len()) {
                table.narrow(&self.context).await?;
            }
            if !table.source.files.is_empty() {
                kept_tables.push(table);
            }
        }
        self.tables = kept_tables;
        Ok(())
    }

    /// The same tables, read by this process.
    pub(crate) async fn here(&self) -> anyhow::Result<Self> {
        let (folder, declared) = &self.declared;
        Self::open_declared(folder, declared, &ReadOptions::default()).await
    }

    /// Opens a table whose columns have the names of an event's fields.
    ///
    /// # Errors
    /// When the file cannot be read, lacks `member`, `kind` or `time`, or has a column that is nearly named like a field.
    pub async fn open_canonical(place: &Place, options: &ReadOptions) -> anyhow::Result<Self> {
        let context = session(&ReadOptions::default())?;
        register(&context, "t", place).await?;
        let schema = context.table("t").await?.schema().clone();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let ignored = unknown(&names).with_context(|| place.to_string())?;
        if !ignored.is_empty() {
            eprintln!("{place}: no field of an event, so not read: {}", ignored.join(", "));
        }
        let column = |name: &str| names.contains(&name).then(|| ident(name));
        let required = |name: &str| {
            column(name).with_context(|| {
                format!("{place} has no column `{name}`; map its columns with -p tiercast.toml")
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
            device: column("device"),
            card: column("card"),
            address: column("address"),
            ip: column("ip"),
            latitude: column("latitude"),
            longitude: column("longitude"),
            device_members: column("device_members"),
        };
        let table = place.absolute()?.to_string();
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

    /// `member` and those of [`FIELDS`] that say something of an event: where no table tells where events came from, all but
    /// [`ORIGINS`].
    pub fn told(&self) -> Vec<Expr> {
        let tells = self.shapes()[1 + FIELDS.len() - ORIGINS..].iter().any(|shape| *shape != Shape::Absent);
        let fields = &FIELDS[..FIELDS.len() - if tells { 0 } else { ORIGINS }];
        std::iter::once("member").chain(fields.iter().copied()).map(col).collect()
    }

    /// All events: `member` and [`FIELDS`], in no particular order.
    ///
    /// # Errors
    /// When the query cannot be planned.
    pub async fn frame(&self) -> anyhow::Result<DataFrame> {
        let parts: Vec<_> = self.tables.iter().map(|table| table.select_all(&self.shapes())).collect();
        Ok(self.context.sql(&parts.join(" UNION ALL ")).await?)
    }

    /// The events of one of a table's files, with their row numbers in [`ROW`], from 1, in the order of the file.
    ///
    /// # Errors
    /// When the query cannot be planned.
    pub async fn numbered(&self, table: &Table, file: &SourceFile) -> anyhow::Result<DataFrame> {
        // Parallel parts of a file come in any order, and their rows would be numbered in it.
        self.context.sql("SET datafusion.execution.target_partitions = 1").await?;
        let alias = format!("{}_file", table.alias);
        let rows = table.rows_of(&self.context, file, &alias).await?;
        let rows =
            format!("(SELECT *, row_number() OVER () AS \"{ROW}\" FROM ({rows})) AS \"{}\"", table.alias);
        Ok(self.context.sql(&table.select(&self.shapes(), &rows, true)).await?)
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

impl Table {
    async fn open(
        context: &SessionContext,
        alias: String,
        folder: &Path,
        declared: &EventTable,
    ) -> anyhow::Result<(Self, Vec<Source>)> {
        let (schema, sources) = joined_schema(context, &alias, folder, declared).await?;
        let mut expressions = Vec::new();
        for field in std::iter::once("member").chain(FIELDS) {
            let given = declared.columns.given().into_iter().find(|(name, _)| *name == field);
            expressions.push(match given {
                Some((_, sql)) => canonical(context, &schema, field, sql)
                    .with_context(|| format!("column `{field}`: {sql}"))?,
                None => ("NULL".into(), Shape::Absent),
            });
        }
        let source = sources.first().cloned().context("a table has files")?;
        let name = declared.table.clone();
        Ok((Self { name, schema, source, alias, declared: declared.clone(), expressions }, sources))
    }

    /// The largest time that is a number of milliseconds, if it is suspiciously small; none where times are ISO texts.
    async fn newest(&self, context: &SessionContext) -> anyhow::Result<Option<i64>> {
        let shapes: Vec<_> = self.expressions.iter().map(|(_, shape)| *shape).collect();
        let times =
            format!("SELECT TRY_CAST(\"time\" AS BIGINT) AS \"ms\" FROM ({})", self.select_all(&shapes));
        let first = match shapes[2] {
            // Where one text is no number, the others are dates too: no need to read them all.
            Shape::Text => format!("{times} WHERE \"time\" IS NOT NULL LIMIT 1"),
            // Nor where one number is large enough.
            _ => format!("SELECT \"ms\" FROM ({times}) WHERE \"ms\" >= {} LIMIT 1", OldTimes::BEFORE_MS),
        };
        // A row that cannot be read is told of by the pass that reads rows, with its number.
        let Some(found) = only_number(context, &first).await else { return Ok(None) };
        match (shapes[2], found) {
            (Shape::Text, None) => Ok(None),
            (_, Some(ms)) if ms >= OldTimes::BEFORE_MS => Ok(None),
            _ => Ok(only_number(context, &format!("SELECT max(\"ms\") FROM ({times})")).await.flatten()),
        }
    }

    /// A query for the rows of one file, with what its folders' names say of it.
    async fn rows_of(
        &self,
        context: &SessionContext,
        file: &SourceFile,
        alias: &str,
    ) -> anyhow::Result<String> {
        context.deregister_table(alias)?;
        self.source.only(file)?.register(context, alias).await?;
        let constant = |(name, value): &(String, String)| {
            format!(", '{}' AS {}", value.replace('\'', "''"), ident(name))
        };
        let constants: String = self.source.folders(file).iter().map(constant).collect();
        Ok(format!("SELECT *{constants} FROM \"{alias}\""))
    }

    /// Makes its name stand for the files that are left.
    async fn narrow(&self, context: &SessionContext) -> anyhow::Result<()> {
        let mut parts = Vec::new();
        for (index, file) in self.source.files.iter().enumerate() {
            parts.push(self.rows_of(context, file, &format!("{}_file{index}", self.alias)).await?);
        }
        let all = context.sql(&parts.join(" UNION ALL ")).await?;
        context.deregister_table(&self.alias)?;
        context.register_table(&self.alias, all.into_view())?;
        Ok(())
    }

    /// One of its files as messages name it.
    pub fn file_name(&self, file: &SourceFile) -> String {
        match self.source.is_single() {
            true => self.name.clone(),
            false => format!("{}/{}", self.name.trim_end_matches('/'), file.name),
        }
    }

    fn select_all(&self, shapes: &[Shape]) -> String {
        self.select(shapes, &format!("\"{}\"", self.alias), false)
    }

    fn select(&self, shapes: &[Shape], rows: &str, numbered: bool) -> String {
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
        format!("SELECT {} FROM {}{filter}", columns.join(", "), from(rows, &self.alias, &self.declared))
    }
}

/// The number that a query gives, if it gives one; none where it fails.
async fn only_number(context: &SessionContext, sql: &str) -> Option<Option<i64>> {
    let batches = context.sql(sql).await.ok()?.collect().await.ok()?;
    let number = |batch: &RecordBatch| {
        let numbers = batch.column(0).as_primitive_opt::<Int64Type>()?;
        (!numbers.is_empty() && numbers.is_valid(0)).then(|| numbers.value(0))
    };
    Some(batches.iter().find_map(number))
}

/// Registers a table and its lookups, and gives the columns that expressions may name, and the files: the table's first.
///
/// # Errors
/// When a file cannot be read or a lookup does not have the column it is joined on.
pub async fn joined_schema(
    context: &SessionContext,
    alias: &str,
    folder: &Path,
    declared: &EventTable,
) -> anyhow::Result<(DFSchema, Vec<Source>)> {
    let mut sources = vec![register(context, alias, &Place::beside(folder, &declared.table)).await?];
    for (index, join) in declared.join.iter().enumerate() {
        let place = Place::beside(folder, &join.table);
        sources.push(register(context, &format!("{alias}_{index}"), &place).await?);
    }
    let all = format!("SELECT * FROM {}", from(&format!("\"{alias}\""), alias, declared));
    Ok((context.sql(&all).await?.schema().clone(), sources))
}

/// Rows with their lookups as one relation, so that expressions name the shared columns without ambiguity.
fn from(rows: &str, alias: &str, declared: &EventTable) -> String {
    let mut sql = rows.to_owned();
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
