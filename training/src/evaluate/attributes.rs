//! What a shop knows of its members beyond events, one row a member: columns by which the report slices its figures.
//!
//! It is never an input of a model, so that age or district can be looked at without being learnt from.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, bail};
use datafusion::{
    arrow::{
        array::{Array, AsArray, RecordBatch, StringArray},
        datatypes::{DataType, FieldRef, Float64Type, Schema},
    },
    common::DFSchema,
    prelude::{CsvReadOptions, SessionContext},
};
use serde::Serialize;

use super::slices::Label;
use crate::{
    file_hash::FileHash,
    locate::nearest,
    models::cuts::quantile,
    table::{self, Place, ReadOptions, ident},
    train::provenance::quoted,
};

/// Numbers of more values than this become four groups of about equal size.
const MOST_NUMBERS: usize = 12;
/// Columns at most.
const MOST_COLUMNS: usize = 12;

/// Where the columns come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The table.
    pub file: FileHash,
    /// What `tiercast evaluate` is given for it, to be given again in the table's folder.
    pub options: String,
}

/// Columns of a table with one row a member.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// The table; none where none was given.
    pub source: Option<Source>,
    /// The columns' names.
    pub columns: Vec<String>,
    /// Each member's label in each column; none where the table has no value.
    members: BTreeMap<String, Vec<Option<Label>>>,
}

impl Attributes {
    /// Reads a .parquet or .csv table. Without `columns`, all but the member's are taken.
    ///
    /// # Errors
    /// When the table cannot be read, lacks a column, has two rows of one member, or too many columns.
    pub fn read(path: &Path, member: &str, columns: &[String]) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
        let table = runtime.block_on(Raw::read(path, member, columns))?;
        let labels: Vec<Vec<Option<Label>>> = table.columns.iter().map(|column| column.labels()).collect();
        let mut members = BTreeMap::new();
        for (row, name) in table.members.iter().enumerate() {
            let of_row: Vec<_> = labels.iter().map(|column| column[row].clone()).collect();
            if members.insert(name.clone(), of_row).is_some() {
                bail!("{} has two rows of member {name:?}; give one row a member", path.display());
            }
        }
        let mut read_as = BTreeMap::<String, Vec<&String>>::new();
        for (name, number) in table.members.iter().zip(table.numbers) {
            read_as.entry(number).or_default().push(name);
        }
        for (number, names) in read_as {
            if let ([name], false) = (names.as_slice(), members.contains_key(&number)) {
                let labels = members[*name].clone();
                members.insert(number, labels);
            }
        }
        let columns: Vec<String> = table.columns.into_iter().map(|column| column.name).collect();
        let file = FileHash::of(path)?;
        let options = format!(
            "--slices {} --member {} --by {}",
            quoted(&file.name),
            quoted(member),
            quoted(&columns.join(","))
        );
        Ok(Self { source: Some(Source { file, options }), columns, members })
    }

    /// The label of a member in a column, by its place.
    pub fn label(&self, member: &str, column: usize) -> Label {
        match self.members.get(member).map(|labels| &labels[column]) {
            Some(Some(label)) => label.clone(),
            Some(None) => (u32::MAX - 1, "no value".into()),
            None => (u32::MAX, "not in the table".into()),
        }
    }

    /// Whether the table names any of these members.
    pub fn knows_any<'m>(&self, members: impl IntoIterator<Item = &'m String>) -> bool {
        members.into_iter().any(|member| self.members.contains_key(member))
    }
}

/// A table as it is.
struct Raw {
    /// As the file writes them.
    members: Vec<String>,
    /// As a table of events has them where a CSV file's column is all numbers: 7 for 007.
    numbers: Vec<String>,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    texts: Vec<Option<String>>,
    /// The same as numbers, for a column of numbers.
    numbers: Option<Vec<f64>>,
}

impl Raw {
    async fn read(path: &Path, member: &str, asked: &[String]) -> anyhow::Result<Self> {
        let context = table::session(&ReadOptions::default())?;
        table::register(&context, "t", &Place::named(path)?).await?;
        let schema = context.table("t").await?.schema().clone();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let columns = chosen(path, &names, member, asked)?;
        let kind = |name: &str| schema.fields().iter().find(|f| f.name() == name).map(|f| f.data_type());
        let is_number = |name: &str| kind(name).is_some_and(DataType::is_numeric);
        if path.extension().is_some_and(|extension| extension == "csv") {
            register_text(&context, &schema, member, path).await?;
        }
        let written = ident(member);
        let as_read = match kind(member).filter(|kind| kind.is_numeric()) {
            Some(kind) => format!("arrow_cast({written}, '{kind}')"),
            None => written.clone(),
        };
        let named = columns.iter().map(|name| ident(name));
        let texts = [written, as_read].into_iter().chain(named).map(|sql| sql + " AS VARCHAR");
        let numbers = columns.iter().filter(|name| is_number(name)).map(|name| ident(name) + " AS DOUBLE");
        let fields: Vec<String> =
            texts.chain(numbers).enumerate().map(|(at, cast)| format!("CAST({cast}) AS c{at}")).collect();
        let frame = context.sql(&format!("SELECT {} FROM t", fields.join(", "))).await?;
        let batches = frame.collect().await.map_err(|error| table::plain(&error))?;
        let column = |name: &str| Column {
            name: name.to_owned(),
            texts: Vec::new(),
            numbers: is_number(name).then(Vec::new),
        };
        let mut raw = Self {
            members: Vec::new(),
            numbers: Vec::new(),
            columns: columns.iter().map(|name| column(name)).collect(),
        };
        batches.iter().try_for_each(|batch| raw.extend(batch))?;
        Ok(raw)
    }

    fn extend(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let text = |at: usize| -> anyhow::Result<&StringArray> {
            batch.column(at).as_string_opt().context("the query gave no text")
        };
        let (members, as_read) = (text(0)?, text(1)?);
        let known: Vec<usize> = (0..batch.num_rows()).filter(|row| members.is_valid(*row)).collect();
        self.members.extend(known.iter().map(|row| members.value(*row).to_owned()));
        self.numbers.extend(known.iter().map(|row| as_read.value(*row).to_owned()));
        let mut numbers = self.columns.len() + 2;
        for (at, column) in self.columns.iter_mut().enumerate() {
            let texts = text(at + 2)?;
            let value = |row: &usize| texts.is_valid(*row).then(|| texts.value(*row).to_owned());
            column.texts.extend(known.iter().map(value));
            if let Some(all) = &mut column.numbers {
                let found = batch.column(numbers).as_primitive_opt::<Float64Type>();
                let found = found.context("the query gave no number")?;
                all.extend(
                    known.iter().map(|row| if found.is_valid(*row) { found.value(*row) } else { f64::NAN }),
                );
                numbers += 1;
            }
        }
        Ok(())
    }
}

/// Registers a CSV file again with the members as they are written, since "007" is another member than "7".
async fn register_text(
    context: &SessionContext,
    schema: &DFSchema,
    member: &str,
    path: &Path,
) -> anyhow::Result<()> {
    let as_text = |field: &FieldRef| match field.name() == member {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        false => Arc::clone(field),
    };
    let schema = Schema::new(schema.fields().iter().map(as_text).collect::<Vec<_>>());
    context.deregister_table("t")?;
    let text = path.to_str().context("the path is not readable")?;
    context.register_csv("t", text, CsvReadOptions::new().schema(&schema)).await?;
    Ok(())
}

/// The columns to slice by.
fn chosen<'n>(
    path: &Path,
    names: &[&'n str],
    member: &str,
    asked: &'n [String],
) -> anyhow::Result<Vec<&'n str>> {
    let missing = |name: &str| {
        let near = nearest(name, names.iter().copied());
        let hint = near
            .map_or_else(|| format!("it has {}", names.join(", ")), |near| format!("did you mean {near}?"));
        anyhow::anyhow!("{} has no column {name:?}; {hint}", path.display())
    };
    if !names.contains(&member) {
        return Err(missing(member).context("name the column of members with --member"));
    }
    if let Some(unknown) = asked.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(missing(unknown));
    }
    let mut columns: Vec<&str> = asked.iter().map(String::as_str).collect();
    if columns.is_empty() {
        columns = names.iter().copied().filter(|name| *name != member).collect();
    }
    match columns.len() {
        0 => bail!("{} has no column but the members'", path.display()),
        1..=MOST_COLUMNS => Ok(columns),
        n => bail!("{} has {n} columns; choose at most {MOST_COLUMNS} with --by", path.display()),
    }
}

impl Column {
    /// Each row's label.
    fn labels(&self) -> Vec<Option<Label>> {
        if let Some(labels) = self.numbers.as_deref().and_then(grouped) {
            return labels;
        }
        let numbers = self.numbers.iter().flatten().copied().chain(std::iter::repeat(f64::NAN));
        let distinct: BTreeMap<&String, f64> =
            self.texts.iter().zip(numbers).filter_map(|(text, x)| Some((text.as_ref()?, x))).collect();
        let mut values: Vec<(&String, f64)> = distinct.into_iter().collect();
        let in_words = |value: &String| (first_number(value), !is_upper_bound(value));
        values.sort_by(|(a, x), (b, y)| x.total_cmp(y).then_with(|| in_words(a).cmp(&in_words(b))));
        let place: BTreeMap<&String, u32> = values.into_iter().map(|(value, _)| value).zip(0..).collect();
        let label = |value: &Option<String>| value.as_ref().map(|value| (place[value], value.clone()));
        self.texts.iter().map(label).collect()
    }
}

/// Four groups of numbers, named by their least and their greatest; none where there are few enough to stand alone.
fn grouped(numbers: &[f64]) -> Option<Vec<Option<Label>>> {
    let mut known: Vec<f64> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
    known.sort_unstable_by(f64::total_cmp);
    let mut distinct = known.clone();
    distinct.dedup();
    if distinct.len() <= MOST_NUMBERS {
        return None;
    }
    let cuts = [0.25, 0.5, 0.75].map(|share| quantile(&known, share));
    let group = |x: f64| cuts.iter().filter(|cut| **cut < x).count();
    let name = |at: usize| {
        let mut inside = distinct.iter().filter(|x| group(**x) == at);
        let low = inside.next().copied().unwrap_or_default();
        format!("{low} to {}", inside.next_back().copied().unwrap_or(low))
    };
    let names: Vec<String> = (0..=cuts.len()).map(name).collect();
    let label = |x: &f64| (!x.is_nan()).then(|| (group(*x) as u32, names[group(*x)].clone()));
    Some(numbers.iter().map(label).collect())
}

/// The first whole number in a text, so that "9-17" comes before "18-24"; texts without one come last.
fn first_number(text: &str) -> u64 {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(u64::MAX)
}

/// Whether a text says "up to its number", so that "under 15" comes before "15-24".
fn is_upper_bound(text: &str) -> bool {
    let text = text.to_lowercase();
    ["under", "below", "less", "up to", "<"].iter().any(|word| text.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, member: &str, columns: &[&str]) -> anyhow::Result<Attributes> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("members.csv");
        std::fs::write(&path, text).unwrap();
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        Attributes::read(&path, member, &columns)
    }

    const TABLE: &str = "id,Age,city\n1,18-24,Rome\n2,9-17,\n3,unknown,Oslo\n";

    #[test]
    fn values_stand_in_the_order_of_their_numbers() {
        let found = read(TABLE, "id", &[]).unwrap();
        assert_eq!(found.columns, ["Age", "city"]);
        assert_eq!(found.source.as_ref().unwrap().options, "--slices members.csv --member id --by Age,city");
        let age = |member: &str| found.label(member, 0);
        assert!(age("2") < age("1") && age("1") < age("3"));
        assert_eq!(age("1").1, "18-24");
        let income = read("id,income\n1,15-24K\n2,Under 15K\n3,250K+\n", "id", &[]).unwrap();
        assert_eq!(["2", "1", "3"].map(|member| income.label(member, 0).0), [0, 1, 2]);
        assert_eq!((found.label("2", 1).1, age("4").1), ("no value".into(), "not in the table".into()));
        assert!(found.knows_any(&["7".into(), "3".into()]) && !found.knows_any(&["7".into()]));
    }

    #[test]
    fn many_numbers_become_quarters() {
        let rows: String = (1..=20).map(|at| format!("m{at},{at}\n")).collect();
        let found = read(&format!("member,age\n{rows}m21,\n"), "member", &["age"]).unwrap();
        // numpy 2.4.6: np.quantile(np.arange(1, 21), [.25, .5, .75]) = 5.75, 10.5, 15.25
        let names = ["m1", "m5", "m6", "m15", "m16", "m21"].map(|member| found.label(member, 0).1);
        assert_eq!(names, ["1 to 5", "1 to 5", "6 to 10", "11 to 15", "16 to 20", "no value"]);
        let few = read("member,age\na,3\nb,12\n", "member", &[]).unwrap();
        assert_eq!((few.label("a", 0), few.label("b", 0)), ((0, "3".into()), (1, "12".into())));
    }

    #[test]
    fn members_are_who_the_file_says() {
        let found = read("id,x\n007,a\n07,b\n12,c\n0013,d\n", "id", &[]).unwrap();
        let label = |member: &str| found.label(member, 0).1;
        assert_eq!(["007", "07", "12", "0013"].map(label), ["a", "b", "c", "d"]);
        // A table of events whose members are all numbers has 13 for 0013; whom it means by 7 nobody can tell.
        assert_eq!(["13", "7"].map(label), ["d", "not in the table"]);
        let found = read("id,x\n007,a\n7,b\n", "id", &[]).unwrap();
        assert_eq!(["007", "7"].map(|member| found.label(member, 0).1), ["a", "b"]);
    }

    #[test]
    fn few_numbers_stand_in_their_order() {
        let found = read("id,x\na,3\nb,-5\nc,-12\nd,0\n", "id", &[]).unwrap();
        assert_eq!(["c", "b", "d", "a"].map(|member| found.label(member, 0).0), [0, 1, 2, 3]);
        let found = read("id,x\na,0.5\nb,-0.25\nc,0.125\n", "id", &[]).unwrap();
        assert_eq!(["b", "c", "a"].map(|member| found.label(member, 0).0), [0, 1, 2]);
    }

    #[test]
    fn mistakes_say_what_to_do() {
        let says = |text: &str, member: &str, columns: &[&str], words: &str| {
            let error = format!("{:#}", read(text, member, columns).unwrap_err());
            assert!(error.contains(words), "{error}");
        };
        says(TABLE, "member", &[], "--member");
        says(TABLE, "id", &["age"], "did you mean Age?");
        says("id,x\n1,2\n1,3\n", "id", &[], "two rows of member \"1\"");
        says("id\n1\n", "id", &[], "no column but");
        let wide: String = (0..13).map(|at| format!(",c{at}")).collect();
        says(&format!("id{wide}\n1{wide}\n"), "id", &[], "--by");
    }
}
