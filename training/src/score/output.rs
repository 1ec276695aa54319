//! A file of scores: Parquet, CSV, JSON lines or a JSON array.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, bail};
use datafusion::{
    arrow::array::{AsArray, RecordBatch, StringArray},
    parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties},
};

use super::{
    assess::{Form, Scores},
    layout::quoted,
};
use crate::whole::Whole;

/// Rows of a row group: what a file that is being written holds in memory.
const GROUP_ROWS: usize = 131_072;

/// A file being written, beside the place where it appears when it is whole.
pub(super) struct Output {
    sink: Sink,
    whole: Whole,
}

enum Sink {
    Parquet(Box<ArrowWriter<File>>),
    Csv(BufWriter<File>),
    Json { file: BufWriter<File>, array: bool, rows: u64 },
}

/// The form of rows that a file of this name holds.
///
/// # Errors
/// When the ending is none of the four.
pub(super) fn form_of(path: &Path) -> anyhow::Result<Form> {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "parquet" => Ok(Form::Columns),
        "csv" => Ok(Form::Csv),
        "json" | "ndjson" | "jsonl" => Ok(Form::Json),
        _ => bail!(
            "{} should end in .parquet, .csv, .ndjson or .json, or be a folder, with a slash at its end",
            path.display()
        ),
    }
}

impl Output {
    pub(super) fn create(path: &Path, scores: &Scores) -> anyhow::Result<Self> {
        let form = form_of(path)?;
        let (whole, file) = Whole::create(path)?;
        let sink = match form {
            Form::Columns => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                Sink::Parquet(Box::new(ArrowWriter::try_new(
                    file,
                    scores.layout().schema(),
                    Some(properties),
                )?))
            }
            Form::Csv => {
                let mut file = BufWriter::new(file);
                writeln!(file, "{}", scores.layout().header())?;
                Sink::Csv(file)
            }
            Form::Json => {
                let array = path.extension().is_some_and(|extension| extension == "json");
                Sink::Json { file: BufWriter::new(file), array, rows: 0 }
            }
        };
        Ok(Self { sink, whole })
    }

    /// Writes members and what [`Scores`] made of them.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let lines = || Ok::<_, anyhow::Error>((text(batch, 0)?, text(batch, 1)?));
        match &mut self.sink {
            Sink::Parquet(writer) => writer.write(&table(batch)?)?,
            Sink::Csv(file) => {
                let (members, lines) = lines()?;
                for (member, line) in members.iter().flatten().zip(lines.iter().flatten()) {
                    writeln!(file, "{},{line}", quoted(member))?;
                }
            }
            Sink::Json { file, array, rows: written } => {
                let (members, lines) = lines()?;
                for (member, line) in members.iter().flatten().zip(lines.iter().flatten()) {
                    let before = match (*array, *written) {
                        (false, _) => "",
                        (true, 0) => "[\n",
                        (true, _) => ",\n",
                    };
                    let rest = line.strip_prefix('{').context("a score is an object")?;
                    write!(file, "{before}{{\"member\":{},{rest}", serde_json::to_string(member)?)?;
                    if !*array {
                        file.write_all(b"\n")?;
                    }
                    *written += 1;
                }
            }
        }
        Ok(())
    }

    pub(super) fn close(self) -> anyhow::Result<()> {
        match self.sink {
            Sink::Parquet(writer) => drop(writer.close()?),
            Sink::Csv(mut file) => file.flush()?,
            Sink::Json { mut file, array, rows } => {
                if array {
                    file.write_all(if rows == 0 { b"[]\n" } else { b"\n]\n" })?;
                }
                file.flush()?;
            }
        }
        self.whole.appear()
    }
}

fn text(batch: &RecordBatch, column: usize) -> anyhow::Result<&StringArray> {
    batch.column(column).as_string_opt().context("a text was expected")
}

/// Members and columns beside each other.
pub(super) fn table(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let made = batch.column(1).as_struct_opt().context("columns were expected")?;
    let member = batch.schema().field(0).clone().with_nullable(false);
    let fields = std::iter::once(std::sync::Arc::new(member)).chain(made.fields().iter().cloned());
    let schema = datafusion::arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    let columns = std::iter::once(batch.column(0).clone()).chain(made.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(std::sync::Arc::new(schema), columns)?)
}
