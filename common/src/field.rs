//! A field of a request or of a configuration that breaks a rule.

/// A field of a request that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidField {
    /// Path of the field in the body, `source.width`.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl InvalidField {
    /// A rule broken by `field`.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}
