//! What a request's body may be: its headers are checked before it is read, its bytes before they are parsed.

use crate::problem::Problem;

/// JSON values in one body. A value costs up to hundreds of bytes once parsed, so that a body of tiny events could
/// otherwise take many times its length.
const MAX_VALUES: usize = 250_000;

/// Headers that describe a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BodyHeaders<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) content_encoding: Option<&'a str>,
    pub(crate) content_length: Option<&'a str>,
}

impl BodyHeaders<'_> {
    /// Whether a body of at most `limit` bytes may be read; returns whether its length was stated.
    ///
    /// # Errors
    /// 415 unless the body is plain JSON, 413 when its stated length is over the limit.
    pub(crate) fn check(self, limit: usize) -> Result<bool, Problem> {
        let media_type = self.content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        if !media_type.trim().eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(415, "unsupported_media_type", "the body must be JSON")
                .hint("send the header `Content-Type: application/json`"));
        }
        if self.content_encoding.is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
            return Err(Problem::new(415, "unsupported_encoding", "the body must not be compressed"));
        }
        let stated = self.content_length.and_then(|length| length.trim().parse::<usize>().ok());
        if stated.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        Ok(stated.is_some())
    }
}

/// Whether a body may be parsed.
///
/// # Errors
/// 413 when it is over the limit, whatever its headers said, or holds more JSON values than would fit in memory.
pub(crate) fn check(body: &[u8], limit: usize) -> Result<(), Problem> {
    if body.len() > limit {
        return Err(too_large(limit));
    }
    // A body that is shorter than that cannot hold so many.
    if body.len() > MAX_VALUES && values(body) > MAX_VALUES {
        let message = format!("the body holds over {MAX_VALUES} JSON values");
        return Err(Problem::new(413, "too_many_values", message).hint("send fewer members at a time"));
    }
    Ok(())
}

fn values(body: &[u8]) -> usize {
    body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count()
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
    ) -> Result<bool, &'static str> {
        BodyHeaders { content_type: Some(content_type), content_encoding, content_length }
            .check(10)
            .map_err(|problem| problem.code)
    }

    #[test]
    fn only_plain_json_within_the_limit_is_read() {
        assert_eq!(begin("application/json", None, None), Ok(false));
        assert_eq!(begin("application/json", None, Some("many")), Ok(false));
        assert_eq!(begin("Application/JSON ; charset=utf-8", Some("identity"), Some("10")), Ok(true));
        assert_eq!(begin("text/plain", None, None).unwrap_err(), "unsupported_media_type");
        assert_eq!(begin("application/jsonx", None, None).unwrap_err(), "unsupported_media_type");
        assert_eq!(begin("application/json", Some("gzip"), None).unwrap_err(), "unsupported_encoding");
        assert_eq!(begin("application/json", None, Some("11")).unwrap_err(), "body_too_large");
        assert_eq!(BodyHeaders::default().check(10).unwrap_err().status, 415);
    }

    #[test]
    fn a_body_longer_than_it_said_is_refused() {
        assert_eq!(check(b"0123456789", 10), Ok(()));
        assert_eq!(check(b"0123456789a", 10).unwrap_err().code, "body_too_large");
    }

    #[test]
    fn a_body_of_bare_commas_is_refused_before_it_is_parsed() {
        let body = |values: usize| format!("[0{}", ",0".repeat(values - 1));
        assert_eq!(check(body(MAX_VALUES).as_bytes(), 1 << 20), Ok(()));
        assert_eq!(check(body(MAX_VALUES + 1).as_bytes(), 1 << 20).unwrap_err().code, "too_many_values");
    }
}
