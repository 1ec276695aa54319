//! A request body, bounded before and while it is read.

use crate::problem::Problem;

/// JSON values in one body. A value costs tens of bytes once parsed, so that a body of bare commas could
/// otherwise take thirty times its length.
const MAX_VALUES: usize = 250_000;

/// Headers that describe a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BodyHeaders<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) content_encoding: Option<&'a str>,
    pub(crate) content_length: Option<&'a str>,
}

/// Collects a body up to a limit.
#[derive(Debug)]
pub(crate) struct Body {
    limit: usize,
    bytes: Vec<u8>,
}

impl Body {
    /// Starts reading a body of at most `limit` bytes, if its headers allow it.
    ///
    /// # Errors
    /// 415 unless the body is plain JSON, 413 when its stated length is over the limit.
    pub(crate) fn begin(headers: BodyHeaders<'_>, limit: usize) -> Result<Self, Problem> {
        let media_type = headers.content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        if !media_type.trim().eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(415, "unsupported_media_type", "the body must be JSON")
                .hint("send the header `Content-Type: application/json`"));
        }
        if headers.content_encoding.is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
            return Err(Problem::new(415, "unsupported_encoding", "the body must not be compressed"));
        }
        let stated = headers.content_length.and_then(|length| length.trim().parse::<usize>().ok());
        if stated.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        Ok(Self { limit, bytes: Vec::with_capacity(stated.unwrap_or_default()) })
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// 413 as soon as the limit is passed, whatever the headers said.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), Problem> {
        if chunk.len() > self.limit - self.bytes.len() {
            return Err(too_large(self.limit));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 when it holds more JSON values than would fit in memory.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Problem> {
        let values = self.bytes.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
        if values > MAX_VALUES {
            return Err(Problem::new(
                413,
                "too_many_values",
                format!("the body holds over {MAX_VALUES} JSON values"),
            )
            .hint("send fewer members at a time"));
        }
        Ok(self.bytes)
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(413, "body_too_large", format!("the body is over {limit} bytes"))
        .hint("send fewer members at a time, or raise TIERCAST_MAX_BODY_BYTES")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(
        content_type: &str,
        content_encoding: Option<&str>,
        content_length: Option<&str>,
    ) -> Result<Body, &'static str> {
        Body::begin(BodyHeaders { content_type: Some(content_type), content_encoding, content_length }, 10)
            .map_err(|problem| problem.code)
    }

    #[test]
    fn only_plain_json_within_the_limit_is_begun() {
        assert!(begin("application/json", None, None).is_ok());
        assert!(begin("Application/JSON ; charset=utf-8", Some("identity"), Some("10")).is_ok());
        assert_eq!(begin("text/plain", None, None).unwrap_err(), "unsupported_media_type");
        assert_eq!(begin("application/jsonx", None, None).unwrap_err(), "unsupported_media_type");
        assert_eq!(begin("application/json", Some("gzip"), None).unwrap_err(), "unsupported_encoding");
        assert_eq!(begin("application/json", None, Some("11")).unwrap_err(), "body_too_large");
        assert_eq!(Body::begin(BodyHeaders::default(), 10).unwrap_err().status, 415);
    }

    #[test]
    fn a_body_longer_than_it_said_stops_at_the_limit() {
        let mut body = begin("application/json", None, Some("2")).unwrap();
        assert_eq!(body.push(b"0123456789"), Ok(()));
        assert_eq!(body.push(b"0").unwrap_err().code, "body_too_large");
        assert_eq!(body.finish().unwrap(), b"0123456789");
    }

    #[test]
    fn a_body_of_bare_commas_is_refused_before_it_is_parsed() {
        let headers = BodyHeaders { content_type: Some("application/json"), ..BodyHeaders::default() };
        let mut body = Body::begin(headers, 1 << 20).unwrap();
        body.push("[0".as_bytes()).unwrap();
        body.push(",0".repeat(MAX_VALUES).as_bytes()).unwrap();
        assert_eq!(body.finish().unwrap_err().code, "too_many_values");
    }
}
