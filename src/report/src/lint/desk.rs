//! What the records know, by the words that authors use for it: experiments, metrics, and every number that can be bound.

use super::seen::Seen;
use super::text::Sentence;
use super::typed::Typed;
use super::{Found, Rule};
use crate::claims;
use crate::families::Entry;
use crate::model::{Claim, Number, Relation, Scope, Shown};
use crate::plot::{headline_tasks, title_of_task};
use crate::section::Section;
use crate::values::{Numbers, accuracy_key};

/// The metric that is meant where none is named.
const MAIN: &str = "validation.bits_per_byte";
/// Words for what is measured.
const METRICS: [&str; 16] = [
    "bits per byte",
    "bpb",
    "loss",
    "losses",
    "perplexity",
    "perplexities",
    "accuracy",
    "accuracies",
    "score",
    "scores",
    "performance",
    "performs",
    "calibration",
    "result",
    "results",
    "error",
];
/// Words of names that say nothing of which experiment is meant.
const COMMON: [&str; 14] = [
    "model", "models", "small", "large", "loss", "learning", "rate", "training", "without", "baseline", "study",
    "first", "second", "final",
];

/// A number that can be bound.
pub(super) struct Bindable {
    experiment: String,
    key: String,
    /// What binds it.
    call: String,
    /// Its digits, as it is shown.
    digits: String,
    /// In the scale that it is shown in.
    number: f64,
}

pub(super) struct Desk<'a> {
    pub numbers: &'a Numbers<'a>,
    /// Of each experiment, the words for it.
    subjects: Vec<(&'a Entry<'a>, Vec<String>)>,
    /// Of each task, its key and the words for it.
    tasks: Vec<(String, Vec<String>)>,
    bindable: Vec<Bindable>,
    seen: &'a Seen,
}

impl<'a> Desk<'a> {
    pub(crate) fn of(numbers: &'a Numbers<'a>, seen: &'a Seen) -> Self {
        let entries = &numbers.families.entries;
        let words = |entry: &Entry| {
            let title = entry.latest.run.experiment.title.clone();
            let parts = |text: &str| text.split([' ', '_', ',']).map(plain).collect::<Vec<_>>();
            let own = parts(&entry.name().replace('-', " ")).into_iter().chain(parts(&title));
            own.filter(|word| word.len() >= 5 && !COMMON.contains(&word.as_str())).collect::<Vec<_>>()
        };
        let all: Vec<Vec<String>> = entries.iter().map(words).collect();
        let subjects = entries.iter().enumerate().map(|(at, entry)| {
            let elsewhere =
                |word: &String| all.iter().enumerate().any(|(other, words)| other != at && words.contains(word));
            let mut names: Vec<String> = all[at].iter().filter(|word| !elsewhere(word)).cloned().collect();
            names.extend([
                plain(entry.name()),
                phrase(&entry.name().replace(['-', '_'], " ")),
                phrase(&entry.latest.run.experiment.title),
            ]);
            names.retain(|name| !name.is_empty());
            (entry, names)
        });
        let mut tasks: Vec<(String, Vec<String>)> = Vec::new();
        for task in entries.iter().flat_map(|entry| headline_tasks(entry.latest)) {
            let key = accuracy_key(task);
            if tasks.iter().any(|(known, _)| *known == key) {
                continue;
            }
            let title = title_of_task(task);
            let of = format!("{title} {}", task.id.replace(['-', '_', '.'], " "));
            let parts = of
                .split(' ')
                .map(plain)
                .filter(|word| word.len() >= 5 && !COMMON.contains(&word.as_str()) && word != "grammar");
            let names = parts.chain([phrase(&title), plain(&task.id)]).filter(|name| !name.is_empty()).collect();
            tasks.push((key, names));
        }
        Desk { numbers, subjects: subjects.collect(), tasks, bindable: bindable(numbers), seen }
    }

    /// The experiments that a sentence names, in their order.
    pub(crate) fn subjects(&self, sentence: &Sentence) -> Vec<&'a Entry<'a>> {
        let plain = sentence.plain();
        let called = |entry: &Entry| {
            sentence.calls().flat_map(|call| &call.arguments).any(|argument| argument.text == entry.name())
        };
        let named = |(entry, names): &&(&'a Entry<'a>, Vec<String>)| {
            names.iter().any(|name| holds(&plain, name)) || called(entry)
        };
        self.subjects.iter().filter(named).map(|(entry, _)| *entry).collect()
    }

    /// The change that a sentence, or else its section, is about.
    pub(crate) fn changes(&self, section: &Section, sentence: &Sentence) -> Vec<&'a Entry<'a>> {
        let of_sentence: Vec<&Entry> =
            self.subjects(sentence).into_iter().filter(|entry| entry.reference.is_some()).collect();
        if !of_sentence.is_empty() {
            return of_sentence;
        }
        let of_section = |entry: &&&Entry| section.path.ends_with(&format!("-{}.typ", entry.name()));
        let all = || self.subjects.iter().map(|(entry, _)| entry).filter(|entry| entry.reference.is_some());
        match all().find(of_section) {
            Some(entry) => vec![*entry],
            None => all().copied().collect(),
        }
    }

    /// Whether a sentence names something that is measured.
    pub(crate) fn names_metric(&self, sentence: &Sentence) -> bool {
        let plain = sentence.plain();
        METRICS.iter().any(|words| holds(&plain, words))
            || self.tasks.iter().any(|(_, names)| names.iter().any(|name| holds(&plain, name)))
    }

    /// The key of the metric that a sentence names, else the main one.
    fn metric(&self, sentence: &Sentence, entry: &Entry) -> String {
        let plain = sentence.plain();
        let of_task = self
            .tasks
            .iter()
            .find(|(key, names)| entry.values.contains_key(key) && names.iter().any(|name| holds(&plain, name)));
        match of_task {
            Some((key, _)) => key.clone(),
            None if entry.values.contains_key(MAIN) => MAIN.to_owned(),
            None => self.tasks.first().map_or(MAIN.to_owned(), |(key, _)| key.clone()),
        }
    }

    /// The claim to write instead of a sentence.
    pub(crate) fn instead(&self, section: &Section, sentence: &Sentence) -> String {
        let changes = self.changes(section, sentence);
        let change = changes.first().and_then(|entry| Some((*entry, self.numbers.families.reference(entry)?)));
        let Some((change, reference)) = change else {
            return "say what was measured with `#value(...)`, and how it stands to chance or to a simpler model with `#standing(...)`".to_owned();
        };
        let claim = self.claim(change, reference, self.metric(sentence, change));
        match claims::sentence(self.numbers, &claim) {
            Ok(sentence) => format!("write `{}`, which says: {}", claim.call(), sentence.text()),
            Err(_) => format!("write `{}`, and the report says what can be said", claim.call()),
        }
    }

    /// The strongest claim that a test carries.
    pub(crate) fn claim(&self, change: &Entry, reference: &Entry, metric: String) -> Claim {
        let several = change.seeds.len() > 1 && reference.seeds.len() > 1;
        let scope = if several { Scope::Procedure } else { Scope::Models };
        let (experiment, than) = (change.name().to_owned(), reference.name().to_owned());
        let neutral = Claim { experiment, relation: Relation::ComparedWith, than, metric, scope };
        let stronger =
            [Relation::BetterThan, Relation::WorseThan].map(|relation| Claim { relation, ..neutral.clone() });
        stronger.into_iter().find(|claim| claims::sentence(self.numbers, claim).is_ok()).unwrap_or(neutral)
    }

    /// What is said of a number that is typed.
    pub(crate) fn typed(&self, sentence: &Sentence, typed: &Typed) -> Found {
        let written = &typed.written;
        if super::readings::is_average(sentence) {
            return Found::new(
                Rule::Average,
                typed.offset,
                format!("the average `{written}` is typed"),
                "write `#mean-of((\"a\", \"b\"), \"KEY\")` over experiments, or `#mean-of(\"a\", (\"KEY\", \"KEY\"))` over tasks",
            );
        }
        let nearest = self.nearest(sentence, typed);
        if nearest.is_none_or(|near| near.digits != typed.digits())
            && let Some(former) = self.former(sentence, typed)
        {
            let (now, call) = (&former.digits, &former.call);
            return Found::new(
                Rule::Stale,
                typed.offset,
                format!("`{written}` is typed, and is what earlier runs gave: `{call}` is {now} now"),
                format!("write `{call}`"),
            );
        }
        let allow =
            format!("or allow it in report/paper.toml: `[[allowed]]`, `number = \"{written}\"`, `reason = \"...\"`");
        let (problem, hint) = match nearest {
            Some(near) if typed.rounds(near.number) => (
                format!("`{written}` is typed; it may be {} of `{}`", near.digits, near.key),
                format!("write `{}`, {allow}", near.call),
            ),
            Some(near) => (
                format!("`{written}` is typed; the nearest number of the records is {}", near.digits),
                format!("write `{}` if that is meant, {allow}", near.call),
            ),
            None => {
                (format!("`{written}` is typed, and no number of the records is near it"), format!("bind it, {allow}"))
            }
        };
        Found::new(Rule::Number, typed.offset, problem, hint)
    }

    /// The number that was typed, most likely: of all that round to it the one that the sentence speaks of, else the nearest
    /// within a tenth.
    fn nearest(&self, sentence: &Sentence, typed: &Typed) -> Option<&Bindable> {
        let subjects: Vec<&str> = self.subjects(sentence).into_iter().map(Entry::name).collect();
        let plain = sentence.plain();
        let speaks_of = |one: &&Bindable| {
            let named = usize::from(subjects.contains(&one.experiment.as_str()));
            let words = one.key.split(['.', '_', '-']).filter(|word| word.len() > 3 && holds(&plain, word)).count();
            let measured = usize::from(!one.key.starts_with("config.") && !one.key.starts_with("data."));
            let exact = usize::from(one.digits == typed.digits());
            4 * exact + 2 * named + 2 * words.min(2) + measured
        };
        let rounds = self.bindable.iter().filter(|one| typed.rounds(one.number));
        let apart = |one: &Bindable| ((one.number.abs() - typed.number.abs() * typed.scale) / one.number).abs();
        let near = || {
            let near = self.bindable.iter().filter(|one| apart(one) <= 0.1 && speaks_of(one) >= 3);
            near.min_by(|a, b| apart(a).total_cmp(&apart(b)))
        };
        // The first of those that are as good.
        rounds.rev().max_by_key(speaks_of).or_else(near)
    }

    /// The number that is now what was typed, where single runs gave that, or an earlier state of the study.
    fn former(&self, sentence: &Sentence, typed: &Typed) -> Option<&Bindable> {
        let subjects: Vec<&str> = self.subjects(sentence).into_iter().map(Entry::name).collect();
        let is_former = |one: &&Bindable| {
            let entry = self.numbers.families.entry(&one.experiment);
            let measured =
                ["validation.", "training.", "tasks.", "resources."].iter().any(|part| one.key.starts_with(part));
            let shown = |run: &harness_analyse::RunAnalysis| {
                run.values.get(&one.key).map(|value| digits(&Number::among(&run.values, value).shown))
            };
            let of_run = || {
                entry.is_some_and(|entry| entry.runs.iter().any(|run| shown(run).as_deref() == Some(&typed.digits())))
            };
            let counts = || entry.is_some_and(|entry| entry.runs.len() > 1);
            one.call.starts_with("#value")
                && measured
                && typed.decimals > 0
                && (counts() && of_run() || self.seen.had(&one.experiment, &one.key, &typed.digits()))
        };
        let mut former: Vec<&Bindable> = self.bindable.iter().filter(is_former).collect();
        former.sort_by_key(|one| {
            (
                !subjects.contains(&one.experiment.as_str()),
                one.key.starts_with("training.") && !sentence.plain().contains("train"),
            )
        });
        former.first().copied()
    }

    /// Every experiment with a number of these digits.
    pub(crate) fn owners(&self, digits: &str) -> Vec<&str> {
        self.bindable
            .iter()
            .filter(|one| one.call.starts_with("#value") && one.digits == digits)
            .map(|one| one.experiment.as_str())
            .collect()
    }

    /// Whether a text names an experiment.
    pub(crate) fn is_named(&self, experiment: &str, text: &str) -> bool {
        let text = phrase(text);
        self.subjects
            .iter()
            .any(|(entry, names)| entry.name() == experiment && names.iter().any(|name| holds(&text, name)))
    }
}

fn bindable(numbers: &Numbers) -> Vec<Bindable> {
    let mut all = Vec::new();
    for entry in &numbers.families.entries {
        for (key, value) in &entry.values {
            let shown = Number::among(&entry.values, value).shown;
            let call = format!("#value(\"{}\", \"{key}\")", entry.name());
            all.extend(Bindable::of(entry.name(), key, call, &shown));
        }
    }
    for (first, second, key, difference) in numbers.differences.all() {
        let call = format!("#delta(\"{first}\", \"{second}\", \"{key}\")");
        all.extend(Bindable::of(first, key, call, &difference.difference.shown));
    }
    all
}

impl Bindable {
    fn of(experiment: &str, key: &str, call: String, shown: &Shown) -> Option<Self> {
        let digits = digits(shown);
        let number = match shown {
            Shown::Text(_) => digits.parse().ok()?,
            Shown::PowerOfTen { mantissa, exponent } => {
                format!("{mantissa}e{exponent}").replace('\u{2212}', "-").parse().ok()?
            }
        };
        Some(Bindable { experiment: experiment.to_owned(), key: key.to_owned(), call, digits, number })
    }
}

/// The digits that a page shows, without sign and grouping.
pub(super) fn digits(shown: &Shown) -> String {
    shown.in_one_piece().chars().filter(|c| c.is_ascii_digit() || *c == '.').collect()
}

/// A word in small letters without hyphens.
fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
}

/// Words likewise, one blank between two.
fn phrase(text: &str) -> String {
    text.split_whitespace().map(plain).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether a text has a word or phrase as a whole.
pub(super) fn holds(plain: &str, words: &str) -> bool {
    format!(" {} ", plain.trim()).contains(&format!(" {words} "))
}
