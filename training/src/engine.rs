//! Where queries run: in this process, or on a cluster of Apache DataFusion Ballista.
//!
//! Invariant: the same plan with the same functions, and so the same answer by bits.

use std::str::FromStr;

use anyhow::{Context, bail};
use datafusion::error::DataFusionError;
use url::Url;

/// The engine that a command's queries run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// DataFusion in this process.
    #[default]
    Embedded,
    /// Ballista, by the address of its scheduler, `http://host:port`.
    Ballista(String),
}

/// The port of a scheduler whose address names none.
pub const SCHEDULER_PORT: u16 = 50050;

impl FromStr for Engine {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        const FORMS: &str = "give `embedded` or `ballista://host:port`";
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "ballista").context(FORMS)?;
        let host = url.host_str().filter(|host| !host.is_empty()).context(FORMS)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            bail!(FORMS);
        }
        if cfg!(not(feature = "cluster")) {
            bail!("this build knows no cluster; build it with `--features cluster`");
        }
        Ok(Self::Ballista(format!("http://{host}:{}", url.port().unwrap_or(SCHEDULER_PORT))))
    }
}

/// What a connection says that is no more.
const GONE: [&str; 7] = [
    "transport error",
    "h2 protocol error",
    "Connection refused",
    "connection error",
    "tcp connect error",
    "Stream closed",
    "ConnectionReset",
];

impl Engine {
    /// Whether an answer that broke off can be gone on with: on a cluster, if a part of it was there, or a process was not.
    pub(crate) fn may_give_the_rest(&self, error: &DataFusionError, has_begun: bool) -> bool {
        let text = error.to_string();
        *self != Self::Embedded && (has_begun || GONE.iter().any(|mark| text.contains(mark)))
    }

    /// A query's failure as a person reads it.
    pub(crate) fn explain(&self, error: DataFusionError) -> anyhow::Error {
        let plain = crate::table::plain(&error);
        match self {
            Self::Embedded => plain,
            Self::Ballista(url) => {
                let text = plain.to_string();
                if GONE.iter().any(|mark| text.contains(mark)) {
                    return plain.context(format!(
                        "the scheduler at {url} cannot be reached, or went away while it worked; see that \
                         `tiercast cluster scheduler` runs there and give the command again: nothing half-written is left"
                    ));
                }
                plain.context(format!("the cluster at {url} could not finish"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_the_forms() {
        assert_eq!("embedded".parse::<Engine>().unwrap(), Engine::Embedded);
        for bad in ["", "spark", "ballista", "ballista://", "http://host:1", "ballista://host:1/path"] {
            let error = bad.parse::<Engine>().unwrap_err().to_string();
            assert!(error.contains("ballista://host:port"), "{bad}: {error}");
        }
        let address = "ballista://shop.internal:6000".parse::<Engine>();
        if cfg!(feature = "cluster") {
            assert_eq!(address.unwrap(), Engine::Ballista("http://shop.internal:6000".into()));
            let usual = "ballista://[::1]".parse::<Engine>().unwrap();
            assert_eq!(usual, Engine::Ballista("http://[::1]:50050".into()));
        } else {
            assert!(address.unwrap_err().to_string().contains("--features cluster"));
        }
    }
}
