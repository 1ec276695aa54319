//! The text of a proposed project file.

use std::fmt::Write;

use tiercast_core::{Currency, DAY_MS, Period, Timestamp};

use super::look::{Found, Seen};

/// Writes the project file.
pub(super) fn compose(found: &Found, currency: &Currency) -> String {
    let calendar = Calendar::choose(found.first, found.last);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_head(&mut text, found, currency);
    for seen in &found.tables {
        let _ = write_events(&mut text, seen);
    }
    let _ = write_plan(&mut text, found, &calendar);
    let _ = write_features(&mut text, found, &calendar);
    text
}

/// The share of quiet members from which they get a tier of their own: the largest tier of the pyramid.
const MANY_QUIET: f64 = 0.4;

/// The period of the tiers and the dates that the data allow.
struct Calendar {
    period: Period,
    train: Vec<Timestamp>,
    test: Vec<Timestamp>,
    /// Days of a period, about.
    days: i64,
}

/// Periods that have to be there before one is long enough: history, two to train on, one to test on.
const ENOUGH: usize = 4;
/// As-of dates to train on, at most.
const MOST_TRAINED: usize = 8;

impl Calendar {
    fn choose(first: Timestamp, last: Timestamp) -> Self {
        let candidates = [(Period::Quarter, 91), (Period::Month, 30)];
        let fits = |(period, days): (Period, i64)| {
            let starts = starts(period, first, last);
            (starts.len() + 1 >= ENOUGH).then(|| Self::of(period, days, starts))
        };
        candidates.into_iter().find_map(fits).unwrap_or_else(|| Self::thirds(first, last))
    }

    fn of(period: Period, days: i64, mut starts: Vec<Timestamp>) -> Self {
        let test = starts.pop().into_iter().collect();
        let train = starts.split_off(starts.len().saturating_sub(MOST_TRAINED));
        Self { period, train, test, days }
    }

    /// A third of the span, however short it is.
    fn thirds(first: Timestamp, last: Timestamp) -> Self {
        let days = ((last.day() + 1 - first.day()) / 3).clamp(1, i64::from(u16::MAX));
        let anchor = Timestamp::from_ms(first.day() * DAY_MS).unwrap_or(first);
        let period = Period::Days { length: days as u16, anchor };
        let at = |third: i64| Timestamp::from_ms(anchor.ms() + third * days * DAY_MS).unwrap_or(last);
        Self { period, train: vec![at(1)], test: vec![at(2)], days }
    }
}

/// As-of dates with a whole period before them and a whole target after them.
fn starts(period: Period, first: Timestamp, last: Timestamp) -> Vec<Timestamp> {
    let slack = 5 * DAY_MS;
    let (mut start, mut end) = period.around(first);
    let mut whole = first.ms() - start.ms() <= slack;
    let mut starts = Vec::new();
    while end.ms() <= last.ms() + slack {
        (start, end) = period.around(end);
        if whole && end.ms() <= last.ms() + slack {
            starts.push(start);
        }
        whole = true;
    }
    starts
}

fn write_head(text: &mut String, found: &Found, currency: &Currency) -> std::fmt::Result {
    writeln!(
        text,
        "# Proposed by `tiercast init` from {} to {}. Read it, change it, then run `tiercast check`.\n\n\
         [project]\nname = \"my-shop\"\nseed = 7                  # decides folds, initial weights and samples\n\n\
         [currency]\ncode = {}\nexponent = {}              # decimals of the minor unit\n",
        found.first.date(),
        found.last.date(),
        quoted(&currency.code),
        currency.exponent
    )
}

fn write_events(text: &mut String, seen: &Seen) -> std::fmt::Result {
    let declared = &seen.declared;
    writeln!(
        text,
        "# A table, and SQL expressions that give an event's fields; literals stand in single quotes."
    )?;
    for note in &seen.notes {
        writeln!(text, "# Note: {note}.")?;
    }
    writeln!(text, "[[events]]\ntable = {}", quoted(&declared.table))?;
    let joins: Vec<_> = declared
        .join
        .iter()
        .map(|join| format!("{{ table = {}, on = {} }}", quoted(&join.table), quoted(&join.on)))
        .collect();
    if !joins.is_empty() {
        writeln!(text, "join = [{}]", joins.join(", "))?;
    }
    writeln!(text, "# where = \"…\"             # rows to keep\n\n[events.columns]")?;
    for (field, sql) in declared.columns.given() {
        writeln!(text, "{field} = {}", quoted(sql))?;
    }
    writeln!(text)
}

fn write_plan(text: &mut String, found: &Found, calendar: &Calendar) -> std::fmt::Result {
    let capacity = found.busiest.next_power_of_two().clamp(1024, 65_536);
    let kinds: Vec<_> = found.custom.iter().map(|kind| quoted(kind)).collect();
    let period = match calendar.period {
        Period::Days { length, anchor } => {
            format!("{{ days = {{ length = {length}, anchor = \"{}\" }} }}", anchor.date())
        }
        Period::Month => "\"month\"".into(),
        _ => "\"quarter\"".into(),
    };
    let cut = match found.quiet > MANY_QUIET {
        true => {
            "names = [\"Lapsed\", \"Bronze\", \"Silver\", \"Gold\", \"Platinum\"]   # lowest first\n\
             zero_tier = true          # many members buy nothing for long: the first tier is theirs\n\
             shares = [0.40, 0.30, 0.20, 0.10]   # of those who spend in the next period"
        }
        false => {
            "names = [\"Basic\", \"Bronze\", \"Silver\", \"Gold\", \"Platinum\"]   # lowest first\n\
             shares = [0.40, 0.25, 0.20, 0.10, 0.05]   # of members by spend in the next period\n\
             # zero_tier = true        # the first tier spends nothing; shares then cut the others"
        }
    };
    let (step, of_step) = sequence(found);
    let dates = |dates: &[Timestamp]| {
        dates.iter().map(|date| format!("\"{}\"", date.date())).collect::<Vec<_>>().join(", ")
    };
    writeln!(
        text,
        "[members]\ncapacity = {capacity}           # events kept per member, here and in the browser; the busiest has {}\n\
         custom_kinds = [{}]         # kinds of events beside the built-in ones\n\n\
         [tiers]\n{cut}\n\
         period = {period}         # month, quarter, half, year, or {{ days = {{ length = 28, anchor = \"2024-01-01\" }} }}\n\
         # thresholds = [\"0\", \"50\", \"150\", \"400\", \"1000\"]   # the shop's own, instead of shares\n\n\
         [split]\n# As-of dates: features know what was before, the target is the period that starts there.\n\
         train = [{}]\ntest = [{}]\n\
         # active_within = \"{}d\"   # only members with a purchase this long before\n\
         folds = 5\n\n\
         # What the models over a sequence (cnn, gru, transformer) read; profiles are made of it.\n\
         [sequence]\neach = {}            # order, day or event: what is one step\n\
         last = 24                 # steps, the latest ones\nof = [{}]\n\n\
         [train]\ndecode = \"median\"         # argmax for accuracy, median for absolute error, expected for squared error, ranks for kappa\n\
         calibrate = true          # probabilities are corrected on held-out members, where that helps\n\
         models = [\"same-tier\", \"ridge\", \"logistic\", \"ordinal\", \"hurdle\", \"dnn\", \"boosting\", \"gru\", \"blend\"]\n",
        found.busiest,
        kinds.join(", "),
        dates(&calendar.train),
        dates(&calendar.test),
        calendar.days,
        quoted(step),
        of_step.iter().map(|of| quoted(of)).collect::<Vec<_>>().join(", "),
    )
}

/// What is one step of a member's sequence, and what the tables tell of it.
fn sequence(found: &Found) -> (&'static str, Vec<&'static str>) {
    let has = |field: &str| {
        found.tables.iter().any(|seen| seen.declared.columns.given().iter().any(|(name, _)| *name == field))
    };
    let optional = ["amount", "discount", "category"].into_iter().filter(|field| has(field));
    let of = ["day"].into_iter().chain(optional).chain(["count"]).collect();
    (if has("order") { "order" } else { "day" }, of)
}

/// Declares features one after the other.
struct Features<'t> {
    text: &'t mut String,
}

impl Features<'_> {
    fn heading(&mut self, words: &str) -> std::fmt::Result {
        writeln!(self.text, "# --- {words} ---\n")
    }

    fn add(&mut self, name: &str, op: &str, fields: &[(&str, &str)]) -> std::fmt::Result {
        writeln!(self.text, "[[features]]\nname = {}\nop = \"{op}\"", quoted(name))?;
        for (field, value) in fields {
            match *field {
                "events" => writeln!(self.text, "events = [{}]", quoted(value))?,
                _ => writeln!(self.text, "{field} = {}", quoted(value))?,
            }
        }
        writeln!(self.text)
    }
}

fn write_features(text: &mut String, found: &Found, calendar: &Calendar) -> std::fmt::Result {
    let columns = &found.tables[0].declared.columns;
    let period = if calendar.days >= 84 { 91 } else { calendar.days.max(3) };
    let windows = [(period * 4 / 13).max(1), period, 2 * period].map(|days| format!("{days}d"));
    let third = format!("{}d", (period / 3).max(1));
    let whole = &windows[1];
    let visits = if columns.order.is_some() { ("orders", "order") } else { ("days", "day") };
    let mut features = Features { text };
    features.heading("How recently, and with what rhythm")?;
    features.add("recency", "recency", &[])?;
    for stat in ["mean", "std", "max", "last"] {
        features.add(&format!("gap_{stat}"), "gap", &[("stat", stat), ("window", &windows[2])])?;
    }
    features.heading("How often")?;
    for window in &windows {
        features.add(
            &format!("{}_{window}", visits.0),
            "distinct",
            &[("of", visits.1), ("window", window)],
        )?;
        features.add(&format!("lines_{window}"), "count", &[("window", window)])?;
    }
    features.heading("How much")?;
    for window in &windows {
        features.add(&format!("spend_{window}"), "sum", &[("of", "amount"), ("window", window)])?;
    }
    if found.kinds.iter().any(|kind| kind == "return") {
        features.add(&format!("net_spend_{whole}"), "net_spend", &[("window", whole)])?;
    }
    features.add("mean_line", "mean", &[("of", "amount"), ("window", whole)])?;
    features.add("max_line", "max", &[("of", "amount"), ("window", whole)])?;
    for half_life in &windows {
        let name = format!("decayed_spend_{half_life}");
        features.add(&name, "decayed", &[("of", "amount"), ("half_life", half_life)])?;
    }
    features.heading("Which way it is going: thirds of a period, latest first")?;
    for (index, skip) in [0, 1, 2].map(|n| format!("{}d", n * (period / 3).max(1))).iter().enumerate() {
        for (name, op, of) in [("spend", "sum", "amount"), (visits.0, "distinct", visits.1)] {
            let fields = [("of", of), ("window", &third), ("skip", skip)];
            let used = if index == 0 { &fields[..2] } else { &fields[..] };
            features.add(&format!("{name}_third_{}", index + 1), op, used)?;
        }
    }
    features.add("spend_trend", "trend", &[("of", "amount"), ("window", &windows[2])])?;
    write_taste(&mut features, found, whole)?;
    write_context(&mut features, found, calendar, &windows)
}

fn write_taste(features: &mut Features<'_>, found: &Found, window: &str) -> std::fmt::Result {
    let columns = &found.tables[0].declared.columns;
    features.heading("On what, where, at which price")?;
    let names = [
        ("items", "item", &columns.item),
        ("categories", "category", &columns.category),
        ("channels", "channel", &columns.channel),
    ];
    for (name, of, column) in names {
        if column.is_some() {
            features.add(name, "distinct", &[("of", of), ("window", window)])?;
        }
    }
    for category in &found.categories {
        let name = format!("share_{}", category.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "_"));
        features.add(&name, "share", &[("of", "category"), ("value", category), ("window", window)])?;
    }
    if columns.discount.is_some() {
        features.add("discount_share", "discount_share", &[("window", window)])?;
    }
    Ok(())
}

fn write_context(
    features: &mut Features<'_>,
    found: &Found,
    calendar: &Calendar,
    windows: &[String; 3],
) -> std::fmt::Result {
    if !found.kinds.is_empty() {
        features.heading("What else they do")?;
    }
    for kind in &found.kinds {
        let window = if kind == "return" { &windows[1] } else { &windows[0] };
        features.add(&format!("{kind}s_{window}"), "count", &[("events", kind), ("window", window)])?;
    }
    features.heading("Since when, and when")?;
    features.add("tenure", "tenure", &[])?;
    if calendar.train.len() >= 4 {
        features.add("year_sin", "calendar", &[("stat", "year_sin")])?;
        features.add("year_cos", "calendar", &[("stat", "year_cos")])
    } else {
        writeln!(
            features.text,
            "# With so few as-of dates the season would only name the date; with a year of them, add:\n\
             # [[features]]\n# name = \"year_sin\"\n# op = \"calendar\"\n# stat = \"year_sin\""
        )
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
