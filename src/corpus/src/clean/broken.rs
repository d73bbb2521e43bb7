//! Why a step removes a document.

/// A rule that a document breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The rule of the step, where it has several; else empty.
    pub rule: &'static str,
    /// What it saw in the document, for a person who judges it.
    pub saw: String,
}

impl Broken {
    pub(super) fn new(rule: &'static str, saw: impl Into<String>) -> Self {
        Broken { rule, saw: saw.into() }
    }
}

/// `1 word`, `2 words`.
pub(super) fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// `12.5 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
