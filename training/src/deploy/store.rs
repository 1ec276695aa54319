//! Where releases lie: an R2 bucket or a KV namespace, through wrangler, or a folder. Values under keys, and nothing more.

use std::{
    fmt, fs,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, ensure};
use indicatif::HumanBytes;

use super::wrangler::Wrangler;
use crate::whole::Whole;

/// What wrangler uploads to R2 at most, and what KV stores under one key.
const R2_LIMIT: u64 = 300 << 20;
const KV_LIMIT: u64 = 25 << 20;

/// A store's name, as `--to` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `r2:BUCKET`
    R2(String),
    /// `kv:NAMESPACE_ID`
    Kv(String),
    /// `dir:PATH`
    Dir(PathBuf),
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (kind, name) = text.split_once(':').unwrap_or_default();
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match kind {
            "r2" => {
                let is_name = (3..=63).contains(&name.len())
                    && name.bytes().all(|byte| inner(byte) && byte != b'_' && !byte.is_ascii_uppercase())
                    && !name.starts_with('-')
                    && !name.ends_with('-');
                ensure!(
                    is_name,
                    "{name:?} is no bucket's name: 3 to 63 lower-case letters, digits and hyphens; \
                     `npx wrangler r2 bucket list` shows yours"
                );
                Ok(Self::R2(name.into()))
            }
            "kv" => {
                let is_id =
                    (1..=64).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-');
                ensure!(
                    is_id,
                    "{name:?} is no namespace's id: 32 hexadecimal digits; `npx wrangler kv namespace list` shows yours"
                );
                Ok(Self::Kv(name.into()))
            }
            "dir" if !name.is_empty() => Ok(Self::Dir(name.into())),
            _ => anyhow::bail!("{text:?} is no store; write r2:BUCKET, kv:NAMESPACE_ID or dir:PATH"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::R2(bucket) => write!(f, "r2:{bucket}"),
            Self::Kv(id) => write!(f, "kv:{id}"),
            Self::Dir(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

/// Where releases lie, and how that is reached.
#[derive(Debug, clap::Args)]
pub struct Store {
    /// The store that workers read: r2:BUCKET, kv:NAMESPACE_ID or dir:PATH.
    #[arg(long = "to", value_name = "STORE")]
    pub address: Address,
    /// How an R2 bucket or a KV namespace is reached.
    #[command(flatten)]
    pub wrangler: Wrangler,
}

impl Store {
    /// Refuses options that the store has no use for.
    ///
    /// # Errors
    /// When a folder is to be reached by wrangler.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !matches!(self.address, Address::Dir(_)) || self.wrangler.is_default(),
            "--local, --persist-to and --wrangler say how r2: and kv: are reached; {} is a folder, so leave them out",
            self.address
        );
        Ok(())
    }

    /// The options that name it, for a command that somebody may give next.
    #[must_use]
    pub fn options(&self) -> String {
        let Wrangler { local, persist_to, wrangler } = &self.wrangler;
        let mut options = format!("--to {}", self.address);
        if *local {
            options += " --local";
        }
        for (name, path) in [("--persist-to", persist_to), ("--wrangler", wrangler)] {
            if let Some(path) = path {
                options += &format!(" {name} {}", path.display());
            }
        }
        options
    }

    /// The value under a key, or none.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn get(&self, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match &self.address {
            Address::R2(bucket) => self.wrangler.r2_get(bucket, key),
            Address::Kv(id) => self.wrangler.kv_get(id, key),
            Address::Dir(folder) => {
                let path = folder.join(key);
                match fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
                }
            }
        }
    }

    /// Puts a value under a key.
    ///
    /// # Errors
    /// When it cannot be written, or is too large for the store.
    pub fn put(&self, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let limit = match &self.address {
            Address::R2(_) => R2_LIMIT,
            Address::Kv(_) => KV_LIMIT,
            Address::Dir(_) => u64::MAX,
        };
        ensure!(
            value.len() as u64 <= limit,
            "{key} has {}, and {} takes {} at most; R2 takes the most",
            HumanBytes(value.len() as u64),
            self.address,
            HumanBytes(limit)
        );
        match &self.address {
            Address::R2(bucket) => self.wrangler.r2_put(bucket, key, value),
            Address::Kv(id) => self.wrangler.kv_put(id, key, value),
            Address::Dir(folder) => write(&folder.join(key), value),
        }
    }

    /// Whether asking for a bundle before it is written costs nothing: KV remembers for a minute that there was none, and a
    /// worker that asks in that minute would be told so.
    #[must_use]
    pub fn may_be_asked_first(&self) -> bool {
        !matches!(self.address, Address::Kv(_))
    }

    /// How long to wait before each look at what was written. KV shows the old value for up to a minute.
    #[must_use]
    pub fn waits(&self) -> &'static [Duration] {
        const ONCE: &[Duration] = &[Duration::ZERO];
        const KV: &[Duration] = &[
            Duration::ZERO,
            Duration::from_secs(5),
            Duration::from_secs(10),
            Duration::from_secs(15),
            Duration::from_secs(20),
            Duration::from_secs(20),
            Duration::from_secs(20),
        ];
        if matches!(self.address, Address::Kv(_)) && !self.wrangler.local { KV } else { ONCE }
    }
}

/// Writes a file that appears whole, and is on the disk when this returns.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(cannot)?;
    let (whole, mut file) = Whole::create(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(cannot)?;
    whole.appear()?;
    // The name is in the folder, which elsewhere than on Unix cannot be opened.
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_or_refused() {
        let good = [
            "r2:shop-bundles",
            "kv:0f2ac74b498b48028cb68387c421e279",
            "kv:releases",
            "dir:out/store",
            "dir:C:\\x",
        ];
        for text in good {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let bad = [
            "",
            "r2",
            "r2:",
            "r2:ab",
            "r2:Shop",
            "r2:a_b",
            "r2:-ab",
            "r2:ab-",
            "r2:a/b/c",
            "kv:",
            "kv:--local",
            "kv:a b",
            "dir:",
            "s3:bucket",
            "shop",
        ];
        for text in bad {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_folder_keeps_what_is_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { address: Address::Dir(folder.path().join("new")), wrangler: Wrangler::default() };
        assert_eq!(store.get("a/b").unwrap(), None);
        store.put("a/b", b"1").unwrap();
        store.put("a/b", b"2").unwrap();
        assert_eq!(store.get("a/b").unwrap().unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path().join("new/a")).unwrap().count(), 1);
        // A folder in a value's place is no missing value.
        assert!(store.get("a").is_err());
        store.check().unwrap();
        let local = Wrangler { local: true, ..Wrangler::default() };
        assert!(Store { wrangler: local, ..store }.check().is_err());
    }

    #[test]
    fn what_kv_cannot_hold_is_refused_before_it_is_sent() {
        let wrangler = Wrangler { wrangler: Some("/none".into()), ..Wrangler::default() };
        let store = Store { address: Address::Kv("id".into()), wrangler };
        let error = store.put("key", &vec![0; (25 << 20) + 1]).unwrap_err();
        assert!(error.to_string().contains("25.00 MiB at most"), "{error}");
    }
}
