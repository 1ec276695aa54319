use super::*;

/// A log of two offers, drawn with known chances, of which `mail` is taken twice as often.
fn log(rows: u64, chance_of_mail: f64) -> String {
    let mut text = String::from("member,day,offer,bought,chance,age,other\n");
    let number = |at: u64, what: u64| (crate::models::mix(at * 8 + what) >> 11) as f64 / (1_u64 << 53) as f64;
    for at in 0..rows {
        let is_mail = number(at, 1) < chance_of_mail;
        let (offer, chance) = if is_mail { ("mail", chance_of_mail) } else { ("none", 1.0 - chance_of_mail) };
        let bought = u8::from(number(at, 2) < if is_mail { 0.6 } else { 0.3 });
        let age = 20 + at % 50;
        let other = if is_mail { 0.9 } else { 0.1 };
        text += &format!("m{},{at},{offer},{bought},{chance},{age},{other}\n", at % (rows / 2));
    }
    text
}

fn args(folder: &Path, table: &str) -> Args {
    let log = folder.join("log.csv");
    fs::write(&log, table).unwrap();
    let columns = Columns {
        action: "offer".into(),
        reward: "bought".into(),
        propensity: "chance".into(),
        member: Some("member".into()),
        time: Some("day".into()),
        context: vec!["age".into()],
        ..Columns::default()
    };
    Args {
        log,
        columns,
        weight: None,
        temperature: 1.0,
        interval: Bound::Bootstrap,
        rounds: 200,
        seed: 1,
        clip: None,
        switch: None,
        json: None,
    }
}

#[test]
fn a_log_proves_the_better_offer_and_not_the_one_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args(folder.path(), &log(4000, 0.5));
    args.json = Some(folder.path().join("report.json"));
    let found = report(&args).unwrap();
    assert_eq!((found.rows, found.learned, found.arms, found.positions), (4000, 2000, 2, 1));
    let names: Vec<_> = found.policies.iter().map(|policy| (policy.name.as_str(), policy.proven)).collect();
    assert_eq!(names, [("uniform", false), ("best arm (mail)", true), ("greedy", true), ("reinforce", true)]);
    let [uniform, best, greedy, reinforce] = &found.policies[..] else { panic!("four policies") };
    assert!((uniform.evaluation.ips.value - uniform.evaluation.incumbent.value).abs() < 1e-9);
    let judged = |policy: &Judged| policy.evaluation.judged().value;
    assert!((judged(best) - 0.6).abs() < 0.05, "{}", judged(best));
    assert!(judged(uniform) < judged(greedy) && judged(greedy) < judged(best));
    assert!(judged(uniform) < judged(reinforce));
    run(args).unwrap();
    let text = fs::read_to_string(folder.path().join("report.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["policies"][1]["proven"], true);
    assert_eq!(json["policies"][0]["refusals"][0]["why"], "notAbove");
    assert!(json["policies"][2]["evaluation"]["modelled"]["doublyRobust"]["value"].is_number());
}

#[test]
fn the_report_says_it_in_words_and_the_same_way_twice() {
    let folder = tempfile::tempdir().unwrap();
    let args = args(folder.path(), &log(4000, 0.5));
    let words = |args: &Args| words::report("log.csv", &report(args).unwrap());
    let text = words(&args);
    for said in [
        "log.csv: 4000 rows, 2 arms; 2000 learned from, 2000 judge",
        "in force: 0.",
        "self-normalised DR",
        "NOT PROVEN",
        "PROVEN better",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert_eq!(text, words(&args));
}

#[test]
fn probabilities_from_elsewhere_are_judged_on_all_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args(folder.path(), &log(2000, 0.5));
    args.weight = Some("other".into());
    args.columns.context.clear();
    let found = report(&args).unwrap();
    let [policy] = &found.policies[..] else { panic!("one policy") };
    assert_eq!(
        (policy.name.as_str(), found.learned, policy.evaluation.modelled.is_none()),
        ("other", 0, true)
    );
    assert!(policy.proven, "{:?}", policy.refusals);
    assert!((policy.evaluation.ips.value - 0.57).abs() < 0.05, "{}", policy.evaluation.ips.value);
    assert_eq!(policy.evaluation.rows, 2000);
}

#[test]
fn positions_are_decided_by_themselves() {
    // At the second place the offers' worth is the other way round.
    let folder = tempfile::tempdir().unwrap();
    let turned = |line: &str, at: usize| match (line, at % 2) {
        ("member,day,offer,bought,chance,age,other", _) => format!("{line},place\n"),
        (line, 0) => format!("{line},left\n"),
        (line, _) if line.contains("mail") => format!("{},right\n", line.replace("mail", "none")),
        (line, _) => format!("{},right\n", line.replace("none", "mail")),
    };
    let table: String = log(4000, 0.5).lines().enumerate().map(|(at, line)| turned(line, at)).collect();
    let mut args = args(folder.path(), &table);
    let together = report(&args).unwrap();
    args.columns.position = Some("place".into());
    let apart = report(&args).unwrap();
    let greedy = |report: &Report| report.policies[2].evaluation.judged().value;
    assert_eq!(apart.positions, 2);
    assert!(greedy(&apart) > greedy(&together) + 0.03, "{} {}", greedy(&apart), greedy(&together));
}

#[test]
fn what_cannot_be_judged_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = Args { temperature: 0.0, ..args(folder.path(), &log(100, 0.5)) };
    assert!(format!("{:#}", report(&wrong).unwrap_err()).contains("temperature 0"));
    let one = args(folder.path(), "member,day,offer,bought,chance,age\na,1,mail,1,0.5,3\n");
    assert!(format!("{:#}", report(&one).unwrap_err()).contains("1 rows do not make two parts"));
}
