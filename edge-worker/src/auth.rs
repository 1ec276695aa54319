//! Bearer tokens. Without a configured token, or a key for signed ones, nothing is served: the worker is never open by
//! accident.

use std::hint::black_box;

use sha2::{Digest, Sha256};

use crate::{
    claims::Caller,
    config::{Config, MIN_TOKEN},
    problem::Problem,
    route::Head,
};

/// A token that callers may present, as its SHA-256: comparing hashes tells nothing of how close a guess was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(crate) fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether these are the same, in a time that does not depend on where they differ.
    fn matches(&self, other: &Self) -> bool {
        black_box(self.0.iter().zip(&other.0).fold(0, |difference, (a, b)| difference | (a ^ b))) == 0
    }
}

/// Who calls: by the configured token, or else by verified claims.
///
/// # Errors
/// Those of [`check`] and of [`Caller::claimed`].
pub(crate) fn caller(head: Head<'_>, config: &Config) -> Result<Caller, Problem> {
    match (check(head.authorization, &config.tokens), head.claims) {
        (Ok(()), _) => Ok(Caller::OPERATOR),
        (Err(_), Some(claims)) => Caller::claimed(claims),
        (Err(_), None) if config.signed => Err(unauthorized()),
        (Err(problem), None) => Err(problem),
    }
}

/// Lets a request through if its `Authorization` header carries one of `tokens`.
///
/// # Errors
/// 503 `token_not_configured` without tokens, 401 `unauthorized` for any header that does not match.
pub(crate) fn check(authorization: Option<&str>, tokens: &[Token]) -> Result<(), Problem> {
    if tokens.is_empty() {
        return Err(Problem::new(
            503,
            "token_not_configured",
            format!("the secret TIERCAST_TOKEN is not set, or is shorter than {MIN_TOKEN} characters"),
        )
        .hint("run `npx wrangler secret put TIERCAST_TOKEN`"));
    }
    let given = Token::of(authorization.and_then(bearer).unwrap_or_default());
    let matched = tokens.iter().fold(false, |found, token| found | token.matches(&given));
    if matched {
        return Ok(());
    }
    Err(unauthorized())
}

fn unauthorized() -> Problem {
    Problem::new(401, "unauthorized", "a valid bearer token is required")
        .hint("send the header `Authorization: Bearer <TIERCAST_TOKEN>`")
        .header("www-authenticate", "Bearer realm=\"tiercast\"")
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn only_the_exact_token_passes() {
        let tokens = [Token::of(TOKEN), Token::of("another-token-0001")];
        for header in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef ", "Bearer another-token-0001"] {
            assert_eq!(check(Some(header), &tokens), Ok(()), "{header}");
        }
        for header in [
            "",
            "Bearer",
            "Bearer ",
            "0123456789abcdef",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789ABCDEF",
            "Bearer 0123456789abcdef another-token-0001",
        ] {
            assert_eq!(check(Some(header), &tokens).unwrap_err().status, 401, "{header:?}");
        }
        assert_eq!(check(None, &tokens).unwrap_err().code, "unauthorized");
    }

    #[test]
    fn claims_count_where_the_token_does_not_match() {
        let config = |tokens: &[&str], signed| {
            let tokens = tokens.iter().map(|token| Token::of(token)).collect();
            Config { tokens, signed, ..Config::read(|_| None).unwrap() }
        };
        let claims = Some(r#"{"sub":"shop","scope":"score"}"#);
        let head = |authorization, claims| Head { authorization, claims, ..Head::default() };
        let both = config(&[TOKEN], true);
        let known = Some("Bearer 0123456789abcdef");
        assert_eq!(caller(head(known, None), &both), Ok(Caller::OPERATOR));
        assert_eq!(caller(head(known, Some("expired")), &both), Ok(Caller::OPERATOR));
        assert_eq!(caller(head(Some("Bearer ey"), claims), &both).unwrap().name, "shop");
        assert_eq!(
            caller(head(Some("Bearer ey"), Some("expired")), &both).unwrap_err().code,
            "token_expired"
        );
        for config in [both, config(&[], true)] {
            assert_eq!(caller(head(None, None), &config).unwrap_err().code, "unauthorized");
        }
        assert_eq!(caller(head(None, None), &config(&[], false)).unwrap_err().code, "token_not_configured");
    }

    #[test]
    fn without_a_token_nothing_passes() {
        for header in [None, Some("Bearer "), Some("Bearer 0123456789abcdef")] {
            let problem = check(header, &[]).unwrap_err();
            assert_eq!((problem.status, problem.code), (503, "token_not_configured"));
        }
    }
}
