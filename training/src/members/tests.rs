use indicatif::ProgressBar;
use serde::Deserialize as _;
use tiercast_core::MemberState;

use super::*;
use crate::{features, fixtures::synthetic};

fn args(folder: &std::path::Path, output: &str) -> Args {
    Args {
        project: folder.join("tiercast.toml"),
        sample: 12,
        seed: 3,
        member: vec!["m00000005".into()],
        min_events: 1,
        max_events: 800,
        output: folder.join(output),
    }
}

#[test]
fn exported_events_give_the_features_that_the_tables_give() {
    let folder = tempfile::tempdir().unwrap();
    let project = synthetic(folder.path(), 60);
    run(args(folder.path(), "members.json")).unwrap();
    let text = std::fs::read(folder.path().join("members.json")).unwrap();
    let exported: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let members = exported["members"].as_array().unwrap();
    assert_eq!(members.len(), 13);
    assert_eq!(exported["currency"]["code"], "USD");

    let dataset = features::build(&project, &project.as_ofs(), &ProgressBar::hidden()).unwrap();
    let mut compared = 0;
    for member in members {
        let events: Vec<EventInput<'_>> = member["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| EventInput::deserialize(event).unwrap())
            .collect();
        let events: Vec<_> =
            events.iter().map(|event| event.validate(&project.event_rules()).unwrap()).collect();
        assert!(events.is_sorted_by_key(|event| event.time));
        for (row, key) in dataset.rows.iter().enumerate().filter(|(_, key)| key.member == member["member"]) {
            let mut state = MemberState::new(&dataset.schema);
            for event in events.iter().filter(|event| event.time < key.as_of) {
                state.observe(*event);
            }
            let features =
                dataset.schema.features_at(&state, crate::fold::just_before(key.as_of).unwrap()).unwrap();
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&features), bits(dataset.row(row)), "{key:?}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn the_same_seed_chooses_the_same_members() {
    let folder = tempfile::tempdir().unwrap();
    synthetic(folder.path(), 60);
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    run(args(folder.path(), "a.json")).unwrap();
    run(args(folder.path(), "b.json")).unwrap();
    assert_eq!(read("a.json"), read("b.json"));
    let error =
        run(Args { min_events: 900, member: Vec::new(), ..args(folder.path(), "c.json") }).unwrap_err();
    assert!(error.to_string().contains("no member has 900 to 800 events"), "{error}");

    let nobody = Args { member: vec!["nope".into()], sample: 0, ..args(folder.path(), "d.json") };
    let error = run(nobody).unwrap_err().to_string();
    assert!(error.contains("no member \"nope\"") && !folder.path().join("d.json").exists(), "{error}");
}
