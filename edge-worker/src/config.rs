//! The worker's settings, read from `[vars]` and secrets. A setting that cannot be read stops the worker:
//! a limit that is silently wider than what was written is worse than a 503.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::Serialize;

use crate::{auth::Token, problem::Problem};

/// The secret that protects every route but `/healthz`.
pub(crate) const TOKEN: &str = "TIERCAST_TOKEN";

/// The shortest token that counts as one.
pub(crate) const MIN_TOKEN: usize = 16;

/// The shortest secret that keys are made of.
const MIN_SECRET: usize = 32;

/// The secret that stored members' names are hidden with.
const MEMBER_KEY: &str = "TIERCAST_MEMBER_KEY";

/// The secrets that stored members are encrypted with: one, or the new and the old one. `seal.js` uses them.
const STATE_KEY: &str = "TIERCAST_STATE_KEY";

/// What signed tokens are verified with, which `tokens.js` does: secrets, and an Ed25519 key in base64.
const JWT_SECRET: &str = "TIERCAST_JWT_SECRET";
const JWT_PUBLIC_KEY: &str = "TIERCAST_JWT_PUBLIC_KEY";

/// What releases of a store of bundles are verified with, which `bundles.js` does: an Ed25519 key in base64.
const RELEASE_KEY: &str = "TIERCAST_RELEASE_KEY";

/// Bytes of an Ed25519 key, and what may stand before them: its kind, as RFC 8410 writes it.
const PUBLIC_KEY: usize = 32;
const KIND: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

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
    /// Whether signed tokens can be verified.
    pub(crate) signed: bool,
    /// What members' names are hidden with, or why none can be stored.
    pub(crate) member_key: Result<Secret, Problem>,
}

/// A secret that nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
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
        // `tokens.js` reads it again.
        number("TIERCAST_JWT_LEEWAY_S", 0, 0, 60)?;
        // And `bundles.js` these two.
        number("TIERCAST_RELEASE_SECONDS", 60, 1, 86_400)?;
        let keys = words(RELEASE_KEY);
        if keys.len() > 1 || !keys.iter().all(is_key) {
            return Err(Problem::new(
                503,
                "invalid_configuration",
                format!("{RELEASE_KEY} is no Ed25519 key in base64"),
            )
            .hint("set it to what `tiercast deploy key` printed"));
        }
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
            signed: signed(&words(JWT_SECRET), &words(JWT_PUBLIC_KEY))?,
            member_key: member_key(words(MEMBER_KEY), &words(STATE_KEY)),
        })
    }

    /// The value of `Access-Control-Allow-Origin` for a request from `origin`, if it may be answered.
    pub(crate) fn allowed_origin<'a>(&'a self, origin: Option<&'a str>) -> Option<&'a str> {
        let origin = origin?;
        let known = self.allow_origins.iter().find(|allowed| *allowed == "*" || *allowed == origin)?;
        Some(if known == "*" { "*" } else { origin })
    }
}

/// Whether there is a key to verify signed tokens with. A key that is no key stops the worker.
fn signed(secrets: &[String], public: &[String]) -> Result<bool, Problem> {
    let (secrets_fit, public_fits) =
        (are_secrets(secrets, 2), public.len() == 1 && public.iter().all(is_key));
    if (secrets_fit || secrets.is_empty()) && (public_fits || public.is_empty()) {
        return Ok(secrets_fit || public_fits);
    }
    let message = format!(
        "{JWT_SECRET} is not one or two secrets of {MIN_SECRET} characters, or {JWT_PUBLIC_KEY} no Ed25519 key in base64"
    );
    Err(Problem::new(503, "invalid_configuration", message)
        .hint("set it again with `npx wrangler secret put`, or delete it with `npx wrangler secret delete`"))
}

/// Whether a text is an Ed25519 key in base64.
fn is_key(text: &String) -> bool {
    let bytes = BASE64.decode(text).unwrap_or_default();
    bytes.strip_prefix(&KIND).unwrap_or(&bytes).len() == PUBLIC_KEY
}

/// The secret that members' names are hidden with, where the one that they are encrypted with is there as well.
fn member_key(mut name: Vec<String>, state: &[String]) -> Result<Secret, Problem> {
    let message = if !are_secrets(&name, 1) {
        format!("the secret {MEMBER_KEY} is not set, or is not one of {MIN_SECRET} characters or more")
    } else if !are_secrets(state, 2) {
        format!("the secret {STATE_KEY} is not set, or is not one or two of {MIN_SECRET} characters or more")
    } else {
        return Ok(Secret(name.remove(0)));
    };
    Err(Problem::new(503, "members_not_configured", message)
        .hint("run `npx wrangler secret put TIERCAST_MEMBER_KEY`, and the same for TIERCAST_STATE_KEY"))
}

fn are_secrets(words: &[String], most: usize) -> bool {
    (1..=most).contains(&words.len()) && words.iter().all(|word| word.len() >= MIN_SECRET)
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
    fn members_need_both_secrets_long_enough() {
        let (one, two) = ("k".repeat(32), format!("{} {}", "a".repeat(32), "b".repeat(40)));
        let code = |vars: &[(&str, &str)]| read(vars).unwrap().member_key.map_err(|problem| problem.code);
        assert_eq!(code(&[(MEMBER_KEY, &*one), (STATE_KEY, &*two)]), Ok(Secret(one.clone())));
        let (one, two) = (&*one, &*two);
        for (name, state) in [("", one), (one, ""), (&one[1..], one), (one, &two[22..]), (two, one)] {
            assert_eq!(
                code(&[(MEMBER_KEY, name), (STATE_KEY, state)]),
                Err("members_not_configured"),
                "{name}, {state}"
            );
        }
        let three = format!("{two} {one}");
        assert_eq!(code(&[(MEMBER_KEY, one), (STATE_KEY, &*three)]), Err("members_not_configured"));
        assert!(!format!("{:?}", read(&[(MEMBER_KEY, one), (STATE_KEY, two)])).contains("kkk"));
    }

    #[test]
    fn what_is_no_key_for_tokens_stops_the_worker() {
        let (secret, key) = ("s".repeat(32), BASE64.encode([7; 32]));
        assert!(!read(&[]).unwrap().signed);
        assert!(read(&[(JWT_SECRET, &*secret)]).unwrap().signed);
        assert!(read(&[(JWT_PUBLIC_KEY, &*key)]).unwrap().signed);
        let kind = BASE64.encode([&KIND[..], &[7; 32]].concat());
        assert!(read(&[(JWT_PUBLIC_KEY, &*kind), (JWT_SECRET, &*secret)]).unwrap().signed);
        for (name, value) in [
            (JWT_SECRET, &secret[1..]),
            (JWT_SECRET, &*format!("{secret} short")),
            (JWT_PUBLIC_KEY, "AAAA"),
            (JWT_PUBLIC_KEY, &*BASE64.encode([7; 44])),
            (JWT_PUBLIC_KEY, "-----BEGIN PUBLIC KEY-----"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().code, "invalid_configuration", "{value}");
        }
    }

    #[test]
    fn a_key_of_releases_that_is_none_stops_the_worker() {
        assert!(
            read(&[(RELEASE_KEY, &*BASE64.encode([7; 32]))]).is_ok() && read(&[(RELEASE_KEY, "")]).is_ok()
        );
        for (name, value) in [(RELEASE_KEY, "AAAA"), ("TIERCAST_RELEASE_SECONDS", "0")] {
            assert_eq!(read(&[(name, value)]).unwrap_err().code, "invalid_configuration");
        }
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
