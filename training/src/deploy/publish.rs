//! A release that is being made: what is in place is read, and what follows it is shown and written, its bundle first.

use std::thread;

use anyhow::{Context, anyhow, bail, ensure};
use indicatif::HumanBytes;

use super::{
    Change,
    key::{self, PrivateKey},
    release::{self, Next, Payload, Pin, Stage},
    store::Store,
};
use crate::log;

/// A release that is being made: what is in place, and by which key.
pub(super) struct Release<'a> {
    pub(super) change: &'a Change,
    key: PrivateKey,
    /// What is in place.
    pub(super) now: Option<Payload>,
}

impl<'a> Release<'a> {
    /// Reads what is in place.
    pub(super) fn begin(change: &'a Change) -> anyhow::Result<Self> {
        change.store.check()?;
        let key = PrivateKey::read(&change.key)?;
        let now = change.store.get(release::NAME)?;
        let now = now.map(|text| Payload::open(&text, Some(&key.public()))).transpose().map_err(|refused| {
            anyhow!(
                "{} in {} is not followed by a release of {}: {refused:#}\nIf it is of another key, use that one: workers have its \
                 public half in {}. If it is damaged, or workers have a new key, delete it from the store and release with \
                 --stage full and a --serial above all that workers have taken",
                release::NAME,
                change.store.address,
                change.key.display(),
                key::SETTING
            )
        })?;
        Ok(Self { change, key, now })
    }

    pub(super) fn in_place(&self) -> anyhow::Result<&Payload> {
        self.now.as_ref().with_context(|| {
            format!(
                "nothing is released in {} yet; `tiercast deploy bundle` makes the first release",
                self.change.store.address
            )
        })
    }

    pub(super) fn on_trial(&self) -> anyhow::Result<(&Payload, &Next)> {
        let now = self.in_place()?;
        let next = now.next.as_ref().with_context(|| {
            format!(
                "no bundle is on trial in {}; `tiercast deploy bundle --stage canary` begins a trial",
                self.change.store.address
            )
        })?;
        Ok((now, next))
    }

    /// The bytes of a bundle that the store must still have.
    pub(super) fn kept(&self, pin: &Pin) -> anyhow::Result<Vec<u8>> {
        let (key, store) = (pin.key(), &self.change.store);
        let bytes = store.get(&key)?.with_context(|| {
            format!("{} has no {key}; release it from its file with `tiercast deploy bundle`", store.address)
        })?;
        ensure!(
            Pin::of(&bytes).sha256 == pin.sha256,
            "{key} in {} is damaged: its hash is another; release it from its file with `tiercast deploy bundle`",
            store.address
        );
        Ok(bytes)
    }

    /// Shows the plan and carries it out: a bundle first, then the release.
    pub(super) fn publish(
        &self,
        stable: Pin,
        next: Option<Next>,
        bundle: Option<(&Pin, &[u8])>,
    ) -> anyhow::Result<()> {
        let store = &self.change.store;
        let serial = release::serial(self.now.as_ref(), self.change.serial)?;
        let payload = Payload::new(serial, stable, next);
        let text = payload.sign(&self.key)?;
        if let Some(now) = &self.now {
            ensure!(
                (&now.stable, &now.next) != (&payload.stable, &payload.next),
                "that is what is released already, as release {}",
                now.serial
            );
        }
        show(store, self.now.as_ref());
        say!("{} release {serial}:", if self.change.dry_run { "would become" } else { "becomes" });
        lines(&payload).iter().for_each(|line| say!("{line}"));
        if self.change.dry_run {
            say!("nothing was written");
            return Ok(());
        }
        if let Some((pin, bytes)) = bundle {
            upload(store, pin, bytes)?;
        }
        store.put(release::NAME, text.as_bytes())?;
        self.settled(&text)?;
        say!("release {serial} is in place");
        if let Some(now) = self.now.as_ref().filter(|now| now.stable != payload.stable) {
            say!(
                "back to the bundle before: tiercast deploy back {} --key {} --sha256 {}",
                store.options(),
                self.change.key.display(),
                now.stable.sha256
            );
        }
        Ok(())
    }

    /// Reads the release back until it is what was written.
    fn settled(&self, text: &str) -> anyhow::Result<()> {
        let store = &self.change.store;
        for wait in store.waits() {
            if !wait.is_zero() {
                log::note("it does not read back yet; KV takes up to a minute");
                thread::sleep(*wait);
            }
            if store.get(release::NAME)?.is_some_and(|found| found == text.as_bytes()) {
                return Ok(());
            }
        }
        bail!(
            "{} was written to {} and reads back as something else: somebody else may have released at the same moment; look \
             with `tiercast deploy status`, and release again",
            release::NAME,
            store.address
        );
    }
}

/// Puts a bundle under its hash, where it is not there already.
fn upload(store: &Store, pin: &Pin, bytes: &[u8]) -> anyhow::Result<()> {
    let key = pin.key();
    if store.may_be_asked_first() && store.get(&key)?.is_some_and(|found| Pin::of(&found) == *pin) {
        say!("{key} is there already");
        return Ok(());
    }
    store.put(&key, bytes)?;
    say!("{key} is uploaded");
    Ok(())
}

/// Says what a store holds.
pub(super) fn show(store: &Store, now: Option<&Payload>) {
    match now {
        None => say!("{}: nothing is released there yet", store.address),
        Some(now) => {
            say!("{}: release {}", store.address, now.serial);
            lines(now).iter().for_each(|line| say!("{line}"));
        }
    }
}

/// What a release holds, for people.
fn lines(payload: &Payload) -> Vec<String> {
    let line =
        |name, pin: &Pin, words: &str| format!("  {name}  {}  {}{words}", pin.sha256, HumanBytes(pin.bytes));
    let mut lines = vec![line("stable", &payload.stable, "")];
    if let Some(next) = &payload.next {
        let (name, does) = match next.stage {
            Stage::Shadow => ("shadow", "scores"),
            Stage::Canary => ("canary", "answers"),
        };
        let Next { share, min_requests, max_failures, .. } = next;
        lines.push(line(name, &next.pin(), ""));
        lines.push(format!(
            "          {does} {share} of members; given up when more than {max_failures} of its requests fail, from {min_requests} on"
        ));
    }
    lines
}
