//! Releases, from the first to the way back: in a folder, and through a program that takes wrangler's words.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{fails, succeeds};

/// A folder with a key and three bundles, and what the program says there.
struct Shop {
    folder: TempDir,
    store: String,
}

impl Shop {
    fn new(store: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
        let names = [
            ("fixture.tcb", "first.tcb"),
            ("ranks.tcb", "second.tcb"),
            ("decide.tcb", "third.tcb"),
            ("fixture-onnx.tcb", "onnx.tcb"),
            ("model-dense.tcb", "model.tcb"),
        ];
        for (from, to) in names {
            fs::copy(fixtures.join(from), folder.path().join(to)).unwrap();
        }
        succeeds(folder.path(), &["deploy", "key", "-o", "release.key"]);
        Self { folder, store: store.into() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command on the store, as words.
    fn words<'w>(&'w self, command: &'w str) -> Vec<&'w str> {
        let key = ["--key", "release.key"];
        let key = if command.starts_with("status") { &key[..0] } else { &key[..] };
        let command = command.split_whitespace();
        ["deploy"]
            .into_iter()
            .chain(command)
            .chain(["--to", &self.store])
            .chain(key.iter().copied())
            .collect()
    }

    #[track_caller]
    fn does(&self, command: &str) -> String {
        succeeds(self.folder.path(), &self.words(command))
    }

    /// Refuses a command by these words, and changes nothing in the store.
    #[track_caller]
    fn refuses(&self, command: &str, words: &str) {
        let before = files(&self.at("store"));
        let said = fails(self.folder.path(), &self.words(command));
        assert!(said.contains(words), "{command}: {said}");
        assert_eq!(files(&self.at("store")), before, "{command}");
    }

    fn sha256(&self, bundle: &str) -> String {
        tiercast::file_hash::FileHash::of(&self.at(bundle)).unwrap().sha256
    }

    /// The payload of the folder's release.
    fn released(&self) -> Value {
        let text = fs::read_to_string(self.at("store/release.json")).unwrap();
        let signed: Value = serde_json::from_str(&text).unwrap();
        serde_json::from_str(signed["payload"].as_str().unwrap()).unwrap()
    }

    /// Holds the release against its serial, its stable bundle and the one on trial.
    #[track_caller]
    fn holds(&self, serial: u64, stable: &str, next: Option<(&str, &str, f64)>) {
        let found = self.released();
        assert_eq!((&found["format"], &found["serial"]), (&1.into(), &serial.into()), "{found}");
        assert_eq!(found["stable"]["sha256"], self.sha256(stable));
        assert_eq!(found["stable"]["bytes"], fs::metadata(self.at(stable)).unwrap().len());
        let named = [Some(stable), next.map(|next| next.0)];
        for bundle in named.into_iter().flatten() {
            let kept = self.at(&format!("store/bundles/{}.tcb", self.sha256(bundle)));
            assert_eq!(fs::read(kept).unwrap(), fs::read(self.at(bundle)).unwrap());
        }
        let Some((bundle, stage, share)) = next else {
            assert!(found.get("next").is_none(), "{found}");
            return;
        };
        let next = &found["next"];
        assert_eq!(next["sha256"], self.sha256(bundle));
        assert_eq!((&next["stage"], &next["share"]), (&stage.into(), &share.into()), "{found}");
    }
}

/// Every file below a folder, and what it holds.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_bundle_goes_from_trial_to_all_and_back() {
    let shop = Shop::new("dir:store");
    shop.refuses("bundle first.tcb --stage canary", "nothing is released");
    shop.refuses("promote", "nothing is released");
    assert!(shop.does("status").contains("nothing is released"));
    assert!(shop.does("bundle first.tcb --dry-run").contains("nothing was written"));
    assert!(!shop.at("store").exists());

    shop.does("bundle first.tcb");
    shop.holds(1, "first.tcb", None);
    shop.refuses("bundle first.tcb", "released already");
    shop.refuses("bundle first.tcb --stage canary", "the stable one already");
    shop.refuses("promote", "no bundle is on trial");
    shop.refuses("withdraw", "no bundle is on trial");

    let said =
        shop.does("bundle second.tcb --stage shadow --share 0.25 --min-requests 50 --max-failures 0.02");
    assert!(said.contains("scores 0.25 of members; given up when more than 0.02"), "{said}");
    shop.holds(2, "first.tcb", Some(("second.tcb", "shadow", 0.25)));
    shop.does("promote --stage canary --share 0.1");
    shop.holds(3, "first.tcb", Some(("second.tcb", "canary", 0.1)));
    let next = shop.released()["next"].clone();
    assert_eq!((&next["minRequests"], &next["maxFailures"]), (&50.into(), &0.02.into()));
    shop.refuses("promote --stage canary", "that canary already");
    shop.refuses("promote --share 0.5", "for a bundle on trial");
    shop.refuses("promote --dry-run --serial 3", "not above");
    shop.does("promote --dry-run");
    shop.holds(3, "first.tcb", Some(("second.tcb", "canary", 0.1)));
    let said = shop.does("promote");
    shop.holds(4, "second.tcb", None);
    let first = shop.sha256("first.tcb");
    let back = format!("deploy back --to dir:store --key release.key --sha256 {first}");
    assert!(said.contains(&back), "{said}");

    succeeds(shop.folder.path(), &back.split(' ').collect::<Vec<_>>());
    shop.holds(5, "first.tcb", None);
    shop.refuses(&format!("back --sha256 {first}"), "the stable one already");
    shop.refuses(&format!("back --sha256 {}", shop.sha256("third.tcb")), "dir:store has no bundles/");
    shop.refuses("back --sha256 5f0c", "is not a SHA-256");

    shop.does("bundle third.tcb --stage canary");
    shop.holds(6, "first.tcb", Some(("third.tcb", "canary", 0.05)));
    shop.does("withdraw");
    shop.holds(7, "first.tcb", None);
    assert!(shop.does("bundle second.tcb --serial 20").contains("is there already"));
    shop.holds(20, "second.tcb", None);
    assert_eq!(files(&shop.at("store")).len(), 4);
}

#[test]
fn what_workers_could_not_run_is_not_released() {
    let shop = Shop::new("dir:store");
    shop.does("bundle first.tcb");
    let mut damaged = fs::read(shop.at("second.tcb")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(shop.at("damaged.tcb"), damaged).unwrap();
    shop.refuses("bundle damaged.tcb", "damaged.tcb: ");
    shop.refuses("bundle onnx.tcb", "without tract");
    shop.refuses("bundle model.tcb", "a model alone");
    shop.refuses("bundle none.tcb", "cannot read none.tcb");
    for share in ["0", "1.01", "-0.1", "NaN"] {
        shop.refuses(&format!("bundle second.tcb --stage canary --share={share}"), "share is");
    }
    shop.refuses("bundle second.tcb --stage shadow --min-requests 0", "minRequests is 0");
    shop.refuses("bundle second.tcb --stage shadow --max-failures 1.5", "maxFailures is 1.5");
    shop.refuses("bundle second.tcb --share 0.5", "for a bundle on trial");
    for serial in ["0", "1"] {
        shop.refuses(&format!("bundle second.tcb --serial {serial}"), "not above");
    }
    // What the store holds was changed since.
    shop.does("bundle second.tcb --stage canary");
    let kept = format!("store/bundles/{}.tcb", shop.sha256("second.tcb"));
    fs::write(shop.at(&kept), "x").unwrap();
    shop.refuses("promote", "is damaged");
    fs::remove_file(shop.at(&kept)).unwrap();
    shop.refuses("promote", "has no bundles/");
    shop.does("withdraw");
    shop.holds(3, "first.tcb", None);
}

#[test]
fn only_what_this_key_signed_is_followed() {
    let shop = Shop::new("dir:store");
    let said = fails(shop.folder.path(), &["deploy", "key", "-o", "release.key"]);
    assert!(said.contains("never overwritten"), "{said}");
    let said = succeeds(shop.folder.path(), &["deploy", "key", "-o", "other.key"]);
    let (_, other) = said.split_once("TIERCAST_RELEASE_KEY = \"").unwrap();
    let other = other.split('"').next().unwrap();
    shop.does("bundle first.tcb");
    shop.refuses(&format!("status --public-key {other}"), "workers refuse it");
    fs::rename(shop.at("release.key"), shop.at("mine.key")).unwrap();
    fs::rename(shop.at("other.key"), shop.at("release.key")).unwrap();
    for command in ["bundle second.tcb", "withdraw", "promote"] {
        shop.refuses(command, "its signature is not of this key");
    }
    // The way out that the message names.
    fs::remove_file(shop.at("store/release.json")).unwrap();
    shop.does("bundle second.tcb --serial 8");
    shop.holds(8, "second.tcb", None);
    assert!(shop.does(&format!("status --public-key {other}")).contains("signed with this key"));
    assert!(shop.does("status").contains("was not verified"));
    let json: Value =
        serde_json::from_str(&shop.does(&format!("status --json --public-key {other}"))).unwrap();
    assert_eq!(json, serde_json::json!({"release": shop.released(), "verified": true}));
    fs::write(shop.at("store/release.json"), "{").unwrap();
    shop.refuses("bundle first.tcb", "it is damaged");
    shop.refuses("status", "it is damaged");
    fs::write(shop.at("release.key"), "x").unwrap();
    shop.refuses("bundle first.tcb", "holds no key");
}

/// Stands in for wrangler. It is a file of its own, because one that was just written cannot be run while another test starts a
/// program.
#[cfg(unix)]
const WRANGLER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pipeline/wrangler.sh");

/// A store behind that program: what the program is asked on the way to a release and back, without the names of files.
#[cfg(unix)]
fn through_wrangler(store: &str, options: &str) -> Vec<String> {
    let shop = Shop::new(store);
    let does = |command: &str| shop.does(&format!("{command} --wrangler {WRANGLER} {options}"));
    assert!(does("status").contains("nothing is released"));
    does("bundle first.tcb");
    does("bundle second.tcb --stage canary");
    shop.holds(2, "first.tcb", Some(("second.tcb", "canary", 0.05)));
    let said = does("promote");
    assert!(options.split(' ').chain([WRANGLER]).all(|word| said.contains(word)), "{said}");
    does(&format!("back --sha256 {}", shop.sha256("first.tcb")));
    shop.holds(4, "first.tcb", None);
    let log = fs::read_to_string(shop.at("log")).unwrap();
    let short = |line: &str| {
        let words = line.split(' ').map(|word| if word.starts_with('/') { "FILE" } else { word });
        let line = words.collect::<Vec<_>>().join(" ");
        line.replace(&shop.sha256("first.tcb"), "1").replace(&shop.sha256("second.tcb"), "2")
    };
    log.lines().map(short).collect()
}

#[cfg(unix)]
#[test]
fn wrangler_is_asked_for_what_it_knows() {
    let asked = through_wrangler("r2:shop-bundles", "");
    let first = [
        "r2 object get shop-bundles/release.json --file FILE --remote", // status
        "r2 object get shop-bundles/release.json --file FILE --remote", // bundle
        "r2 object get shop-bundles/bundles/1.tcb --file FILE --remote",
        "r2 object put shop-bundles/bundles/1.tcb --file FILE --remote",
        "r2 object put shop-bundles/release.json --file FILE --remote",
        "r2 object get shop-bundles/release.json --file FILE --remote",
    ];
    assert_eq!(asked[..first.len()], first);
    let local = through_wrangler("r2:shop-bundles", "--local --persist-to state");
    let asked: Vec<String> =
        asked.iter().map(|line| line.replace("--remote", "--local --persist-to state")).collect();
    assert_eq!(local, asked);

    let asked = through_wrangler("kv:0f2a", "");
    let first = [
        "kv key get --namespace-id 0f2a release.json --remote", // status
        "kv key get --namespace-id 0f2a release.json --remote", // bundle
        "kv key put --namespace-id 0f2a bundles/1.tcb --path FILE --remote",
        "kv key put --namespace-id 0f2a release.json --path FILE --remote",
        "kv key get --namespace-id 0f2a release.json --remote",
    ];
    assert_eq!(asked[..first.len()], first);
    let local = through_wrangler("kv:0f2a", "--local");
    let asked: Vec<String> = asked.iter().map(|line| line.replace("--remote", "--local")).collect();
    assert_eq!(local, asked);
}

#[cfg(unix)]
#[test]
fn what_wrangler_says_of_a_failure_is_shown() {
    let shop = Shop::new("r2:locked");
    for command in ["bundle first.tcb", "status"] {
        shop.refuses(&format!("{command} --wrangler {WRANGLER}"), "Authentication error [code: 10000]");
        shop.refuses(&format!("{command} --wrangler {WRANGLER}"), "npx wrangler login");
    }
    shop.refuses("status --wrangler ./none", "./none is not to be found");
    let shop = Shop { store: "kv:locked".into(), ..shop };
    shop.refuses(&format!("status --wrangler {WRANGLER}"), "npx wrangler kv namespace list");
    let shop = Shop { store: "dir:store".into(), ..shop };
    shop.refuses("status --local", "is a folder");
    let shop = Shop { store: "shop".into(), ..shop };
    shop.refuses("status", "write r2:BUCKET");
}
