use super::*;
use crate::check::examine;
use tiercast_core::Timestamp;

fn usd() -> Currency {
    Currency { code: "USD".into(), exponent: 2 }
}

/// A year of two members' purchases, one of which is brought back.
fn sales() -> String {
    let mut csv = String::from("Invoice,CustomerID,StockCode,Quantity,InvoiceDate,UnitPrice\n");
    for month in 1..=12 {
        csv += &format!("{month},7,A,2,2024-{month:02}-01 10:00:00,3.50\n");
        csv += &format!("{month},7,B,1,2024-{month:02}-01 10:00:00,10.00\n");
        csv += &format!("9{month},8,A,1,2024-{month:02}-28 10:00:00,3.50\n");
    }
    csv + "99,8,B,-1,2024-12-30 10:00:00,10.00\n"
}

#[test]
fn a_table_and_its_lookup_become_a_project_that_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let (sales_path, lookup) = (folder.path().join("sales.csv"), folder.path().join("products.csv"));
    fs::write(&sales_path, sales()).unwrap();
    fs::write(&lookup, "StockCode,Department\nA,toys\nB,books\n").unwrap();
    let output = folder.path().join("tiercast.toml");
    let text = propose(&[sales_path, lookup], &output, &usd()).unwrap();

    let project = Project::parse(&text, &output).unwrap();
    let columns = &project.events[0].columns;
    assert_eq!((columns.member.as_str(), columns.time.as_str()), ("CustomerID", "InvoiceDate"));
    assert_eq!(columns.id.as_deref(), Some("Invoice || '-' || StockCode"));
    assert!(columns.amount.as_deref().unwrap().contains("UnitPrice * Quantity"), "{columns:?}");
    assert!(columns.kind.contains("'return'"), "{columns:?}");
    assert_eq!(columns.category.as_deref(), Some("Department"));
    assert_eq!(
        (project.events[0].table.as_str(), project.events[0].join[0].table.as_str()),
        ("sales.csv", "products.csv")
    );
    let dates = |dates: &[tiercast_core::Timestamp]| dates.iter().map(|date| date.date()).collect::<Vec<_>>();
    assert_eq!(dates(&project.split.train), ["2024-04-01", "2024-07-01"]);
    assert_eq!(dates(&project.split.test), ["2024-10-01"]);
    let names: Vec<_> = project.features.iter().map(|feature| feature.name.as_str()).collect();
    for name in [
        "recency",
        "spend_91d",
        "net_spend_91d",
        "orders_28d",
        "share_toys",
        "share_books",
        "returns_91d",
        "tenure",
    ] {
        assert!(names.contains(&name), "{name} not in {names:?}");
    }
    let examined = examine(&text, &output, true, &indicatif::ProgressBar::hidden()).unwrap();
    assert_eq!(examined.problems, []);
    assert_eq!(examined.survey.unwrap().kinds["return"], 1);
}

#[test]
fn words_for_kinds_are_translated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    let mut csv = String::from("user_id,event_type,timestamp,price\n");
    for day in 1..=28 {
        csv += &format!(
            "u{},page_view,2024-01-{day:02}T08:00:00,\nu{},order,2024-01-{day:02}T09:00:00,5.0\n",
            day % 5,
            day % 5
        );
        csv += &format!("u{},stamp,2024-01-{day:02}T10:00:00,\n", day % 5);
    }
    fs::write(&path, csv).unwrap();
    let output = folder.path().join("tiercast.toml");
    let text = propose(&[path], &output, &usd()).unwrap();
    let project = Project::parse(&text, &output).unwrap();
    assert_eq!(
        project.events[0].columns.kind,
        "CASE event_type WHEN 'order' THEN 'purchase' WHEN 'page_view' THEN 'view' ELSE event_type END"
    );
    assert_eq!(project.members.custom_kinds, ["stamp"]);
    assert_eq!(examine(&text, &output, true, &indicatif::ProgressBar::hidden()).unwrap().problems, []);
}

#[test]
fn a_table_without_members_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weather.csv");
    fs::write(&path, "date,degrees\n2024-01-01,3\n").unwrap();
    let error = propose(&[path], &folder.path().join("tiercast.toml"), &usd()).unwrap_err();
    assert!(error.to_string().contains("customer_id"), "{error}");
}

#[test]
fn times_in_seconds_or_as_yyyymmdd_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let (table, output) = (folder.path().join("sales.csv"), folder.path().join("tiercast.toml"));
    for (text, expected) in [("seconds", "InvoiceDate * 1000"), ("yyyymmdd", "CAST(CAST(InvoiceDate")] {
        let mut csv = String::from("CustomerID,InvoiceDate,UnitPrice\n");
        for month in 1..=12 {
            let day = Timestamp::parse(&format!("2024-{month:02}-05")).unwrap();
            let time = match text {
                "seconds" => (day.ms() / 1000).to_string(),
                _ => day.date().replace('-', ""),
            };
            csv += &format!("7,{time},3.50\n");
        }
        fs::write(&table, csv).unwrap();
        let proposed = propose(std::slice::from_ref(&table), &output, &usd()).unwrap();
        let project = Project::parse(&proposed, &output).unwrap();
        assert!(project.events[0].columns.time.contains(expected), "{proposed}");
        assert!(proposed.contains(&format!("InvoiceDate looks like {text}")), "{proposed}");
        assert_eq!(project.split.test[0].date(), "2024-11-01", "{proposed}");
    }
}
