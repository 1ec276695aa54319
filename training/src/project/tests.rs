use std::path::Path;

use super::*;
use crate::fixtures::{SMALL, changed, places};

fn problems(from: &str, to: &str) -> Vec<Problem> {
    Project::parse(&changed((from, to)), Path::new("tiercast.toml")).unwrap_err()
}

#[test]
fn a_small_project_is_read() {
    let project = Project::parse(SMALL, Path::new("shop/tiercast.toml")).unwrap();
    assert_eq!(project.folder.join("events.csv"), Path::new("shop/events.csv"));
    assert_eq!(
        project.as_ofs().iter().map(|date| date.date()).collect::<Vec<_>>(),
        ["2024-02-01", "2024-03-01", "2024-04-01"]
    );
    assert_eq!(project.tiers.cut, TierCut::Shares(vec![0.5, 0.5]));
    assert_eq!((project.seed, project.split.folds), (7, 5));
    assert_eq!(project.schema().unwrap().names().collect::<Vec<_>>(), ["recency", "spend"]);
}

#[test]
fn each_mistake_is_told_by_line_and_column() {
    for (from, to, line, column, message) in [
        ("name = \"small\"", "name = \"\"", 2, 8, "no name"),
        ("name = \"small\"", "nmae = \"small\"", 2, 1, "unknown field `nmae`"),
        ("exponent = 2", "exponent = two", 6, 12, ""),
        ("time = \"at\"", "time = \" \"", 14, 8, "`time` is empty"),
        ("\"low\", \"high\"", "\"low\", \"low\"", 19, 17, "used twice"),
        ("[0.5, 0.5]", "[0.5, 0.4]", 21, 10, "sum to 0.9"),
        ("[0.5, 0.5]", "[1.0]", 21, 10, "1 shares are given for 2 tiers"),
        ("shares = [0.5, 0.5]", "thresholds = [\"0\", \"-1\"]", 21, 20, "not an amount"),
        ("shares = [0.5, 0.5]", "thresholds = [\"5\", \"9\"]", 21, 15, "start at 0"),
        ("shares = [0.5, 0.5]", "", 18, 2, "exactly one"),
        ("\"2024-02-01\"", "\"2024-02-30\"", 24, 10, "not a date"),
        ("\"2024-02-01\"", "\"2024-02-02\"", 24, 10, "not the start of a tier period"),
        ("\"2024-02-01\"", "\"2024-03-01\"", 24, 24, "given twice"),
        ("[\"2024-02-01\", \"2024-03-01\"]", "[]", 24, 9, "no date to train on"),
        ("op = \"recency\"", "op = \"recent\"", 29, 6, "unknown variant `recent`"),
        ("name = \"spend\"", "name = \"recency\"", 32, 8, "used twice"),
        ("window = \"60d\"", "window = \"60 days\"", 35, 10, "duration"),
        ("window = \"60d\"", "stat = \"mean\"", 31, 1, "takes no `stat`"),
    ] {
        let found = problems(from, to);
        let (at_line, at_column, text) = places(&found)[0];
        assert_eq!((at_line, at_column), (line, column), "{from} -> {to}: {found:?}");
        assert!(text.contains(message), "{from} -> {to}: {text}");
    }
}

#[test]
fn a_target_that_reaches_into_a_test_is_a_leak() {
    let found = problems("test = [\"2024-04-01\"]", "test = [\"2024-03-01\"]");
    let [problem] = &found[..] else { panic!("{found:?}") };
    assert_eq!((problem.line, problem.column), (24, 24));
    assert!(problem.message.contains("the future of a test"), "{problem}");
    assert!(problem.message.contains("2024-03-01 runs to 2024-04-01"), "{problem}");
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text =
        changed(("[0.5, 0.5]", "[0.5, 0.4]")).replace("2024-04-01", "soon").replace("recency", "spend");
    let text = text.replace("op = \"spend\"", "op = \"recency\"");
    let found = Project::parse(&text, Path::new("tiercast.toml")).unwrap_err();
    let lines: Vec<_> = found.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [21, 25, 32]);
}

#[test]
fn misspelt_names_are_suggested() {
    let help = |from, to| problems(from, to)[0].help.clone().unwrap();
    assert_eq!(help("test = ", "tset = "), "did you mean `test`?");
    assert_eq!(help("[tiers]", "[train]\nmodels = [\"logistc\"]\n\n[tiers]"), "did you mean \"logistic\"?");
}

/// What a small project recommends, with one line changed.
fn recommend(from: &str, to: &str) -> Result<Project, Vec<Problem>> {
    let table =
        "[recommend]\nperiod = \"28d\"\ntrain = [\"2024-01-10\", \"2024-02-07\"]\ntest = \"2024-03-06\"\n";
    let events = changed(("time = \"at\"", "time = \"at\"\nitem = \"item\""));
    assert!(from.is_empty() || table.contains(from));
    Project::parse(&format!("{events}\n{}", table.replace(from, to)), Path::new("tiercast.toml"))
}

#[test]
fn what_is_recommended_has_defaults() {
    let plan = recommend("", "").unwrap().recommend.unwrap();
    assert_eq!((plan.catalogue, plan.factors, plan.members), (10_000, 64, 50_000));
    assert_eq!(plan.test.map(|date| date.date()), Some("2024-03-06".into()));
}

#[test]
fn what_cannot_be_recommended_is_told() {
    for (from, to, message) in [
        ("train = [\"2024-01-10\", \"2024-02-07\"]", "train = []", "none, or not ascending"),
        ("\"2024-01-10\", \"2024-02-07\"", "\"2024-02-07\", \"2024-01-10\"", "not ascending"),
        ("\"2024-01-10\"", "\"2024-01-40\"", "not a date"),
        ("\"2024-03-06\"", "\"2024-03-05\"", "the future of the test"),
        ("period = \"28d\"", "period = \"28d\"\ncatalogue = 1", "1 items cannot be known"),
        ("period = \"28d\"", "period = \"28d\"\nfactors = 17", "17 factors cannot be had"),
        ("period = \"28d\"", "period = \"28d\"\ndiversity = 1.5", "is no share"),
        ("period = \"28d\"", "period = \"28d\"\nmembers = 9", "too few to learn from"),
        (
            "period = \"28d\"",
            "period = \"28d\"\nwelcome = { lasts = \"30d\", steps = [] }",
            "the welcome's steps are not sound",
        ),
        (
            "period = \"28d\"",
            "period = \"28d\"\nwelcome = { lasts = \"30d\", steps = [{ name = \"first\", orders = 0 }] }",
            "the welcome's steps are not sound",
        ),
        (
            "period = \"28d\"",
            "period = \"28d\"\nwelcome = { lasts = \"30d\", steps = [{ name = \"a\", orders = 1, boost = { milk = 0 } }] }",
            "the welcome's steps are not sound",
        ),
        ("period = \"28d\"", "period = \"28 days\"", "duration"),
        ("period = \"28d\"", "perod = \"28d\"", "unknown field `perod`"),
    ] {
        let found = recommend(from, to).unwrap_err();
        assert!(found[0].message.contains(message), "{from} -> {to}: {found:?}");
    }
}

/// The points of a small project, with one line changed.
fn points(from: &str, to: &str) -> Result<Project, Vec<Problem>> {
    let table = "[points]\npoints = 1\nper = 100\ntiers = [100, 150]\nexpires = \"365d\"\nredeem_points = 100\n\
                 redeem_minor = 100\n\n[[points.bonuses]]\nname = \"spring\"\nfrom = \"2024-03-01\"\npercent = 50\n";
    assert!(table.contains(from));
    let text = format!("{SMALL}\n{}", table.replace(from, to));
    Project::parse(&text, Path::new("tiercast.toml"))
}

#[test]
fn points_are_read_and_their_mistakes_told_where_they_are() {
    let rules = points("", "").unwrap().points.unwrap();
    assert_eq!((rules.per, rules.bonuses[0].percent, rules.cap_per_day), (100, 50, None));
    let first = SMALL.lines().count() + 2;
    for (from, to, line, message, help) in [
        ("per = 100", "per = 0", 2, "0 is out of range", "give 1 to 1000000000"),
        ("[100, 150]", "[100]", 3, "1 percentages for 2 tiers", "one for each"),
        ("[100, 150]", "[100, 99999]", 3, "99999 is out of range", "give 0 to 20000"),
        ("\"365d\"", "\"1h\"", 4, "no whole number of days", "365d"),
        ("percent = 50", "points = 50", 8, "a percentage", "give `percent`"),
        ("percent = 50", "percent = 50\nkind = \"buy\"", 8, "not a kind of event", "declare it"),
        ("2024-03-01", "2024-03-32", 10, "not a date", ""),
        ("per = ", "pre = ", 2, "unknown field `pre`", "did you mean `per`?"),
    ] {
        let found = points(from, to).unwrap_err();
        let [problem] = &found[..] else { panic!("{from} -> {to}: {found:?}") };
        assert_eq!(problem.line, first + line, "{problem}");
        assert!(problem.message.contains(message), "{problem}");
        assert!(problem.help.clone().unwrap_or_default().contains(help), "{problem}");
    }
}

#[test]
fn recommending_needs_items() {
    let text = format!("{SMALL}\n[recommend]\nperiod = \"28d\"\ntrain = [\"2024-01-10\"]\n");
    let found = Project::parse(&text, Path::new("tiercast.toml")).unwrap_err();
    assert!(found[0].message.contains("which item was bought"), "{found:?}");
}
