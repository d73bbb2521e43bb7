//! `paper.json`: what stands in the PDF and where it comes from. An audit reads it, computes each number again from
//! its run, and compares.

use std::collections::BTreeMap;

use harness_core::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Mode;
use super::differences::Differences;
use super::study::Study;

/// `paper.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// [`Proof::VERSION`]
    pub format: u32,
    /// Digest of `paper.pdf`.
    pub pdf_sha256: Digest,
    /// The layout.
    pub mode: Mode,
    /// Typst, as it says of itself.
    pub typst: String,
    /// Every file that went into the paper, sorted by path.
    pub sources: Vec<SourceFile>,
    /// Every run that the paper shows, sorted by experiment and run.
    pub runs: Vec<ProofRun>,
    /// Every bound number and word, in order of appearance.
    pub bound: Vec<Bound>,
}

/// A file that went into the paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Relative to the project.
    pub path: String,
    /// Digest of its content.
    pub sha256: Digest,
}

/// A run of the paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofRun {
    /// The experiment.
    pub experiment: String,
    /// The run.
    pub run: String,
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// The commit it ran on.
    pub commit: String,
    /// Root of its corpus.
    pub data_root: Digest,
    /// Whether the paper's numbers of this experiment come from it.
    pub quoted: bool,
}

/// Something in the PDF that is bound to the records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// `n1`, `n2`, ... in order of appearance.
    pub id: String,
    /// `value`, `delta` (a difference), `compare` (`lower than` and the like), `count`, or `recorded` (a number of a
    /// record's file that has no key).
    pub kind: String,
    /// The experiment; absent for counts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub experiment: Option<String>,
    /// Its run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<String>,
    /// Of a difference, the experiment that is subtracted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub minus_experiment: Option<String>,
    /// Its run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub minus_run: Option<String>,
    /// The key; of a count, its name; of a recorded number, the file of the run.
    pub key: String,
    /// The text in the PDF (with `-` for the minus sign and `e` for a power of ten).
    pub shown: String,
    /// The text of the standard error, where it is shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shown_error: Option<String>,
    /// The exact number; absent for recorded ones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub number: Option<f64>,
    /// The page of the PDF, from 1.
    pub page: u64,
}

impl Proof {
    /// Version of `paper.json`. Raised with every change that an older reader would misread.
    pub const VERSION: u32 = 1;

    /// Puts together what Typst noted and what the records say.
    pub(super) fn of(
        numbers: &Numbers,
        mode: Mode,
        typst: &str,
        pdf_sha256: Digest,
        sources: Vec<SourceFile>,
        noted: &[Json],
    ) -> Self {
        let bound = noted.iter().filter(|n| n["kind"] != "outline").enumerate();
        let bound = bound.map(|(index, note)| bound_of(numbers, index, note)).collect();
        Proof {
            format: Proof::VERSION,
            pdf_sha256,
            mode,
            typst: typst.to_owned(),
            sources,
            runs: runs(numbers.study),
            bound,
        }
    }
}

/// Where the numbers of a paper come from.
pub(super) struct Numbers<'a> {
    pub study: &'a Study<'a>,
    pub differences: &'a Differences,
    pub counts: &'a BTreeMap<String, u64>,
}

fn bound_of(numbers: &Numbers, index: usize, note: &Json) -> Bound {
    let Numbers { study, differences, counts } = *numbers;
    let text = |field: &str| note[field].as_str().map(str::to_owned);
    let (experiment, minus_experiment) = (text("experiment"), text("minus_experiment"));
    let key = text("key").or_else(|| text("count")).or_else(|| text("file")).unwrap_or_default();
    let kind = text("kind").unwrap_or_default();
    let number = match kind.as_str() {
        "value" => experiment.as_deref().and_then(|name| Some(study.entry(name)?.quoted.values.get(&key)?.number)),
        "delta" | "compare" => {
            let pair = experiment.as_deref().zip(minus_experiment.as_deref());
            pair.and_then(|(first, second)| Some(differences.get(first, second, &key)?.number))
        }
        "count" => counts.get(&key).map(|n| *n as f64),
        _ => None,
    };
    Bound {
        id: format!("n{}", index + 1),
        kind,
        run: text("run"),
        minus_run: text("minus_run"),
        shown: text("shown").unwrap_or_default(),
        shown_error: text("shown_error"),
        page: note["page"].as_u64().unwrap_or(0),
        experiment,
        minus_experiment,
        key,
        number,
    }
}

/// Every run of the study.
pub(super) fn runs(study: &Study) -> Vec<ProofRun> {
    let mut runs = Vec::new();
    for entry in &study.entries {
        for analysis in &entry.runs {
            let open = &analysis.run.open;
            runs.push(ProofRun {
                experiment: open.experiment.to_string(),
                run: open.run.to_string(),
                root: analysis.run.root,
                commit: open.code.commit.clone(),
                data_root: open.data.root,
                quoted: open.run == entry.quoted.run.open.run,
            });
        }
    }
    runs
}

/// Seconds since 1970 of `2026-11-23T08:15:00Z`.
pub(super) fn unix_seconds(utc: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| utc.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !utc.ends_with('Z') || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from the civil calendar, counting years from March so that the leap day comes last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_are_read() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0));
        // date -u -d 2026-11-23T08:15:00Z +%s
        assert_eq!(unix_seconds("2026-11-23T08:15:00Z"), Some(1_795_421_700));
        assert_eq!(unix_seconds("2024-02-29T23:59:59Z"), Some(1_709_251_199));
        assert_eq!(unix_seconds("yesterday"), None);
    }
}
