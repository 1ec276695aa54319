use super::*;
use crate::deploy::key::tests::{known, stranger};

/// What both sides read: a release with a canary, signed with the private key of RFC 8032's first test.
const FIXTURE: &str = include_str!("../../../../tests/fixtures/release.json");

fn pin(digit: char, bytes: u64) -> Pin {
    Pin { sha256: String::from_iter([digit; 64]), bytes }
}

fn canary() -> Next {
    Next {
        sha256: pin('b', 0).sha256,
        bytes: 2,
        stage: Stage::Canary,
        share: 0.05,
        min_requests: 200,
        max_failures: 0.01,
    }
}

fn full() -> Payload {
    Payload::new(7, pin('a', 1), Some(canary()))
}

/// A payload's text, signed by whoever has the key.
fn signed(payload: &str) -> String {
    let signature = BASE64.encode(known().sign(&message(payload)));
    serde_json::to_string(&Signed { payload: payload.into(), signature }).unwrap()
}

fn opened(text: &str) -> anyhow::Result<Payload> {
    Payload::open(text.as_bytes(), Some(&known().public()))
}

#[test]
fn a_release_is_the_text_that_workers_read() {
    let payload = format!(
        r#"{{"format":1,"serial":7,"stable":{{"sha256":"{}","bytes":1}},"next":{{"sha256":"{}","bytes":2,"stage":"canary","share":0.05,"minRequests":200,"maxFailures":0.01}}}}"#,
        pin('a', 0).sha256,
        pin('b', 0).sha256
    );
    let text = full().sign(&known()).unwrap();
    assert_eq!(text, signed(&payload));
    assert_eq!(text, FIXTURE.trim_end());
    assert_eq!(opened(&text).unwrap(), full());
    let alone = Payload::new(1, pin('a', 1), None);
    let text = alone.sign(&known()).unwrap();
    assert!(!text.contains("next"), "{text}");
    assert_eq!(opened(&text).unwrap(), alone);
}

#[test]
fn whatever_is_changed_is_refused() {
    let good = full().sign(&known()).unwrap();
    assert!(opened(&good.replace("\\\"serial\\\":7", "\\\"serial\\\":8")).is_err());
    let stranger = stranger();
    let foreign = full().sign(&stranger).unwrap();
    assert!(opened(&foreign).unwrap_err().to_string().contains("not of this key"));
    assert_eq!(Payload::open(foreign.as_bytes(), None).unwrap(), full());
    // The same bytes without what releases are told apart by.
    let Signed { payload, .. } = serde_json::from_str(&good).unwrap();
    let signature = BASE64.encode(known().sign(payload.as_bytes()));
    let bare = serde_json::to_string(&Signed { payload, signature }).unwrap();
    assert!(opened(&bare).is_err());
    // Every byte of the signature and the payload.
    for at in 0..good.len() {
        let mut text = good.clone().into_bytes();
        text[at] ^= 1;
        let found = Payload::open(&text, Some(&known().public()));
        assert!(found.is_err(), "byte {at} of {good}");
    }
    for end in 0..good.len() {
        assert!(opened(&good[..end]).is_err());
    }
}

#[test]
fn the_envelope_is_read_strictly() {
    let good = full().sign(&known()).unwrap();
    let cases = [
        good.replacen('{', r#"{"more":1,"#, 1),
        good.replacen('{', r#"{"signature":"","#, 1),
        good.replace("signature", "signed"),
        good.replace("==\"", "\""),
        good.clone() + "x",
        "null".into(),
        "[]".into(),
        String::new(),
    ];
    for text in cases {
        let error = format!("{:#}", opened(&text).unwrap_err());
        assert!(error.contains("damaged"), "{text}: {error}");
    }
    let short = BASE64.encode([0; 63]);
    let text = serde_json::to_string(&Signed { payload: String::new(), signature: short }).unwrap();
    assert!(Payload::open(text.as_bytes(), None).unwrap_err().to_string().contains("63 bytes"));
}

/// What a payload's text looks like with one place changed, and what is said of it; "" where it is good.
#[test]
fn every_field_has_its_bounds() {
    let good = serde_json::to_string(&full()).unwrap();
    let (a, b) = (pin('a', 0).sha256, pin('b', 0).sha256);
    let cases: &[(&str, &str, &str)] = &[
        ("\"format\":1", "\"format\":2", "its format is 2"),
        ("\"format\":1,", "", "missing field `format`"),
        ("\"format\":1", "\"format\":1,\"format\":1", "duplicate field"),
        ("\"format\":1", "\"format\":1,\"more\":1", "unknown field"),
        ("\"serial\":7", "\"serial\":1", ""),
        ("\"serial\":7", "\"serial\":9007199254740991", ""),
        ("\"serial\":7", "\"serial\":9007199254740992", "serial is"),
        ("\"serial\":7", "\"serial\":0", "serial is 0"),
        ("\"serial\":7", "\"serial\":-1", "invalid value"),
        ("\"serial\":7", "\"serial\":7.0", "invalid type"),
        ("\"serial\":7", "\"serial\":\"7\"", "invalid type"),
        (&a, &a[1..], "stable.sha256"),
        (&a, &a.to_uppercase(), "stable.sha256"),
        (&a, &a.replace("aaa", "äa"), "stable.sha256"),
        (&b, &b.replace('b', "g"), "next.sha256"),
        ("\"bytes\":1}", "\"bytes\":0}", "stable.bytes is 0"),
        ("\"bytes\":1}", "\"bytes\":1,\"share\":1}", "unknown field"),
        ("\"bytes\":2", "\"bytes\":9007199254740992", "next.bytes is"),
        ("\"stage\":\"canary\"", "\"stage\":\"shadow\"", ""),
        ("\"stage\":\"canary\"", "\"stage\":\"full\"", "unknown variant"),
        ("\"stage\":\"canary\"", "\"stage\":\"Canary\"", "unknown variant"),
        ("\"share\":0.05", "\"share\":1", ""),
        ("\"share\":0.05", "\"share\":1.0000001", "share is 1.0000001"),
        ("\"share\":0.05", "\"share\":0", "share is 0"),
        ("\"share\":0.05", "\"share\":-0.05", "share is -0.05"),
        ("\"share\":0.05,", "", "missing field `share`"),
        ("\"minRequests\":200", "\"minRequests\":1", ""),
        ("\"minRequests\":200", "\"minRequests\":1000000000", ""),
        ("\"minRequests\":200", "\"minRequests\":1000000001", "minRequests is"),
        ("\"minRequests\":200", "\"minRequests\":0", "minRequests is 0"),
        ("minRequests", "min_requests", "unknown field"),
        ("\"maxFailures\":0.01", "\"maxFailures\":0", ""),
        ("\"maxFailures\":0.01", "\"maxFailures\":1", ""),
        ("\"maxFailures\":0.01", "\"maxFailures\":1.01", "maxFailures is 1.01"),
        ("\"maxFailures\":0.01", "\"maxFailures\":-0.01", "maxFailures is -0.01"),
        ("\"maxFailures\":0.01", "\"maxFailures\":0.01,\"more\":null", "unknown field"),
    ];
    for (from, to, words) in cases {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from} is not in {good}");
        match (opened(&signed(&text)), *words) {
            (Ok(_), "") => {}
            (Ok(_), _) => panic!("{text} should be refused"),
            (Err(error), words) => {
                let error = format!("{error:#}");
                assert!(!words.is_empty() && error.contains(words), "{text}: {error}");
            }
        }
    }
    let (before, _) = good.split_once(",\"next\"").unwrap();
    assert!(opened(&signed(&format!("{before}}}"))).is_ok());
    assert!(opened(&signed(&format!("{before},\"next\":null}}"))).is_err());
}

#[test]
fn what_is_out_of_range_is_not_signed() {
    let refused = |change: fn(&mut Payload)| {
        let mut payload = full();
        change(&mut payload);
        payload.sign(&known()).unwrap_err().to_string()
    };
    assert!(refused(|payload| payload.serial = 0).contains("serial"));
    assert!(refused(|payload| payload.stable.bytes = 0).contains("stable.bytes"));
    assert!(refused(|payload| payload.next.as_mut().unwrap().share = f64::NAN).contains("share is NaN"));
    assert!(
        refused(|payload| payload.next.as_mut().unwrap().max_failures = f64::NAN).contains("maxFailures")
    );
}

#[test]
fn serials_only_grow() {
    let now = full();
    assert_eq!(serial(None, None).unwrap(), 1);
    assert_eq!(serial(Some(&now), None).unwrap(), 8);
    assert_eq!(serial(Some(&now), Some(100)).unwrap(), 100);
    assert_eq!(serial(None, Some(100)).unwrap(), 100);
    for wanted in [0, 6, 7] {
        assert!(serial(Some(&now), Some(wanted)).unwrap_err().to_string().contains("not above"));
    }
    assert!(serial(None, Some(0)).is_err());
    assert!(serial(Some(&now), Some(LARGEST + 1)).is_err());
    assert!(serial(Some(&Payload { serial: LARGEST, ..now }), None).is_err());
}
