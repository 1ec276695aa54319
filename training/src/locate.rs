//! Where something stands in a project file, and how a mistake there is shown.

use std::{fmt, ops::Range};

use toml::de::{DeTable, DeValue};

/// A mistake in a project file: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The source line.
    pub source: String,
    /// Whether the file can be used in spite of it.
    pub warning: bool,
}

impl Problem {
    /// A mistake at a byte range of `text`.
    pub fn at(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
            help: None,
            source: text[line_start..].lines().next().unwrap_or_default().to_owned(),
            warning: false,
        }
    }

    /// Adds what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Makes it a warning: the file can be used in spite of it.
    pub fn warning(mut self) -> Self {
        self.warning = true;
        self
    }

    /// The mistake with its source line and a caret, headed by the file's name.
    pub fn render(&self, file: &str) -> String {
        let gutter = self.line.to_string();
        let pad = " ".repeat(gutter.len());
        let indent = " ".repeat(self.column - 1);
        let mut text = format!(
            "{file}:{}:{}: {}{}\n {gutter} | {}\n {pad} | {indent}^",
            self.line,
            self.column,
            if self.warning { "warning: " } else { "" },
            self.message,
            self.source
        );
        if let Some(help) = &self.help {
            text += &format!("\n {pad} = help: {help}");
        }
        text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// Finds the byte range of a value by its path.
#[derive(Debug)]
pub struct Locator<'a> {
    text: &'a str,
    root: Option<toml::Spanned<DeTable<'a>>>,
}

impl<'a> Locator<'a> {
    /// Indexes a TOML document; a broken one locates everything at its start.
    pub fn new(text: &'a str) -> Self {
        Self { text, root: DeTable::parse(text).ok() }
    }

    /// A mistake at the value named by a dotted path such as `split.train.0`, or at the deepest ancestor that exists.
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem::at(self.text, self.span(path), message)
    }

    fn span(&self, path: &str) -> Range<usize> {
        let Some(root) = &self.root else { return 0..0 };
        let mut segments = path.split('.');
        let Some((key, first)) = segments.next().and_then(|name| root.get_ref().get_key_value(name)) else {
            return 0..0;
        };
        let (mut span, mut value) = (key.span(), first.get_ref());
        for segment in segments {
            let Some((inner_span, inner)) = step(value, segment) else { break };
            (span, value) = (inner_span, inner);
        }
        span
    }
}

fn step<'v, 'a>(value: &'v DeValue<'a>, segment: &str) -> Option<(Range<usize>, &'v DeValue<'a>)> {
    let inner = match segment.parse::<usize>() {
        Ok(index) => value.as_array()?.get(index)?,
        Err(_) => value.as_table()?.get(segment)?,
    };
    Some((inner.span(), inner.get_ref()))
}

/// The candidate nearest to `word` by edit distance, when one is near enough to be what was meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let near = |candidate: &str| distance(&word.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (near(candidate), candidate))
        .filter(|(d, candidate)| *d <= 1 + candidate.len().min(word.len()) / 3)
        .min_by_key(|(d, _)| *d)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance over bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_values_inside_arrays_of_tables() {
        let text = "[[events]]\ntable = \"a\"\n[[events]]\ntable = \"b\"\ncolumns = { member = \"m\" }\n";
        let locator = Locator::new(text);
        let at = |path| (locator.problem(path, "").line, locator.problem(path, "").column);
        assert_eq!(at("events.1.table"), (4, 9));
        assert_eq!(at("events.1.columns.member"), (5, 22));
        assert_eq!(at("events.1.columns.absent"), (5, 11));
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(nearest("houshold_id", ["household_id", "store_id"]), Some("household_id"));
        assert_eq!(nearest("zzz", ["household_id", "store_id"]), None);
    }

    #[test]
    fn shows_the_line_and_a_caret() {
        let problem = Problem::at("a = 1\nbb = 2\n", 11..12, "wrong").help("write 3");
        assert_eq!(
            problem.render("f.toml"),
            "f.toml:2:6: wrong\n 2 | bb = 2\n   |      ^\n   = help: write 3"
        );
    }
}
