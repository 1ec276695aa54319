//! Who calls, and what the caller may do: the one configured token everything, a signed one what its claims say.
//!
//! Signatures and times of signed tokens are `tokens.js`'s business; what is read here has been verified.

use std::borrow::Cow;

use serde_json::Value;

use crate::problem::Problem;

/// How [`Caller`] names who presents the configured token.
const OPERATOR: &str = "TIERCAST_TOKEN";

/// What `tokens.js` writes in place of the claims of a token whose time is over.
const EXPIRED: &str = "expired";

/// The audience of a token that names one.
const AUDIENCE: &str = "tiercast";

/// The longest `sub`, in bytes.
const MAX_NAME: usize = 256;

/// What a token may be used for; `admin` for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Score,
    Write,
    Read,
    Admin,
    Watch,
}

/// Scopes by their names in the claim `scope`, with the refusal where one is missing.
const SCOPES: [(&str, &str); 5] = [
    ("score", "the token lacks the scope score"),
    ("write", "the token lacks the scope write"),
    ("read", "the token lacks the scope read"),
    ("admin", "the token lacks the scope admin"),
    ("watch", "the token lacks the scope watch"),
];

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name in the audit: never the token.
    pub(crate) name: Cow<'static, str>,
    /// A bit for each of [`Scope`].
    scopes: u8,
}

impl Caller {
    /// Who presents the configured token.
    pub(crate) const OPERATOR: Self = Self { name: Cow::Borrowed(OPERATOR), scopes: 1 << Scope::Admin as u8 };

    /// Reads verified claims, as one line of JSON.
    ///
    /// # Errors
    /// 401 `token_expired`; 401 `unauthorized` for another audience and for claims that name nobody.
    pub(crate) fn claimed(claims: &str) -> Result<Self, Problem> {
        if claims == EXPIRED {
            let problem = Problem::new(401, "token_expired", "the token's time is over");
            return Err(challenge(problem.hint("get a new token")));
        }
        let claims: Value = serde_json::from_str(claims).unwrap_or_default();
        let audience = match claims.get("aud") {
            None => true,
            Some(Value::Array(list)) => list.iter().any(|audience| audience == AUDIENCE),
            Some(audience) => audience == AUDIENCE,
        };
        let name = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if !audience || name.is_empty() || name.len() > MAX_NAME {
            let message = "the token is not for this worker, or names nobody";
            return Err(challenge(
                Problem::new(401, "unauthorized", message)
                    .hint("a token has a `sub` of 1 to 256 bytes, and the `aud` tiercast or none"),
            ));
        }
        let words = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
        let bit = |word: &str| SCOPES.iter().position(|(name, _)| *name == word).map_or(0, |at| 1 << at);
        let scopes = words.split(' ').fold(0, |scopes, word| scopes | bit(word));
        Ok(Self { name: name.to_owned().into(), scopes })
    }

    /// Lets a caller through who has a scope.
    ///
    /// # Errors
    /// 403 `forbidden`, naming the scope.
    pub(crate) fn must(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0 {
            return Ok(());
        }
        Err(Problem::new(403, "forbidden", SCOPES[scope as usize].1)
            .hint("get a token whose claim `scope` has it; see edge-worker/README.md"))
    }
}

/// With the header that HTTP requires.
fn challenge(problem: Problem) -> Problem {
    problem.header("www-authenticate", "Bearer realm=\"tiercast\", error=\"invalid_token\"")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: [Scope; 5] = [Scope::Score, Scope::Write, Scope::Read, Scope::Admin, Scope::Watch];

    fn code(claims: &str) -> (u16, &'static str) {
        let problem = Caller::claimed(claims).unwrap_err();
        assert_eq!(problem.header.map(|(name, _)| name), Some("www-authenticate"));
        (problem.status, problem.code)
    }

    #[test]
    fn each_scope_opens_what_it_names_and_nothing_else() {
        for (at, scope) in ALL.into_iter().enumerate() {
            let claims = json!({ "sub": "shop", "scope": SCOPES[at].0 }).to_string();
            let caller = Caller::claimed(&claims).unwrap();
            for other in ALL {
                let open = other == scope || scope == Scope::Admin;
                assert_eq!(caller.must(other).is_ok(), open, "{scope:?} for {other:?}");
            }
        }
        let several = Caller::claimed(r#"{"sub":"s","scope":"score  read sing"}"#).unwrap();
        assert!(several.must(Scope::Score).is_ok() && several.must(Scope::Read).is_ok());
        let problem = several.must(Scope::Write).unwrap_err();
        assert_eq!((problem.status, problem.code), (403, "forbidden"));
        assert!(problem.message.ends_with(" write"), "{}", problem.message);
        for scope in ALL {
            assert!(Caller::OPERATOR.must(scope).is_ok());
            for none in [json!({ "sub": "s" }), json!({ "sub": "s", "scope": ["admin"] })] {
                assert!(Caller::claimed(&none.to_string()).unwrap().must(scope).is_err());
            }
        }
    }

    #[test]
    fn claims_name_somebody_and_are_for_us() {
        assert_eq!(Caller::claimed(r#"{"sub":"nightly job"}"#).unwrap().name, "nightly job");
        for audience in [json!("tiercast"), json!(["other", "tiercast"])] {
            assert!(Caller::claimed(&json!({ "sub": "s", "aud": audience }).to_string()).is_ok());
        }
        for claims in [
            json!({ "sub": "s", "aud": "other" }),
            json!({ "sub": "s", "aud": [] }),
            json!({ "sub": "s", "aud": null }),
            json!({ "sub": "" }),
            json!({ "sub": 7 }),
            json!({ "sub": "s".repeat(257) }),
            json!([]),
        ] {
            assert_eq!(code(&claims.to_string()), (401, "unauthorized"), "{claims}");
        }
        assert_eq!(code("not JSON"), (401, "unauthorized"));
        assert_eq!(code("expired"), (401, "token_expired"));
    }
}
