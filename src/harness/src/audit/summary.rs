//! An audit as a supervisor reads it: what was claimed, what was checked, what was not and why. In words for a terminal,
//! and as a page that needs no network.

use std::collections::BTreeSet;

use serde::Serialize;
use tera::{Context, Tera};

use super::{Audit, Outcome, Subject};

/// Every level, and what it holds against what.
const LEVELS: [(&str, &str); 6] = [
    ("L0", "files parse, their versions are known, and each record fits itself"),
    ("L1", "digests: files of runs, configs, programs, data, the paper and its sources"),
    ("L2", "what may be missing: deleted, dropped and repeated runs, seeds, anchors"),
    ("L3", "numbers, differences and figures computed again from the rows of the runs"),
    ("L4", "the evaluation run again from the checkpoint (`harness evaluate --verify`)"),
    ("L5", "training replayed between checkpoints (`harness replay`)"),
];

/// What an audit comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// In one sentence.
    pub verdict: String,
    /// Whether nothing contradicts.
    pub holds: bool,
    /// What the repository claims: runs, numbers.
    pub claimed: String,
    /// By level, what was checked.
    pub levels: Vec<Level>,
}

/// What was checked at a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    /// `L0` to `L5`
    pub level: &'static str,
    /// What is held against what.
    pub what: &'static str,
    /// In words how many checks there were, and how they went.
    pub found: String,
    /// Whether anything was checked there.
    pub is_checked: bool,
}

impl Summary {
    /// Of an audit.
    pub fn of(audit: &Audit) -> Self {
        let experiment = |subject: &Subject| match subject {
            Subject::Run(experiment, _) => Some(experiment.clone()),
            _ => None,
        };
        let experiments =
            audit.checks.iter().filter_map(|check| experiment(&check.subject)).collect::<BTreeSet<_>>().len();
        let paper = match audit.bound_numbers {
            0 => "no number of a paper".to_owned(),
            n => format!("{} of a paper", counted(n, "bound number")),
        };
        let claimed = format!("{} of {}, {paper}", counted(audit.runs(), "run"), counted(experiments, "experiment"));
        let (contradictions, missing) = (audit.contradictions().count(), audit.missing().count());
        let verdict = match (contradictions, missing) {
            _ if audit.checks.is_empty() => "nothing was checked".to_owned(),
            (0, 0) => "it holds".to_owned(),
            (0, n) => format!("nothing contradicts, but {} could not be made", counted(n, "check")),
            (n, _) => format!("it does not hold: {}", counted(n, "contradiction")),
        };
        let levels = LEVELS.map(|(level, what)| Level::of(audit, level, what)).to_vec();
        Summary { verdict, holds: contradictions == 0, claimed, levels }
    }
}

impl Level {
    fn of(audit: &Audit, level: &'static str, what: &'static str) -> Self {
        let of = |outcome: Outcome| audit.checks.iter().filter(|c| c.level == level && c.outcome == outcome).count();
        let said = [
            (Outcome::Holds, "hold"),
            (Outcome::Contradiction, "contradict"),
            (Outcome::Missing, "could not be made"),
            (Outcome::Note, "to be known"),
        ];
        let said: Vec<String> = said
            .into_iter()
            .map(|(outcome, word)| (of(outcome), word))
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{n} {word}"))
            .collect();
        let found = if said.is_empty() { "not checked".to_owned() } else { said.join(", ") };
        Level { level, what, found, is_checked: !said.is_empty() }
    }
}

fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The audit as one HTML page: nothing is loaded, and no name in a record becomes markup.
pub fn page(audit: &Audit, project: &str, made_at: &str) -> String {
    let mut context = Context::new();
    context.insert("project", project);
    context.insert("made_at", made_at);
    context.insert("version", env!("CARGO_PKG_VERSION"));
    context.insert("summary", &Summary::of(audit));
    let open: Vec<_> = audit.checks.iter().filter(|check| check.outcome != Outcome::Holds).collect();
    context.insert("open", &open);
    context.insert("holds", &(audit.checks.len() - open.len()));
    context.insert("traces", &audit.traces);
    let mut tera = Tera::default();
    let template = include_str!("page.html.tera");
    tera.add_raw_template("page.html", template)
        .and_then(|()| tera.render("page.html", &context))
        .expect("the page is whole")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Check;

    fn audit(outcomes: &[(&'static str, Outcome)]) -> Audit {
        let check = |(level, outcome): &(&'static str, Outcome)| Check {
            level,
            subject: Subject::Run("base".parse().unwrap(), "20260101-000000-000001".parse().unwrap()),
            what: "a <script>file</script>".to_owned(),
            outcome: *outcome,
            detail: "{{ detail }}".to_owned(),
            numbers: Vec::new(),
        };
        Audit { checks: outcomes.iter().map(check).collect(), ..Audit::default() }
    }

    #[test]
    fn a_summary_says_what_was_not_checked() {
        let summary = Summary::of(&audit(&[("L0", Outcome::Holds), ("L1", Outcome::Holds), ("L1", Outcome::Missing)]));
        assert_eq!(summary.verdict, "nothing contradicts, but 1 check could not be made");
        assert_eq!(summary.claimed, "1 run of 1 experiment, no number of a paper");
        assert_eq!(summary.levels[1].found, "1 hold, 1 could not be made");
        assert!(!summary.levels[5].is_checked);
        assert_eq!(Summary::of(&Audit::default()).verdict, "nothing was checked");
        assert!(!Summary::of(&audit(&[("L1", Outcome::Contradiction)])).holds);
    }

    #[test]
    fn names_in_records_are_text_on_the_page() {
        let page = page(&audit(&[("L1", Outcome::Contradiction)]), "a & b", "2026-01-01");
        assert!(page.contains("a &lt;script&gt;file&lt;&#x2F;script&gt;"), "{page}");
        assert!(page.contains("{{ detail }}") && page.contains("a &amp; b"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
}
