//! The one error type of the crate: a kind with a stable code, and a message that says what to do.

use alloc::string::String;
use core::fmt;

/// Why an operation was refused. [`ErrorKind::code`] is the stable name that every runtime reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text or object is not an event: malformed JSON, a wrong type, a missing or unknown field.
    InvalidEvent,
    /// The event's kind is neither built in nor declared in `custom_kinds`.
    UnknownKind,
    /// An amount is not a finite decimal number within range, or is given twice.
    InvalidAmount,
    /// A timestamp cannot be read, or lies outside 1970-01-01 … 2199-12-31.
    InvalidTime,
    /// A quantity is not finite, is negative, or is over 4,294,967.
    InvalidQuantity,
    /// A text field is empty or over 256 bytes.
    InvalidText,
    /// An IP address, a place or a number of members that an event came with is none.
    InvalidOrigin,
    /// The moment asked about lies before events that have pushed earlier ones out of the bounded history.
    TooLate,
    /// A feature, tier or transform declaration contradicts itself.
    InvalidSpec,
    /// A duration is not of the form `28d`, `12h`, `2w`, `30min`.
    InvalidDuration,
    /// The bytes do not begin like a bundle.
    NotABundle,
    /// The bundle was written by a version that this one cannot read.
    BundleVersion,
    /// The bundle ends before its table or a section does.
    BundleTruncated,
    /// A section's content does not have the hash that the table states.
    BundleHash,
    /// A section that scoring needs is missing or cannot be decoded.
    BundleSection,
    /// A state, transform or model was made for another feature schema.
    SchemaMismatch,
    /// A state snapshot is corrupt.
    InvalidState,
    /// A state snapshot was written by a version that this one cannot read.
    StateVersion,
    /// The model cannot be loaded: not ONNX, an unsupported operator, or other shapes than the contract.
    InvalidModel,
    /// The model is sound, but holds something that the engine in hand cannot run.
    UnsupportedModel,
    /// The model failed while it ran.
    ModelFailed,
    /// An argument has the wrong length.
    InvalidInput,
}

impl ErrorKind {
    /// The stable, language-neutral name of this kind.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidEvent => "invalid_event",
            Self::UnknownKind => "unknown_kind",
            Self::InvalidAmount => "invalid_amount",
            Self::InvalidTime => "invalid_time",
            Self::InvalidQuantity => "invalid_quantity",
            Self::InvalidText => "invalid_text",
            Self::InvalidOrigin => "invalid_origin",
            Self::TooLate => "too_late",
            Self::InvalidSpec => "invalid_spec",
            Self::InvalidDuration => "invalid_duration",
            Self::NotABundle => "not_a_bundle",
            Self::BundleVersion => "bundle_version",
            Self::BundleTruncated => "bundle_truncated",
            Self::BundleHash => "bundle_hash",
            Self::BundleSection => "bundle_section",
            Self::SchemaMismatch => "schema_mismatch",
            Self::InvalidState => "invalid_state",
            Self::StateVersion => "state_version",
            Self::InvalidModel => "invalid_model",
            Self::UnsupportedModel => "unsupported_model",
            Self::ModelFailed => "model_failed",
            Self::InvalidInput => "invalid_input",
        }
    }
}

/// What went wrong and what to do about it.
///
/// `Display` prints `code: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// The result of every fallible operation in this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Why the operation was refused.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stable name of the kind, for example `invalid_amount`.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// One sentence for a person: what was found and what would be accepted.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message)
    }
}

impl core::error::Error for Error {}

/// A text from outside, as it is printed in messages: in quotes, without what would disturb a terminal.
///
/// `{:?}` does the same with tables of Unicode, which are a share of what a page downloads.
pub(crate) struct Quoted<'t>(pub(crate) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            fmt::Write::write_char(f, if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })?;
        }
        f.write_str("\"")
    }
}

/// Returns early with an [`Error`] of the given kind and formatted message.
macro_rules! bail {
    ($kind:ident, $($arg:tt)+) => {
        return Err($crate::error::Error::new($crate::error::ErrorKind::$kind, alloc::format!($($arg)+)))
    };
}
pub(crate) use bail;
