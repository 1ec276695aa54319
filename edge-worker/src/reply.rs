//! The answer to a request, before it becomes the runtime's response.

use crate::{config::Config, problem::Problem};

/// Status, headers and a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("content-type", "application/json".to_owned())], body }
    }

    pub(crate) fn refused(problem: &Problem) -> Self {
        let mut reply = Self::json(problem.status, problem.json());
        reply.headers.extend(problem.header.map(|(name, value)| (name, value.to_owned())));
        reply
    }

    /// The answer to a preflight from an allowed origin.
    pub(crate) fn preflight() -> Self {
        let headers = [
            ("access-control-allow-methods", "GET, HEAD, POST"),
            ("access-control-allow-headers", "authorization, content-type"),
            ("access-control-max-age", "86400"),
        ];
        Self {
            status: 204,
            headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(),
            body: Vec::new(),
        }
    }

    /// Adds what every answer carries, and drops the body where HTTP has none.
    pub(crate) fn finish(mut self, method: &str, origin: Option<&str>, config: Option<&Config>) -> Self {
        self.headers.push(("cache-control", "no-store".to_owned()));
        self.headers.push(("x-content-type-options", "nosniff".to_owned()));
        if let Some(config) = config.filter(|config| !config.allow_origins.is_empty()) {
            self.headers.push(("vary", "Origin".to_owned()));
            if let Some(allowed) = config.allowed_origin(origin) {
                self.headers.push(("access-control-allow-origin", allowed.to_owned()));
            }
        }
        if method == "HEAD" {
            self.body.clear();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn nothing_is_cached_and_cors_is_off_unless_configured() {
        let reply = Reply::json(200, b"{}".to_vec()).finish("GET", Some("https://shop.example"), None);
        assert_eq!(header(&reply, "cache-control"), Some("no-store"));
        assert_eq!(header(&reply, "access-control-allow-origin"), None);
        let config =
            Config::read(|name| (name == "TIERCAST_ALLOW_ORIGIN").then(|| "https://shop.example".into()))
                .unwrap();
        let reply = Reply::json(200, Vec::new()).finish("GET", Some("https://shop.example"), Some(&config));
        assert_eq!(header(&reply, "access-control-allow-origin"), Some("https://shop.example"));
        let reply = Reply::json(200, Vec::new()).finish("GET", Some("https://evil.example"), Some(&config));
        assert_eq!(
            (header(&reply, "access-control-allow-origin"), header(&reply, "vary")),
            (None, Some("Origin"))
        );
    }

    #[test]
    fn head_has_the_headers_of_get_and_no_body() {
        let reply = Reply::json(200, b"{}".to_vec()).finish("HEAD", None, None);
        assert_eq!((reply.body.len(), header(&reply, "content-type")), (0, Some("application/json")));
    }

    #[test]
    fn required_headers_follow_their_status() {
        let problem = Problem::new(405, "method_not_allowed", "POST only").header("allow", "POST");
        assert_eq!(header(&Reply::refused(&problem), "allow"), Some("POST"));
    }
}
