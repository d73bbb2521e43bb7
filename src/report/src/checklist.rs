//! The Responsible NLP checklist of ACL Rolling Review, answered from the records as far as they know the answer. What only a
//! person knows stands in `report/checklist.toml`; an answer there goes before one from the records. The questions are put in
//! words of our own (form of 2026: sections A to E).

use std::collections::{BTreeMap, BTreeSet};

use harness_analyse::{RunAnalysis, Unit, show};
use harness_core::config::nearest;
use harness_core::files;
use harness_core::names::Project;
use harness_record::format::Purpose;
use harness_study::ledger::{State, Total};
use serde::{Deserialize, Serialize};

use super::error::{Place, ReportError};
use super::families::Families;
use super::logbook::{self, Logbook};
use super::section::Section;
use super::values::openings_of;
use super::{REPORT, read_sections};

/// Where a person's answers stand, relative to the project.
pub(super) const PATH: &str = "report/checklist.toml";

const QUESTIONS: [(&str, &str); 19] = [
    ("A1", "Are the limitations of the work discussed?"),
    ("A2", "Are its risks discussed?"),
    ("B1", "Are the makers of what was used cited, with version and address?"),
    ("B2", "Are the licences or terms of use of each named?"),
    ("B3", "Was each used as it was meant to be used, and is that said?"),
    ("B4", "Was the data looked through for personal and offensive content, and what was done about it?"),
    ("B5", "Are language, domain and phenomena of the data documented?"),
    ("B6", "Are the sizes of the splits stated?"),
    ("C1", "Are parameters, the whole budget of computing and the machines stated?"),
    ("C2", "Are the set-up, the search spaces, the best values and how they were chosen stated?"),
    ("C3", "Is it plain what the numbers are: means, maxima or single runs, on which split, with which error?"),
    ("C4", "Are packages named with their versions and settings?"),
    ("D1", "Is the text of the instructions to annotators or participants given?"),
    ("D2", "Is it said how they were found and paid?"),
    ("D3", "Is it said how they consented?"),
    ("D4", "Was the collection approved by an ethics board?"),
    ("D5", "Are the annotators described?"),
    ("E1", "Were AI assistants used in research, code or writing, and is it said how?"),
    ("E2", "If so, is the part that they had described?"),
];

/// Questions whose answers no record knows.
const OF_A_PERSON: [&str; 5] = ["A2", "B3", "B4", "E1", "E2"];

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Yes.
    Yes,
    /// No.
    No,
    /// The question does not arise.
    #[serde(alias = "not applicable")]
    NotApplicable,
}

impl Said {
    /// As the form has it.
    pub fn words(self) -> &'static str {
        match self {
            Said::Yes => "yes",
            Said::No => "no",
            Said::NotApplicable => "not applicable",
        }
    }
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `A1` to `E2`.
    pub id: &'static str,
    /// The question.
    pub question: &'static str,
    /// None while only a person can answer it and nobody has.
    pub answer: Option<Said>,
    /// The section of the paper that says it; empty where none does.
    pub section: String,
    /// What can be said of it.
    pub reason: String,
    /// The records that say it; empty for a person's answer.
    pub record: String,
}

/// All answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checklist {
    /// In the order of the form.
    pub answers: Vec<Answer>,
}

impl Checklist {
    /// Questions that nobody has answered.
    pub fn open(&self) -> Vec<&'static str> {
        self.answers.iter().filter(|answer| answer.answer.is_none()).map(|answer| answer.id).collect()
    }

    /// As text to paste into the form.
    pub fn text(&self) -> String {
        let one = |answer: &Answer| {
            let said = answer.answer.map_or("OPEN: only a person can answer it", Said::words);
            let section =
                if answer.section.is_empty() { String::new() } else { format!(" Section: {}.", answer.section) };
            let reason = if answer.reason.is_empty() { String::new() } else { format!("\n{}", answer.reason) };
            let record = if answer.record.is_empty() { String::new() } else { format!("\nRecord: {}", answer.record) };
            format!("{} {}\n{said}.{section}{reason}{record}\n", answer.id, answer.question)
        };
        self.answers.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}

/// A person's answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Own {
    answer: String,
    section: String,
    reason: String,
}

/// What the file is drafted with.
pub(super) fn draft() -> String {
    let mut text = "# Answers of the Responsible NLP checklist that only you know: `harness report --checklist` shows all of it.\n\
        # answer: \"yes\", \"no\" or \"not applicable\"; section: where the paper says it; reason: in a sentence or two.\n\
        # An answer here goes before one from the records, under any of the questions A1 to E2.\n"
        .to_owned();
    for (id, question) in QUESTIONS.iter().filter(|(id, _)| OF_A_PERSON.contains(id)) {
        text.push_str(&format!("\n# {question}\n[{id}]\nanswer = \"\"\nsection = \"\"\nreason = \"\"\n"));
    }
    text
}

fn own(project: &Project) -> Result<BTreeMap<String, Own>, ReportError> {
    let path = project.root().join(PATH);
    if !files::is_file(&path) {
        return Ok(BTreeMap::new());
    }
    let text = files::read_text_below(project.root(), PATH)?;
    let wrong = |problem: String, offset: usize, hint: String| ReportError::Source {
        problem,
        place: Box::new(Place::at(PATH, &text, offset)),
        hint: Some(hint),
    };
    let answers: BTreeMap<String, Own> = toml::from_str(&text).map_err(|error| {
        let hint = "each question is a table such as `[A2]` with `answer`, `section` and `reason`".to_owned();
        wrong(error.message().trim().to_owned(), error.span().map_or(0, |span| span.start), hint)
    })?;
    for (id, own) in &answers {
        let offset = text.find(&format!("[{id}]")).unwrap_or(0);
        let ids: Vec<&str> = QUESTIONS.iter().map(|(id, _)| *id).collect();
        if !ids.contains(&id.as_str()) {
            let near = nearest(id, &ids).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(wrong(format!("there is no question `{id}`"), offset, format!("they are A1 to E2{near}")));
        }
        if !own.answer.is_empty() && said(&own.answer).is_none() {
            let hint = "write \"yes\", \"no\" or \"not applicable\"".to_owned();
            return Err(wrong(format!("`{}` is no answer to {id}", own.answer), offset, hint));
        }
    }
    Ok(answers)
}

fn said(text: &str) -> Option<Said> {
    [Said::Yes, Said::No, Said::NotApplicable].into_iter().find(|said| said.words() == text.trim())
}

/// Answers all questions.
pub fn checklist(project: &Project, analyses: &[RunAnalysis]) -> Result<Checklist, ReportError> {
    let sections = read_sections(project, &format!("{REPORT}/sections"))?;
    let (families, logbook) = (Families::of(analyses), Logbook::of(project, analyses)?);
    let openings = openings_of(&families, &harness_record::openings(project)?);
    answered(project, &Records { families: &families, logbook: &logbook, sections: &sections, openings })
}

/// The same from what is known of the runs already.
pub(super) fn answered(project: &Project, records: &Records) -> Result<Checklist, ReportError> {
    let own = own(project)?;
    let answer = |(id, question): &(&'static str, &'static str)| {
        let mut answer = Answer { id, question, ..records.answer(id) };
        if let Some(own) = own.get(*id).filter(|own| !own.answer.is_empty()) {
            let section = if own.section.is_empty() { answer.section } else { own.section.clone() };
            let reason = if own.reason.is_empty() { answer.reason } else { own.reason.clone() };
            answer = Answer { id, question, answer: said(&own.answer), section, reason, record: String::new() };
        }
        answer
    };
    Ok(Checklist { answers: QUESTIONS.iter().map(answer).collect() })
}

/// What answers are taken from.
pub(super) struct Records<'a> {
    pub families: &'a Families<'a>,
    pub logbook: &'a Logbook,
    pub sections: &'a [Section],
    /// How often the test side had been opened when the last number of it was measured.
    pub openings: usize,
}

fn count(number: u64) -> String {
    show(number as f64, Unit::Count)
}

fn hours(seconds: f64) -> String {
    format!("{:.1}", seconds / 3600.0)
}

fn listed(all: impl IntoIterator<Item = String>) -> String {
    all.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

impl Records<'_> {
    /// The title of the section with this label, if it is still there.
    fn section(&self, label: &str) -> String {
        let label = format!("<{label}>");
        let lines = self.sections.iter().flat_map(|section| section.text.lines());
        let heading = lines.filter(|line| line.starts_with('=')).find_map(|line| line.split_once(label.as_str()));
        heading.map_or(String::new(), |(title, _)| title.trim_matches(['=', ' ']).to_owned())
    }

    fn answer(&self, id: &str) -> Answer {
        let said = |answer: Said, label: &str, reason: String, record: String| Answer {
            id: "",
            question: "",
            answer: Some(answer),
            section: if label.is_empty() { String::new() } else { self.section(label) },
            reason,
            record,
        };
        let yes_if = |holds: bool| if holds { Said::Yes } else { Said::No };
        match id {
            "A1" => {
                let there = self.sections.iter().any(|section| section.text.contains("#backmatter[Limitations]"));
                Answer {
                    section: if there { "Limitations".to_owned() } else { String::new() },
                    ..said(yes_if(there), "", String::new(), String::new())
                }
            }
            "B1" => {
                let uncited = self.sources(|source, corpus| {
                    source.citation.is_empty() && source.url.is_none() && corpus.citation.is_empty()
                });
                let reason = if uncited.is_empty() {
                    format!("Sources of {} with address and digest; tasks {}.", self.corpora(), self.tasks())
                } else {
                    format!("No citation and no address: {}.", uncited.join(", "))
                };
                said(
                    yes_if(uncited.is_empty()),
                    "sec:data",
                    reason,
                    "the manifest of each corpus, `tasks` of open.json".to_owned(),
                )
            }
            "B2" => {
                let without = self.sources(|source, corpus| source.licence.is_empty() && corpus.licence.is_empty());
                let licences =
                    listed(self.each_source(|source| source.licence.clone()).into_iter().filter(|l| !l.is_empty()));
                let reason = if without.is_empty() {
                    format!("Licences of the sources: {licences}.")
                } else {
                    format!("No licence: {}.", without.join(", "))
                };
                said(
                    yes_if(without.is_empty()),
                    "sec:data-statement",
                    reason,
                    "`licence` of each source of the manifest".to_owned(),
                )
            }
            "B5" => {
                let corpora: Vec<String> = self.each_corpus(|corpus| {
                    let about = corpus.description.split_whitespace().collect::<Vec<_>>().join(" ");
                    format!(
                        "{}: language {}{}",
                        corpus.name,
                        corpus.language,
                        if about.is_empty() { String::new() } else { format!("; {about}") }
                    )
                });
                let phenomena = listed(
                    self.runs()
                        .flat_map(|run| run.run.open.tasks.iter().map(|task| task.phenomenon.clone()))
                        .filter(|p| !p.is_empty()),
                );
                let phenomena =
                    if phenomena.is_empty() { String::new() } else { format!(" Phenomena of the tasks: {phenomena}.") };
                let known = !self.each_corpus(|corpus| corpus.language.clone()).iter().any(String::is_empty);
                said(
                    yes_if(known),
                    "sec:data-statement",
                    format!("{}.{phenomena}", corpora.join("; ")),
                    "the recipe and the manifest of each corpus".to_owned(),
                )
            }
            "B6" => {
                let sizes = self.each_corpus(|corpus| {
                    let side = |name: &str, side: &harness_core::corpus_manifest::Side| {
                        format!("{name} {} documents, {} tokens", count(side.documents), count(side.tokens))
                    };
                    let test = if corpus.test.documents > 0 {
                        format!("; {}", side("test", &corpus.test))
                    } else {
                        String::new()
                    };
                    let found: u64 = corpus.contamination.iter().map(|task| task.items_found).sum();
                    let looked = if corpus.contamination.is_empty() {
                        "items of the tasks were not looked for in it".to_owned()
                    } else {
                        format!("{} items of the tasks were found in it", count(found))
                    };
                    format!(
                        "{}: {}; {}{test}; {looked}",
                        corpus.name,
                        side("training", &corpus.train),
                        side("validation", &corpus.validation)
                    )
                });
                said(
                    Said::Yes,
                    "sec:data",
                    format!("{}.", sizes.join(". ")),
                    "`train`, `validation`, `test`, `contamination` of the manifest".to_owned(),
                )
            }
            "C1" => said(
                Said::Yes,
                "sec:model",
                self.budget(),
                format!(
                    "the ledger of {} runs and probes that ended before the paper (`harness budget`), `model.parameters`",
                    self.logbook.ledger.entries.len()
                ),
            ),
            "C2" => said(
                Said::Yes,
                "sec:configurations",
                self.search(),
                "config.toml of each run, study.toml of each study".to_owned(),
            ),
            "C3" => said(
                Said::Yes,
                "sec:results",
                self.statistics(),
                "`seed` and `purpose` of each run's plan, paper.json".to_owned(),
            ),
            "C4" => {
                let of = |field: &dyn Fn(&RunAnalysis) -> String| listed(self.runs().map(field));
                let libtorch =
                    of(&|run| run.run.record.started.as_ref().map_or(String::new(), |s| s.about.libtorch.clone()));
                let reason = format!(
                    "harness {}, libtorch {libtorch}, {}; tokenizer {}; tasks scored by harness, {}.",
                    of(&|run| run.run.open.binaries.harness_version.clone()),
                    of(&|run| run.run.open.binaries.rustc.clone()),
                    of(&|run| run.run.corpus.tokenizer.kind.clone()),
                    self.tasks(),
                );
                said(
                    Said::Yes,
                    "sec:reproducibility",
                    reason,
                    "`binaries` of open.json, `started` of record.json, Cargo.lock".to_owned(),
                )
            }
            "D1" | "D2" | "D3" | "D4" | "D5" => {
                let reason =
                    "No annotators and no participants: texts and tasks are published ones, or generated.".to_owned();
                said(Said::NotApplicable, "", reason, String::new())
            }
            _ => Answer { answer: None, ..said(Said::No, "", String::new(), String::new()) },
        }
    }

    fn runs(&self) -> impl Iterator<Item = &RunAnalysis> {
        self.families.entries.iter().flat_map(|entry| entry.runs.iter().copied())
    }

    fn each_corpus<T>(&self, of: impl Fn(&harness_core::corpus_manifest::Manifest) -> T) -> Vec<T> {
        let mut seen = BTreeSet::new();
        let runs = self.families.entries.iter().map(|entry| entry.latest);
        runs.filter(|run| seen.insert(run.run.open.data.root)).map(|run| of(&run.run.corpus)).collect()
    }

    fn each_source<T>(&self, of: impl Fn(&harness_core::corpus_manifest::SourceRecord) -> T) -> Vec<T> {
        self.each_corpus(|corpus| corpus.sources.iter().map(&of).collect::<Vec<_>>()).into_iter().flatten().collect()
    }

    /// Names of the sources of which something holds.
    fn sources(
        &self,
        holds: impl Fn(&harness_core::corpus_manifest::SourceRecord, &harness_core::corpus_manifest::Manifest) -> bool,
    ) -> Vec<String> {
        let of = |corpus: &harness_core::corpus_manifest::Manifest| {
            let found = corpus.sources.iter().filter(|source| holds(source, corpus));
            found.map(|source| source.name.clone()).collect::<Vec<_>>()
        };
        self.each_corpus(of).into_iter().flatten().collect()
    }

    fn corpora(&self) -> String {
        listed(self.each_corpus(|corpus| format!("`{}`", corpus.name)))
    }

    fn tasks(&self) -> String {
        let tasks = listed(self.runs().flat_map(|run| {
            let task = |task: &harness_record::format::Task| {
                format!("{} version {}", task.group.as_ref().unwrap_or(&task.id), task.version)
            };
            run.run.open.tasks.iter().map(task).collect::<Vec<_>>()
        }));
        if tasks.is_empty() { "none".to_owned() } else { tasks }
    }

    /// Parameters, what all runs cost, and on what.
    fn budget(&self) -> String {
        let key = "model.parameters";
        let sizes: Vec<f64> = self.families.entries.iter().filter_map(|e| Some(e.values.get(key)?.number)).collect();
        let least = sizes.iter().copied().fold(f64::INFINITY, f64::min);
        let most = sizes.iter().copied().fold(0.0, f64::max);
        let parameters = match sizes.is_empty() {
            true => String::new(),
            false if least == most => format!("{} parameters. ", show(most, Unit::Count)),
            false => format!("{} to {} parameters. ", show(least, Unit::Count), show(most, Unit::Count)),
        };
        let all = self.logbook.ledger.total();
        let finished = Total::of(self.logbook.ledger.entries.iter().filter(|entry| entry.state == State::Completed));
        let time = |total: &Total| match total.spent.gpu_time_s > 0.0 {
            true => format!("{} GPU hours", hours(total.spent.gpu_time_s)),
            false => format!("{} CPU hours", hours(total.spent.cpu_time_s)),
        };
        let unknown = match all.unknown + all.at_least {
            0 => String::new(),
            some => format!(", of which {some} are known in part or not at all"),
        };
        let machines = listed(self.runs().map(|run| {
            let started = run.run.record.started.as_ref();
            let gpu = started.filter(|s| s.device.starts_with("cuda")).and_then(|s| s.about.gpus.first());
            gpu.map_or_else(|| run.run.open.host.cpu.clone(), |gpu| gpu.name.clone())
        }));
        format!(
            "{parameters}All {} runs and probes, failed and dropped ones too{unknown}, took {}; those that completed, {} of them, {}. \
             Machines: {machines}.",
            all.entries,
            time(&all),
            finished.entries,
            time(&finished),
        )
    }

    /// What was searched, and how values were chosen.
    fn search(&self) -> String {
        let mut studies = Vec::new();
        for (name, study) in &self.logbook.studies {
            let present = study.present();
            let spaces = study.nuisance.iter().zip(&present.spaces);
            let spaces: Vec<String> =
                spaces.map(|(nuisance, space)| format!("{} {}", nuisance.label(), logbook::in_words(space))).collect();
            let trials: u32 = study.trials + study.round.iter().map(|round| round.trials).sum::<u32>();
            studies.push(format!(
                "study `{name}`: {}; {trials} trials for each value of {}, judged by {}",
                if spaces.is_empty() { "no nuisance parameter".to_owned() } else { spaces.join("; ") },
                study.scientific.iter().map(|parameter| parameter.key.as_str()).collect::<Vec<_>>().join(", "),
                study.metric,
            ));
        }
        let tuned = self.logbook.ledger.entries.iter().filter(|entry| entry.purpose == Some(Purpose::Tune)).count();
        let searched = if studies.is_empty() {
            "No search space was declared: hyperparameters were fixed in the configurations before the runs".to_owned()
        } else {
            studies.join(". ")
        };
        let tuned = if tuned == 0 {
            String::new()
        } else {
            format!(" {tuned} runs were made for tuning, none of which is quoted.")
        };
        format!(
            "{searched}.{tuned} All values are in the configurations; the scores that chose them are those of the validation side."
        )
    }

    /// What the numbers are.
    fn statistics(&self) -> String {
        let seeds: Vec<usize> = self.families.entries.iter().map(|entry| entry.seeds.len()).collect();
        let (least, most) = (seeds.iter().min().copied().unwrap_or(0), seeds.iter().max().copied().unwrap_or(0));
        let single = seeds.iter().filter(|n| **n == 1).count();
        let means = match (least, most) {
            (_, 1) => "Every number is that of a single run".to_owned(),
            (a, b) if a == b => format!("Numbers are means over {a} seeds"),
            (a, b) => format!(
                "Numbers are means over {a} to {b} seeds; of {single} experiments they are those of a single run"
            ),
        };
        let tested = self.each_corpus(|corpus| corpus.test.documents > 0).into_iter().any(|has| has);
        let times = if self.openings == 1 { "once".to_owned() } else { format!("{} times", self.openings) };
        let split = match (tested, self.openings) {
            (false, _) => "the validation side; there is no test side".to_owned(),
            (true, 0) => "the validation side; a test side is kept apart".to_owned(),
            (true, _) => format!(
                "the validation side, but for those that are said to be of the test side, which was opened {times}; of each \
                 model the first time counts"
            ),
        };
        format!(
            "{means}, none is a maximum over runs. Errors are standard errors over seeds and documents or items; differences have 95 % \
             intervals and tests corrected by Holm's method. Scores are those of {split}."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{analysis, demo};
    use crate::tests::project;

    #[test]
    fn every_question_has_an_answer_from_records_or_waits_for_a_person() {
        let (_folder, project) = project();
        let analyses: Vec<RunAnalysis> = demo().iter().map(|one| analysis(&project, one)).collect();
        let sections =
            [("90-limitations.typ", "#backmatter[Limitations]\n"), ("20-data.typ", "= Our Data <sec:data>\n")];
        for (name, text) in sections {
            files::write(&project.root().join("report/sections").join(name), text.as_bytes()).unwrap();
        }
        let found = checklist(&project, &analyses).unwrap();
        assert_eq!(found.open(), OF_A_PERSON);
        let of = |id: &str| found.answers.iter().find(|answer| answer.id == id).unwrap();
        assert_eq!((of("A1").answer, of("A1").section.as_str()), (Some(Said::Yes), "Limitations"));
        assert_eq!((of("B6").section.as_str(), of("D3").answer), ("Our Data", Some(Said::NotApplicable)));
        assert!(of("B6").reason.contains("training 900 documents, 2,000,900 tokens"), "{}", of("B6").reason);
        let cost = &of("C1").reason;
        assert!(
            cost.contains("All 2 runs and probes") && cost.contains("CPU hours") && cost.contains("2.5 GHz"),
            "{cost}"
        );
        assert!(of("C3").reason.starts_with("Every number is that of a single run"), "{}", of("C3").reason);
        assert!(of("C2").reason.starts_with("No search space was declared"), "{}", of("C2").reason);
        assert!(of("C4").reason.contains("libtorch 2.11.0"), "{}", of("C4").reason);

        let text = draft().replacen("answer = \"\"", "answer = \"no\"", 1).replacen(
            "reason = \"\"",
            "reason = \"None seen.\"",
            1,
        );
        files::write(&project.root().join(PATH), text.as_bytes()).unwrap();
        let answered = checklist(&project, &analyses).unwrap();
        assert_eq!(answered.open(), OF_A_PERSON[1..]);
        assert_eq!(answered.answers[1].answer, Some(Said::No));
        assert!(answered.text().contains("A2 Are its risks discussed?\nno.\nNone seen."), "{}", answered.text());
        for (wrong, expected) in [
            ("[A9]\nanswer = \"yes\"\n", "no question `A9`"),
            ("[A2]\nanswer = \"perhaps\"\n", "`perhaps` is no answer to A2"),
            ("[A2]\nanswr = \"yes\"\n", "unknown field `answr`"),
        ] {
            files::write(&project.root().join(PATH), wrong.as_bytes()).unwrap();
            let message = checklist(&project, &analyses).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("report/checklist.toml:"), "{message}");
        }
    }
}
