//! The answer to a request, before it becomes the runtime's response.

use std::borrow::Cow;

use crate::{config::Config, problem::Problem};

/// Status, headers and a JSON body, which a HEAD request is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("content-type", "application/json".into())], body }
    }

    /// The answer to Prometheus.
    pub(crate) fn metrics(body: String) -> Self {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        Self { status: 200, headers: vec![("content-type", kind.into())], body: body.into_bytes() }
    }

    /// Whether it carries nothing but JSON that was asked for.
    pub(crate) fn is_usual(&self) -> bool {
        self.status == 200 && matches!(&*self.headers, [(_, kind)] if kind == "application/json")
    }

    /// An answer that says nothing.
    pub(crate) fn empty() -> Self {
        Self { status: 204, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn refused(problem: &Problem) -> Self {
        let mut reply = Self::json(problem.status, problem.json());
        reply.headers.extend(problem.header.map(|(name, value)| (name, value.into())));
        reply
    }

    /// The answer to a preflight from an allowed origin.
    pub(crate) fn preflight() -> Self {
        let headers = [
            ("access-control-allow-methods", "GET, HEAD, POST, PUT, DELETE"),
            ("access-control-allow-headers", "authorization, content-type"),
            ("access-control-max-age", "86400"),
        ];
        Self { headers: headers.map(|(name, value)| (name, value.into())).to_vec(), ..Self::empty() }
    }

    /// Adds what every answer carries.
    pub(crate) fn finish(mut self, origin: Option<&str>, config: Option<&Config>) -> Self {
        self.headers.push(("cache-control", "no-store".into()));
        self.headers.push(("x-content-type-options", "nosniff".into()));
        if let Some(config) = config.filter(|config| !config.allow_origins.is_empty()) {
            self.headers.push(("vary", "Origin".into()));
            if let Some(allowed) = config.allowed_origin(origin) {
                self.headers.push(("access-control-allow-origin", allowed.to_owned().into()));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| &**value)
    }

    #[test]
    fn nothing_is_cached_and_cors_is_off_unless_configured() {
        let reply = Reply::json(200, b"{}".to_vec()).finish(Some("https://shop.example"), None);
        assert_eq!(header(&reply, "cache-control"), Some("no-store"));
        assert_eq!(header(&reply, "access-control-allow-origin"), None);
        let config =
            Config::read(|name| (name == "TIERCAST_ALLOW_ORIGIN").then(|| "https://shop.example".into()))
                .unwrap();
        let reply = Reply::json(200, Vec::new()).finish(Some("https://shop.example"), Some(&config));
        assert_eq!(header(&reply, "access-control-allow-origin"), Some("https://shop.example"));
        let reply = Reply::json(200, Vec::new()).finish(Some("https://evil.example"), Some(&config));
        assert_eq!(
            (header(&reply, "access-control-allow-origin"), header(&reply, "vary")),
            (None, Some("Origin"))
        );
    }

    #[test]
    fn required_headers_follow_their_status() {
        let problem = Problem::new(405, "method_not_allowed", "POST only").header("allow", "POST");
        assert_eq!(header(&Reply::refused(&problem), "allow"), Some("POST"));
    }
}
