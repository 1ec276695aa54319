use super::*;
use crate::fixtures::{ROWS, changed, places};

fn found(folder: &Path, rows: &str, change: (&str, &str)) -> Vec<Problem> {
    fs::write(folder.join("events.csv"), rows).unwrap();
    let path = folder.join("tiercast.toml");
    examine(&changed(change), &path, true, &ProgressBar::hidden()).unwrap().problems
}

#[test]
fn a_sound_project_has_no_problems() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(found(folder.path(), ROWS, ("", "")), []);
}

#[test]
fn misspelt_columns_and_files_are_named_with_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to, line, column, message, help) in [
        (
            "amount = \"amount\"",
            "amount = \"amuont * 2\"",
            16,
            10,
            "no column \"amuont\"",
            "did you mean `amount`?",
        ),
        ("\"events.csv\"", "\"event.csv\"", 9, 9, "there is no file", "did you mean \"events.csv\"?"),
        (
            "table = \"events.csv\"",
            "table = \"events.csv\"\nwhere = \"knid = 'x'\"",
            10,
            9,
            "no column \"knid\"",
            "`kind`",
        ),
        ("time = \"at\"", "time = \"amount\"", 14, 8, "cannot be read as a time", ""),
        ("amount = \"amount\"", "amount = \"amount +\"", 16, 10, "", "SQL expression"),
    ] {
        let problems = found(folder.path(), ROWS, (from, to));
        let (at_line, at_column, text) = places(&problems)[0];
        assert_eq!((at_line, at_column), (line, column), "{problems:?}");
        assert!(text.contains(message), "{problems:?}");
        assert!(problems[0].help.as_ref().unwrap().contains(help), "{problems:?}");
    }
}

#[test]
fn rows_that_are_not_events_are_counted_by_reason() {
    let folder = tempfile::tempdir().unwrap();
    let rows = format!(
        "{ROWS}a,purchase,2024-01-06,9,-1.00\na,buy,2024-01-07,10,1\na,purchase,2024-01-08,11,-2.00\n"
    );
    let problems = found(
        folder.path(),
        &rows.replace("T10:00:00", "").replace("T00:00:00", "").replace("T23:59:59", ""),
        ("", ""),
    );
    let places = places(&problems);
    assert_eq!(places.len(), 2, "{problems:?}");
    assert!(places[0].0 == 13 && places[0].2.contains("row 7: unknown_kind"), "{problems:?}");
    assert!(
        places[1].0 == 16
            && places[1].2.contains("row 6: invalid_amount")
            && places[1].2.contains("2 such rows")
    );
}

#[test]
fn dates_outside_the_data_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let early = found(folder.path(), ROWS, ("\"2024-02-01\"", "\"2024-01-01\""));
    assert_eq!(places(&early), [(24, 10, "nothing is known of anyone at 2024-01-01")]);
    let late = found(folder.path(), ROWS, ("test = [\"2024-04-01\"]", "test = [\"2024-05-01\"]"));
    assert_eq!(places(&late), [(25, 9, "nothing happens from 2024-05-01 on")]);
    let cut = ROWS.replace("2024-04-28", "2024-04-20");
    let cut = found(folder.path(), &cut, ("", ""));
    assert!(cut[0].warning && cut[0].message.contains("the last event is of 2024-04-20"), "{cut:?}");
}

#[test]
fn a_lookup_that_would_multiply_events_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let join = "table = \"events.csv\"\njoin = [{ table = \"members.csv\", on = \"member\" }]";
    fs::write(folder.path().join("members.csv"), "member,age\na,1\nb,2\n").unwrap();
    assert_eq!(found(folder.path(), ROWS, ("table = \"events.csv\"", join)), []);
    fs::write(folder.path().join("members.csv"), "member,age\na,1\na,2\n").unwrap();
    let problems = found(folder.path(), ROWS, ("table = \"events.csv\"", join));
    assert!(problems[0].message.contains("several rows") && problems[0].line == 10, "{problems:?}");
}

#[test]
fn names_that_do_not_occur_are_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let problems = found(
        folder.path(),
        ROWS,
        ("window = \"60d\"", "window = \"60d\"\nevents = [\"purchase\", \"review\"]"),
    );
    assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
    assert_eq!(places(&problems), [(36, 23, "no event is of kind \"review\"")]);
}

#[test]
fn numbers_that_are_not_milliseconds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for to in ["1714305600", "20240428"] {
        let rows = format!("member,kind,at,id,amount\na,purchase,{to},1,10.00\nb,purchase,{to},2,1.00\n");
        let problems = found(folder.path(), &rows, ("", ""));
        assert_eq!((problems.len(), problems[0].line), (1, 14), "{problems:?}");
        assert!(problems[0].message.contains("of 1970-01"), "{problems:?}");
        assert!(problems[0].help.as_ref().unwrap().contains("* 1000"), "{problems:?}");
        let project = crate::fixtures::small(folder.path(), &rows, ("", ""));
        let error = crate::features::build(&project, &project.as_ofs(), &ProgressBar::hidden()).unwrap_err();
        assert!(error.to_string().contains("yyyymmdd"), "{error}");
    }
    let day = "CAST(CAST(at AS VARCHAR) AS DATE)";
    let rows = ["2024-01-05", "2024-02-10", "2024-03-10", "2024-04-28"]
        .map(|day| format!("a,purchase,{},{day},1.00\n", day.replace('-', "")))
        .concat();
    let rows = format!("member,kind,at,id,amount\n{rows}");
    assert_eq!(found(folder.path(), &rows, ("time = \"at\"", &format!("time = \"{day}\""))), []);
}
