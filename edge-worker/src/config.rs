//! The worker's settings, read from `[vars]` and one secret. A setting that cannot be read stops the worker:
//! a limit that is silently wider than what was written is worse than a 503.

use serde::Serialize;

use crate::{auth::Token, problem::Problem};

/// The secret that protects every route but `/healthz`.
pub(crate) const TOKEN: &str = "TIERCAST_TOKEN";

/// The shortest token that counts as one.
pub(crate) const MIN_TOKEN: usize = 16;

/// What one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limits {
    /// Bytes of a request body.
    pub(crate) body_bytes: usize,
    /// Members in one batch.
    pub(crate) members: usize,
    /// Events of one member; of these the newest are kept, as many as the bundle's capacity.
    pub(crate) events: usize,
    /// Milliseconds after which a batch stops between members.
    pub(crate) time_ms: u64,
}

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) limits: Limits,
    /// Origins that browsers may call from; empty means that CORS is off.
    pub(crate) allow_origins: Vec<String>,
    /// Tokens of which a caller must present one; several while one is being replaced.
    pub(crate) tokens: Vec<Token>,
}

impl Config {
    /// Reads the settings through `var`, which returns a variable or secret by name.
    pub(crate) fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        let number = |name: &'static str, default: u64, low: u64, high: u64| match var(name) {
            None => Ok(default),
            Some(text) => match text.trim().parse::<u64>() {
                Ok(n) if (low..=high).contains(&n) => Ok(n),
                _ => Err(Problem::new(
                    503,
                    "invalid_configuration",
                    format!("{name} is not a whole number from {low} to {high}"),
                )
                .hint("correct [vars] in wrangler.toml and deploy again")),
            },
        };
        let words = |name: &str| -> Vec<String> {
            let text = var(name).unwrap_or_default();
            text.split([' ', ',', '\n', '\t', '\r']).filter(|w| !w.is_empty()).map(str::to_owned).collect()
        };
        let mut tokens = words(TOKEN);
        tokens.retain(|token| token.len() >= MIN_TOKEN);
        Ok(Self {
            limits: Limits {
                body_bytes: number("TIERCAST_MAX_BODY_BYTES", 1 << 20, 1 << 10, 16 << 20)? as usize,
                members: number("TIERCAST_MAX_MEMBERS", 256, 1, 4096)? as usize,
                events: number("TIERCAST_MAX_EVENTS", 10_000, 1, 100_000)? as usize,
                time_ms: number("TIERCAST_TIME_LIMIT_MS", 2_000, 1, 60_000)?,
            },
            allow_origins: words("TIERCAST_ALLOW_ORIGIN"),
            tokens: tokens.iter().map(|token| Token::of(token)).collect(),
        })
    }

    /// The value of `Access-Control-Allow-Origin` for a request from `origin`, if it may be answered.
    pub(crate) fn allowed_origin<'a>(&'a self, origin: Option<&'a str>) -> Option<&'a str> {
        let origin = origin?;
        let known = self.allow_origins.iter().find(|allowed| *allowed == "*" || *allowed == origin)?;
        Some(if known == "*" { "*" } else { origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, Problem> {
        Config::read(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = read(&[]).unwrap();
        assert_eq!(
            config.limits,
            Limits { body_bytes: 1_048_576, members: 256, events: 10_000, time_ms: 2_000 }
        );
        assert!(config.allow_origins.is_empty() && config.tokens.is_empty());
    }

    #[test]
    fn a_setting_that_is_no_number_or_out_of_range_is_refused() {
        for value in ["", "many", "-1", "0", "1e3", "99999999999999999999"] {
            let problem = read(&[("TIERCAST_MAX_MEMBERS", value)]).unwrap_err();
            assert_eq!((problem.status, problem.code), (503, "invalid_configuration"), "{value}");
        }
        assert_eq!(read(&[("TIERCAST_MAX_MEMBERS", " 8 ")]).unwrap().limits.members, 8);
    }

    #[test]
    fn short_tokens_do_not_count_and_several_may_be_valid_at_once() {
        assert!(read(&[(TOKEN, "short")]).unwrap().tokens.is_empty());
        let both = read(&[(TOKEN, "0123456789abcdef fedcba9876543210\n")]).unwrap();
        assert_eq!(both.tokens.len(), 2);
    }

    #[test]
    fn only_listed_origins_are_allowed() {
        let config =
            read(&[("TIERCAST_ALLOW_ORIGIN", "https://shop.example, https://m.shop.example")]).unwrap();
        assert_eq!(config.allowed_origin(Some("https://m.shop.example")), Some("https://m.shop.example"));
        assert_eq!(config.allowed_origin(Some("https://evil.example")), None);
        assert_eq!(config.allowed_origin(None), None);
        assert_eq!(read(&[]).unwrap().allowed_origin(Some("https://shop.example")), None);
        let any = read(&[("TIERCAST_ALLOW_ORIGIN", "*")]).unwrap();
        assert_eq!(any.allowed_origin(Some("https://shop.example")), Some("*"));
    }
}
