//! `tiercast check`: the mistakes in a project file, by line and column, the tables included.

use std::{fs, path::Path, path::PathBuf, process::ExitCode};

use anyhow::Context;
use datafusion::{
    common::{DFSchema, SchemaError},
    error::DataFusionError,
    prelude::SessionContext,
};
use indicatif::{HumanCount, ProgressBar};
use tiercast_core::Op;

use crate::{
    coverage::Coverage,
    locate::{Locator, Problem, nearest},
    progress,
    project::{EventTable, Project, count},
    table::{self, Events, OldTimes, Place, ReadOptions, ident, survey::Survey},
};

/// Explain the mistakes in a tiercast.toml by line and column.
///
/// First the file itself: unknown fields, dates, shares, features, and training targets that reach into a test. Then
/// the tables: whether the files are there and have the columns that expressions name. Then every row: which are not
/// valid events and why, whether the dates of [split] lie within the data, whether names that features mention occur.
/// Ends with 1 when something must be mended; warnings alone end with 0.
///
/// Example: tiercast check -p tiercast.toml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// Look at the columns of the tables, but do not read their rows.
    #[arg(long)]
    pub no_rows: bool,
}

/// Runs the command.
///
/// # Errors
/// When the file or a table cannot be read at all; mistakes are printed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(&args.project).with_context(|| {
        format!("cannot read {}; `tiercast init TABLE` writes one", args.project.display())
    })?;
    let bar = progress::spinner("rows read");
    let examined = examine(&text, &args.project, !args.no_rows, &bar)?;
    bar.finish_and_clear();
    let file = args.project.display().to_string();
    for problem in &examined.problems {
        say!("{}", problem.render(&file));
    }
    if let Some(survey) = &examined.survey {
        describe(survey);
    }
    let errors = examined.problems.iter().filter(|problem| !problem.warning).count();
    let warnings = examined.problems.len() - errors;
    say!("{file}: {}, {}", count(errors, "mistake"), count(warnings, "warning"));
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an examination found.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// Mistakes and warnings, in the order of the file.
    pub problems: Vec<Problem>,
    /// What is in the tables, when their rows were read.
    pub survey: Option<Survey>,
}

/// Checks the text of a project file that stands at `path`, then its tables, then, if asked, their rows.
///
/// # Errors
/// When a table breaks off while it is read.
pub fn examine(text: &str, path: &Path, rows: bool, progress: &ProgressBar) -> anyhow::Result<Examined> {
    let project = match Project::parse(text, path) {
        Ok(project) => project,
        Err(problems) => return Ok(Examined { problems, survey: None }),
    };
    let mut examiner = Examiner { locator: Locator::new(text), problems: Vec::new() };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let survey = runtime.block_on(async {
        examiner.tables(&project).await?;
        if !examiner.problems.is_empty() || !rows {
            return anyhow::Ok(None);
        }
        let events = match Events::open(&project, &ReadOptions::default()).await {
            Ok(events) => events,
            Err(error) => {
                let Some(old) = error.downcast_ref::<OldTimes>() else { return Err(error) };
                examiner.error(&format!("events.{}.columns.time", old.table), old.found(), OldTimes::HELP);
                return Ok(None);
            }
        };
        let survey = Survey::take(&events, &project.event_rules(), progress).await?;
        examiner.rows(&project, &survey);
        Ok(Some(survey))
    })?;
    examiner.problems.sort_by_key(|problem| (problem.line, problem.column));
    Ok(Examined { problems: examiner.problems, survey })
}

struct Examiner<'a> {
    locator: Locator<'a>,
    problems: Vec<Problem>,
}

impl Examiner<'_> {
    fn error(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.locator.problem(path, message).help(help));
    }

    fn warn(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.locator.problem(path, message).help(help).warning());
    }

    async fn tables(&mut self, project: &Project) -> anyhow::Result<()> {
        let context = table::session(&ReadOptions::default())?;
        for (index, declared) in project.events.iter().enumerate() {
            let at = format!("events.{index}");
            let alias = format!("t{index}");
            if self.files(&context, &alias, &at, &project.folder, declared).await {
                match table::joined_schema(&context, &format!("j{index}"), &project.folder, declared).await {
                    Ok((schema, _)) => self.expressions(&context, &at, &schema, declared),
                    Err(error) => self.error(&at, format!("{error:#}"), "check `join`"),
                }
            }
        }
        Ok(())
    }

    /// Registers a table and its lookups; whether all of them are there and can be joined.
    async fn files(
        &mut self,
        context: &SessionContext,
        alias: &str,
        at: &str,
        folder: &Path,
        declared: &EventTable,
    ) -> bool {
        let before = self.problems.len();
        self.file(context, alias, &format!("{at}.table"), folder, &declared.table).await;
        for (index, join) in declared.join.iter().enumerate() {
            let at = format!("{at}.join.{index}");
            let lookup = format!("{alias}_{index}");
            self.file(context, &lookup, &format!("{at}.table"), folder, &join.table).await;
            if self.problems.len() > before {
                continue;
            }
            for (name, file) in [(alias, &declared.table), (&lookup, &join.table)] {
                let Ok(frame) = context.table(name).await else { continue };
                let columns: Vec<_> =
                    frame.schema().fields().iter().map(|field| field.name().as_str()).collect();
                if !columns.contains(&join.on.as_str()) {
                    self.error(
                        &format!("{at}.on"),
                        format!("{file} has no column {:?}", join.on),
                        hint(&join.on, &columns),
                    );
                }
            }
            if self.problems.len() == before {
                self.unique(context, &lookup, &at, &join.on).await;
            }
        }
        self.problems.len() == before
    }

    async fn file(&mut self, context: &SessionContext, name: &str, at: &str, folder: &Path, file: &str) {
        if let Err(error) = table::register(context, name, &Place::beside(folder, file)).await {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let beside: Vec<String> = fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .filter(|name| name.ends_with(".parquet") || name.ends_with(".csv"))
                .collect();
            let help = match nearest(file, beside.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "paths are relative to the project file; .parquet and .csv can be read, and folders of them".into(),
            };
            self.error(at, format!("{error:#}"), help);
        }
    }

    async fn unique(&mut self, context: &SessionContext, lookup: &str, at: &str, on: &str) {
        let sql = format!("SELECT {0} FROM \"{lookup}\" GROUP BY {0} HAVING count(*) > 1 LIMIT 1", ident(on));
        let repeated = match context.sql(&sql).await {
            Ok(frame) => frame.count().await.unwrap_or_default(),
            Err(_) => 0,
        };
        if repeated > 0 {
            self.error(
                &format!("{at}.on"),
                format!("the lookup has several rows for some values of {on:?}, which would multiply events"),
                "join on a column that is unique in the lookup",
            );
        }
    }

    fn expressions(&mut self, context: &SessionContext, at: &str, schema: &DFSchema, declared: &EventTable) {
        let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        for (field, sql) in declared.columns.given() {
            if let Err(error) = table::check_expression(context, schema, field, sql) {
                let (message, help) = explain(&error, &columns);
                self.error(&format!("{at}.columns.{field}"), message, help);
            }
        }
        if let Some(filter) = &declared.filter
            && let Err(error) = context.parse_sql_expr(filter, schema)
        {
            let (message, help) = explain(&error.into(), &columns);
            self.error(&format!("{at}.where"), message, help);
        }
    }

    fn rows(&mut self, project: &Project, survey: &Survey) {
        for ((table, code), invalid) in &survey.invalid {
            let more = match invalid.rows {
                1 => String::new(),
                rows => format!(" ({} such rows)", HumanCount(rows)),
            };
            let file = invalid.file.as_ref().map_or(String::new(), |file| format!("{file}, "));
            self.error(
                &format!("events.{table}.columns.{}", field_of(code)),
                format!("{file}row {}: {code}: {}{more}", invalid.first, invalid.message),
                "mend the rows, leave them out with `where`, or pass --skip-invalid to leave them out everywhere",
            );
        }
        if !survey.kinds.contains_key("purchase") {
            self.error(
                "events",
                "no row is a purchase, and tiers are made of purchases",
                "check `kind` and `where`",
            );
        }
        if survey.unpriced > 0 {
            let at = self.place_of_amount(project);
            let message = format!("{} purchases have no amount and count as 0", HumanCount(survey.unpriced));
            self.warn(&at, message, "give `amount`, or leave the rows out with `where`");
        }
        if survey.busiest > u64::from(project.members.capacity) {
            self.warn(
                "members.capacity",
                format!(
                    "the busiest member has {} events; the oldest are forgotten",
                    HumanCount(survey.busiest)
                ),
                format!("capacity = {} would keep them all", survey.busiest.next_power_of_two().min(65_536)),
            );
        }
        self.dates(project, survey);
        self.features(project, survey);
    }

    /// The first table's amount, or its columns when it gives none.
    fn place_of_amount(&self, project: &Project) -> String {
        let given = project.events.first().is_some_and(|events| events.columns.amount.is_some());
        if given { "events.0.columns.amount".into() } else { "events.0.columns".into() }
    }

    fn dates(&mut self, project: &Project, survey: &Survey) {
        let Some((first, last)) = survey.span else { return };
        for (field, dates) in [("train", &project.split.train), ("test", &project.split.test)] {
            for (index, as_of) in dates.iter().enumerate() {
                let at = format!("split.{field}.{index}");
                match Coverage::of(*as_of, project.tiers.period, (first, last)) {
                    Coverage::Whole => {}
                    Coverage::NothingBefore => {
                        let help = format!("the first event is of {}", first.date());
                        self.error(&at, format!("nothing is known of anyone at {}", as_of.date()), help);
                    }
                    Coverage::NothingAfter => {
                        let help = format!("the last event is of {}", last.date());
                        self.error(&at, format!("nothing happens from {} on", as_of.date()), help);
                    }
                    Coverage::Cut => {
                        let end = project.tiers.period.around(*as_of).1.date();
                        self.warn(
                            &at,
                            format!("the target runs to {end}, but the last event is of {}", last.date()),
                            "targets that the table does not cover make members look poorer than they are",
                        );
                    }
                }
            }
        }
    }

    fn features(&mut self, project: &Project, survey: &Survey) {
        for (index, feature) in project.features.iter().enumerate() {
            if let (Op::Share, Some(value)) = (feature.op, &feature.value)
                && !survey.names.contains(value)
            {
                let near = nearest(value, survey.names.iter().map(String::as_str));
                let help = near
                    .map_or("names are compared exactly".into(), |near| format!("did you mean {near:?}?"));
                self.warn(
                    &format!("features.{index}.value"),
                    format!("no event has the name {value:?}"),
                    help,
                );
            }
            for (place, kind) in feature.events.iter().enumerate() {
                if kind != "*" && !survey.kinds.contains_key(kind) {
                    let seen: Vec<_> = survey.kinds.keys().map(String::as_str).collect();
                    self.warn(
                        &format!("features.{index}.events.{place}"),
                        format!("no event is of kind {kind:?}"),
                        format!("the tables have {}", seen.join(", ")),
                    );
                }
            }
        }
    }
}

/// The field that a code is usually about.
fn field_of(code: &str) -> &'static str {
    match code {
        "unknown_kind" => "kind",
        "invalid_amount" => "amount",
        "invalid_time" => "time",
        "invalid_quantity" => "quantity",
        "invalid_origin" => "ip",
        _ => "",
    }
}

/// An expression's mistake without the query engine's own words where it is a misspelt column.
fn explain(error: &anyhow::Error, columns: &[&str]) -> (String, String) {
    let mut found = error.downcast_ref::<DataFusionError>();
    while let Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) = found {
        found = Some(inner);
    }
    if let Some(DataFusionError::SchemaError(schema_error, _)) = found
        && let SchemaError::FieldNotFound { field, .. } = schema_error.as_ref()
    {
        return (format!("the table has no column {:?}", field.name), hint(&field.name, columns));
    }
    let words = error.to_string();
    (
        words.lines().next().unwrap_or_default().to_owned(),
        "write a column's name or an SQL expression over columns; text in single quotes".into(),
    )
}

fn hint(name: &str, columns: &[&str]) -> String {
    match nearest(name, columns.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? it has {}", columns.join(", ")),
        None => format!("it has {}", columns.join(", ")),
    }
}

fn describe(survey: &Survey) {
    let span =
        survey.span.map_or(String::new(), |(first, last)| format!(", {} to {}", first.date(), last.date()));
    say!("{} events of {} members{span}", HumanCount(survey.events), HumanCount(survey.members));
    for (kind, events) in &survey.kinds {
        say!("  {kind}: {}", HumanCount(*events));
    }
}

#[cfg(test)]
mod tests;
