//! What is released: `release.json`, a payload and its signature.
//!
//! The payload is JSON text inside JSON, so that what is signed are bytes and no way of writing JSON matters. Signed are the
//! bytes of [`DOMAIN`] and of the payload, so that the key's signature of anything else is none of a release. What is read is
//! strict: unknown, missing and repeated keys are refused, and so is every number out of its range. The edge worker reads the
//! same; `tests/fixtures/release.json` is a release, signed with the private key of RFC 8032's first test.

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize};

use super::key::{PrivateKey, PublicKey};
use crate::policy::record::digest;

/// The key in the store under which a release lies.
pub const NAME: &str = "release.json";
/// What is signed before the payload.
pub const DOMAIN: &str = "tiercast release 1\n";
/// The largest whole number that JSON's readers agree on.
pub const LARGEST: u64 = (1 << 53) - 1;

const FORMAT: u64 = 1;
const MOST_REQUESTS: u64 = 1_000_000_000;

/// The file: both fields are text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    payload: String,
    signature: String,
}

/// A bundle, by what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

impl Pin {
    /// Of a bundle's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: digest(bytes), bytes: bytes.len() as u64 }
    }

    /// The key in the store under which its bytes lie.
    #[must_use]
    pub fn key(&self) -> String {
        format!("bundles/{}.tcb", self.sha256)
    }

    fn check(&self, of: &str) -> anyhow::Result<()> {
        check_sha256(&self.sha256).with_context(|| format!("{of}.sha256"))?;
        ensure!((1..=LARGEST).contains(&self.bytes), "{of}.bytes is {}; a bundle has bytes", self.bytes);
        Ok(())
    }
}

/// Refuses what is not a SHA-256 as releases write it.
///
/// # Errors
/// When it is none.
pub fn check_sha256(text: &str) -> anyhow::Result<()> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    ensure!(
        text.len() == 64 && text.as_bytes().iter().all(is_digit),
        "{text:?} is not a SHA-256 in 64 lower-case hexadecimal digits"
    );
    Ok(())
}

/// How far a bundle is trusted that is being tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It scores a share of members beside the stable one; its answers are counted and thrown away.
    Shadow,
    /// It answers for a share of members.
    Canary,
}

/// The bundle that is being tried, and when workers give it up by themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Next {
    /// The bundle's SHA-256.
    pub sha256: String,
    /// The bundle's length.
    pub bytes: u64,
    /// How far it is trusted.
    pub stage: Stage,
    /// Of how many members, over 0 and at most 1.
    pub share: f64,
    /// Requests before which it is not judged, 1 to 10⁹.
    pub min_requests: u64,
    /// The share of its requests that may fail, 0 to 1; workers go back to the stable bundle when more do.
    pub max_failures: f64,
}

impl Next {
    /// The bundle.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin { sha256: self.sha256.clone(), bytes: self.bytes }
    }

    fn check(&self) -> anyhow::Result<()> {
        self.pin().check("next")?;
        ensure!(
            self.share > 0.0 && self.share <= 1.0,
            "share is {}; it is a share of members, over 0 and at most 1",
            self.share
        );
        ensure!(
            (1..=MOST_REQUESTS).contains(&self.min_requests),
            "minRequests is {}; it is 1 to {MOST_REQUESTS}",
            self.min_requests
        );
        ensure!(
            (0.0..=1.0).contains(&self.max_failures),
            "maxFailures is {}; it is a share of requests, 0 to 1",
            self.max_failures
        );
        Ok(())
    }
}

/// What is released.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The version of this format, 1.
    pub format: u64,
    /// The release's number, 1 to 2⁵³ − 1. Workers take none that is not above the last that they took.
    pub serial: u64,
    /// The bundle that answers.
    pub stable: Pin,
    /// The bundle that is being tried; none when none is.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
}

/// A field that may be absent and, where it is not, is no null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Next>, D::Error> {
    Next::deserialize(deserializer).map(Some)
}

impl Payload {
    /// A release.
    #[must_use]
    pub fn new(serial: u64, stable: Pin, next: Option<Next>) -> Self {
        Self { format: FORMAT, serial, stable, next }
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.format == FORMAT,
            "its format is {}, and this program knows {FORMAT}; use a newer tiercast",
            self.format
        );
        ensure!((1..=LARGEST).contains(&self.serial), "serial is {}; it is 1 to {LARGEST}", self.serial);
        self.stable.check("stable")?;
        self.next.as_ref().map_or(Ok(()), Next::check)
    }

    /// The text of `release.json`. Equal releases give equal bytes.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn sign(&self, key: &PrivateKey) -> anyhow::Result<String> {
        self.check()?;
        let payload = serde_json::to_string(self)?;
        let signature = BASE64.encode(key.sign(&message(&payload)));
        Ok(serde_json::to_string(&Signed { payload, signature })?)
    }

    /// What `release.json` says, once its signature is verified; without a key it is not.
    ///
    /// # Errors
    /// When it is not of this format, or not signed with the key's private half.
    pub fn open(text: &[u8], key: Option<&PublicKey>) -> anyhow::Result<Self> {
        let Signed { payload, signature } = serde_json::from_slice(text).context("it is damaged")?;
        let signature = BASE64.decode(signature).context("it is damaged: its signature is not base64")?;
        ensure!(signature.len() == 64, "it is damaged: its signature has {} bytes, not 64", signature.len());
        if key.is_some_and(|key| !key.verifies(&message(&payload), &signature)) {
            bail!("its signature is not of this key");
        }
        // A newer format may have other keys, so its number is looked at first.
        if let Ok(Version { format }) = serde_json::from_str(&payload) {
            ensure!(
                format == FORMAT,
                "its format is {format}, and this program knows {FORMAT}; use a newer tiercast"
            );
        }
        let payload: Self = serde_json::from_str(&payload).context("its payload is damaged")?;
        payload.check().context("its payload is damaged")?;
        Ok(payload)
    }
}

/// What a payload of any format has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

fn message(payload: &str) -> Vec<u8> {
    [DOMAIN.as_bytes(), payload.as_bytes()].concat()
}

/// The number of the release after one, or the one wanted.
///
/// # Errors
/// When the one wanted is not above it, or there is none left.
pub fn serial(now: Option<&Payload>, wanted: Option<u64>) -> anyhow::Result<u64> {
    let last = now.map_or(0, |release| release.serial);
    let serial = wanted.unwrap_or(last + 1);
    ensure!(
        serial > last,
        "--serial {serial} is not above the release in place, {last}; workers would not take it: leave --serial out"
    );
    ensure!(serial <= LARGEST, "serial {serial} is over {LARGEST}; make another key pair and begin anew");
    Ok(serial)
}

#[cfg(test)]
mod tests;
