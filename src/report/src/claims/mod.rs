//! Sentences that compare, compiled from the test that was registered, else from that of `harness compare`; what no test
//! carries is refused at its place, with the sentence that is honest. What was decided of a hypothesis is told likewise.
//!
//! A claim is made where it stands, `#claim("a", better-than: "b", metric: "...", scope: "models")`, or once in
//! `report/claims.toml` and by its name after that. Both are the same [`Claim`].

use std::collections::BTreeMap;

use harness_analyse::compare::{Basis, Effect, TestKind, show_p};
use harness_analyse::{Unit, lower_is_better};
use harness_core::config::nearest;
use harness_core::files;
use harness_core::names::Project;
use harness_record::format::Purpose;
use harness_study::decide::{Decision, Estimate, Verdict};
use harness_study::family::Test;
use serde::Serialize;

use super::draft::in_sentence;
use super::error::{Place, ReportError};
use super::families::{Entry, TEST_BITS};
use super::model::{Claim, Number, Piece, Relation, Scope, Shown, half_width};
use super::section::{Argument, Call, Function, Named, Section};
use super::values::{Backing, Numbers};
use crate::plot::{headline_tasks, title_of_task};

/// Where claims have names, relative to the project.
pub(super) const PATH: &str = "report/claims.toml";

/// A claim as a section makes it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub claim: Claim,
    /// What the call says, by the names of Typst: how the page finds its sentence.
    asked: BTreeMap<String, String>,
    /// Where the relation is claimed.
    at: Place,
    /// The name in `report/claims.toml`, if it has one.
    name: Option<String>,
}

/// A claim that holds, for `values.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Compiled {
    asked: BTreeMap<String, String>,
    #[serde(flatten)]
    claim: Claim,
    pieces: Vec<Piece>,
    text: String,
}

/// A sentence with what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sentence {
    pub pieces: Vec<Piece>,
    pub backing: Backing,
}

impl Sentence {
    fn of(text: &str, backing: Backing) -> Self {
        Sentence { pieces: Piece::sentence(text), backing }
    }

    /// As it is read.
    pub(crate) fn text(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) | Piece::Code(text) => text.as_str(),
            })
            .collect()
    }
}

// ---- what is claimed where

/// Every claim of the sections.
pub(super) fn asked_for(
    project: &Project,
    sections: &[Section],
    source: &mut dyn FnMut(&str, &str),
) -> Result<Vec<Asked>, ReportError> {
    let mut register = None;
    let mut all = Vec::new();
    for section in sections {
        for call in section.calls_of(&[Function::Claim]) {
            if call.named.is_empty() && call.arguments.len() == 1 {
                if register.is_none() {
                    register = Some(Register::load(project, source)?);
                }
                let register = register.as_ref().expect("it was loaded");
                all.push(register.claim(section, &call.arguments[0])?);
            } else {
                all.push(inline(section, call)?);
            }
        }
    }
    Ok(all)
}

/// The experiments that claims hold against each other.
pub(super) fn pairs(asked: &[Asked]) -> Vec<(String, String)> {
    asked.iter().map(|asked| (asked.claim.experiment.clone(), asked.claim.than.clone())).collect()
}

/// A claim that is made where it stands.
fn inline(section: &Section, call: &Call) -> Result<Asked, ReportError> {
    let wrong = |offset: usize, problem: String, hint: Option<String>| {
        Err(ReportError::Source { problem, place: Box::new(section.place(offset)), hint })
    };
    let form = || {
        Some("write `#claim(\"a\", better-than: \"b\", metric: \"validation.bits_per_byte\", scope: \"models\")`, or `scope: \"procedure\"` of several seeds; `worse-than`, `different-from` and `compared-with` are the other relations".to_owned())
    };
    let [experiment] = call.arguments.as_slice() else {
        return wrong(call.offset, "a claim names one experiment before what it claims of it".to_owned(), form());
    };
    let mut relation: Option<(Relation, &Argument, usize)> = None;
    let (mut metric, mut scope) = (None, None);
    for Named { name, offset, value } in &call.named {
        let Some(value) = value else {
            return wrong(*offset, format!("`{name}` of a claim is a plain string"), form());
        };
        match (name.as_str(), Relation::named(name)) {
            (_, Some(_)) if relation.is_some() => return wrong(*offset, "a claim has one relation".to_owned(), form()),
            (_, Some(named)) => relation = Some((named, value, *offset)),
            ("metric", _) => metric = Some(value),
            ("scope", _) => match Scope::named(&value.text) {
                Some(named) => scope = Some(named),
                None => {
                    let problem = format!("there is no scope `{}`", value.text);
                    return wrong(value.offset, problem, Some("there are: models, procedure".to_owned()));
                }
            },
            (other, _) => {
                let known: Vec<&str> = Relation::ALL.iter().map(|(_, name)| *name).chain(["metric", "scope"]).collect();
                let hint = nearest(other, &known).map(|near| format!("did you mean `{near}`?")).or_else(form);
                return wrong(*offset, format!("a claim has no `{other}`"), hint);
            }
        }
    }
    let (Some((relation, than, at)), Some(metric), Some(scope)) = (relation, metric, scope) else {
        let lacks = if relation.is_none() {
            "relation"
        } else if metric.is_none() {
            "metric"
        } else {
            "scope"
        };
        return wrong(call.offset, format!("the claim has no {lacks}"), form());
    };
    let claim = Claim {
        experiment: experiment.text.clone(),
        relation,
        than: than.text.clone(),
        metric: metric.text.clone(),
        scope,
    };
    let asked = [("experiment", &claim.experiment), (relation.name(), &claim.than), ("metric", &claim.metric)];
    let mut asked: BTreeMap<String, String> =
        asked.into_iter().map(|(name, text)| (name.to_owned(), text.clone())).collect();
    asked.insert("scope".to_owned(), scope.word().to_owned());
    Ok(Asked { claim, asked, at: section.place(at), name: None })
}

/// Entries of `report/claims.toml` that no section makes, by name.
pub(super) fn unused(project: &Project, sections: &[Section]) -> Result<Vec<(String, Place)>, ReportError> {
    let register = Register::load(project, &mut |_, _| ())?;
    let calls = sections.iter().flat_map(|section| section.calls_of(&[Function::Claim]));
    let made: Vec<&str> =
        calls.filter(|call| call.named.is_empty()).flat_map(|c| &c.arguments).map(|name| name.text.as_str()).collect();
    let unused = register.claims.keys().filter(|name| !made.contains(&name.as_str()));
    Ok(unused.map(|name| (name.clone(), Place::at(PATH, &register.text, register.offset(name, "")))).collect())
}

/// `report/claims.toml`
struct Register {
    text: String,
    claims: toml::Table,
}

impl Register {
    fn load(project: &Project, source: &mut dyn FnMut(&str, &str)) -> Result<Self, ReportError> {
        let text = match files::read_to_string(&project.root().join(PATH)) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => {
                return Ok(Register { text: String::new(), claims: toml::Table::new() });
            }
            Err(error) => return Err(error.into()),
        };
        source(PATH, &text);
        let claims = toml::from_str(&text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            Self::wrong(&text, offset, error.message().trim().to_owned(), None)
        })?;
        Ok(Register { text, claims })
    }

    fn wrong(text: &str, offset: usize, problem: String, hint: Option<String>) -> ReportError {
        ReportError::Source { problem, place: Box::new(Place::at(PATH, text, offset)), hint }
    }

    /// The byte offset of a key of a claim, else of the claim.
    fn offset(&self, name: &str, key: &str) -> usize {
        let mut at = 0;
        let (mut inside, mut found) = (false, None);
        for line in self.text.split_inclusive('\n') {
            let trimmed = line.trim();
            if let Some(header) = trimmed.strip_prefix('[') {
                inside = header.split(']').next().is_some_and(|own| own.trim().trim_matches(['"', '\'']) == name);
                if inside {
                    found = found.or(Some(at));
                }
            } else if inside && trimmed.split('=').next().is_some_and(|own| own.trim() == key) {
                return at + (line.len() - line.trim_start().len());
            }
            at += line.len();
        }
        found.unwrap_or(0)
    }

    /// The claim of a name, which stands at `named` in a section.
    fn claim(&self, section: &Section, named: &Argument) -> Result<Asked, ReportError> {
        const FORM: &str = "it holds `experiment`, one of `better_than`, `worse_than`, `different_from` and `compared_with`, `metric` \
             and `scope` (\"models\" or \"procedure\")";
        let name = named.text.as_str();
        let Some(stated) = self.claims.get(name).and_then(toml::Value::as_table) else {
            let known: Vec<&str> = self.claims.keys().map(String::as_str).collect();
            let hint = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "write `[{name}]` into {PATH}: {FORM}; or claim it where it stands, with `better-than:`, `metric:` and `scope:`"
                ),
            };
            let problem = format!("there is no claim `{name}`");
            return Err(ReportError::Source {
                problem,
                place: Box::new(section.place(named.offset)),
                hint: Some(hint),
            });
        };
        let wrong = |key: &str, problem: String| {
            Self::wrong(&self.text, self.offset(name, key), problem, Some(FORM.to_owned()))
        };
        let mut texts = BTreeMap::new();
        let mut relations = Vec::new();
        for (key, value) in stated {
            let relation = Relation::named(&key.replace('_', "-"));
            if relation.is_none() && !["experiment", "metric", "scope"].contains(&key.as_str()) {
                return Err(wrong(key, format!("a claim has no `{key}`")));
            }
            let text = value.as_str().ok_or_else(|| wrong(key, format!("`{key}` of a claim is a text")))?;
            relations.extend(relation.map(|relation| (relation, key.as_str(), text)));
            texts.insert(key.as_str(), text);
        }
        let [(relation, key, than)] = relations[..] else {
            return Err(wrong("", format!("the claim `{name}` has {} relations", relations.len())));
        };
        let text = |key: &str| {
            texts
                .get(key)
                .map(|text| (*text).to_owned())
                .ok_or_else(|| wrong("", format!("the claim `{name}` has no `{key}`")))
        };
        let scope = text("scope")?;
        let scope = Scope::named(&scope).ok_or_else(|| wrong("scope", format!("there is no scope `{scope}`")))?;
        let claim =
            Claim { experiment: text("experiment")?, relation, than: than.to_owned(), metric: text("metric")?, scope };
        let asked = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        let at = Place::at(PATH, &self.text, self.offset(name, key));
        Ok(Asked { claim, asked, at, name: Some(name.to_owned()) })
    }
}

// ---- what the tests carry

/// The sentences of the claims. The first that no test carries is an error.
pub(super) fn compile(numbers: &Numbers, asked: &[Asked]) -> Result<Vec<Compiled>, ReportError> {
    let mut compiled: Vec<Compiled> = Vec::new();
    for one in asked {
        let refused = |problem: String, hint: Option<String>| ReportError::Source {
            problem,
            place: Box::new(one.at.clone()),
            hint,
        };
        known(numbers, &one.claim).map_err(|(problem, hint)| refused(problem, hint))?;
        let sentence = sentence(numbers, &one.claim).map_err(|why| refused(why, one.instead(numbers)))?;
        let (pieces, text) = (sentence.pieces.clone(), sentence.text());
        let one = Compiled { asked: one.asked.clone(), claim: one.claim.clone(), pieces, text };
        if !compiled.contains(&one) {
            compiled.push(one);
        }
    }
    Ok(compiled)
}

impl Asked {
    /// What can be said instead, as it is written and as it is read.
    fn instead(&self, numbers: &Numbers) -> Option<String> {
        let honest = |scope: Scope| {
            let claim = Claim { relation: Relation::ComparedWith, scope, ..self.claim.clone() };
            Some((sentence(numbers, &claim).ok()?.text(), claim))
        };
        let (text, claim) = honest(self.claim.scope).or_else(|| honest(Scope::Models))?;
        let write = match &self.name {
            None => format!("write `{}`", claim.call()),
            Some(name) => {
                let Claim { than, scope, .. } = &claim;
                format!("write `compared_with = \"{than}\"` and `scope = \"{}\"` below `[{name}]`", scope.word())
            }
        };
        Some(format!("{write}, which says: {text}"))
    }
}

/// Whether both experiments and the metric are there.
fn known(numbers: &Numbers, claim: &Claim) -> Result<(), (String, Option<String>)> {
    let names = numbers.families.names();
    for name in [&claim.experiment, &claim.than] {
        let Some(entry) = numbers.families.entry(name) else {
            let near = nearest(name, &names).map(|near| format!("did you mean `{near}`?"));
            let hint = near.unwrap_or_else(|| format!("there are: {}", names.join(", ")));
            return Err((format!("there is no experiment `{name}`"), Some(hint)));
        };
        if !entry.values.contains_key(&claim.metric) {
            let keys: Vec<&str> = entry.values.keys().map(String::as_str).collect();
            let near = nearest(&claim.metric, &keys).map(|near| format!("did you mean `{near}`?"));
            let hint = near.unwrap_or_else(|| format!("`harness show {name} --values` lists the keys"));
            return Err((format!("there is no value `{}` of `{name}`", claim.metric), Some(hint)));
        }
    }
    if claim.experiment == claim.than {
        return Err((format!("`{}` is held against itself", claim.than), None));
    }
    Ok(())
}

/// What a test found, the first of the claim minus the second.
struct Found {
    difference: f64,
    standard_error: Option<f64>,
    /// Of the difference, as the evidence says it.
    interval: Option<[f64; 2]>,
    unit: Unit,
    /// Whether the test tells them apart.
    decided: bool,
    /// Whether what it tells is true of ways of training.
    over_seeds: bool,
    /// Runs of each side.
    runs: [usize; 2],
    /// What stands in brackets: interval, test, n and correction.
    evidence: String,
    /// Why nothing is tested.
    not_tested: Option<String>,
    /// Ids of the runs.
    backing: Vec<String>,
}

/// The sentence of a claim; else why it is none.
pub(super) fn sentence(numbers: &Numbers, claim: &Claim) -> Result<Sentence, String> {
    let Claim { experiment, relation, than, metric, scope } = claim;
    let found = found(numbers, claim)?;
    if *scope == Scope::Procedure && !found.over_seeds {
        let [first, second] = found.runs;
        return Err(format!(
            "a claim of scope \"procedure\" rests on several seeds of both sides; `{experiment}` has {first}, `{than}` has {second}"
        ));
    }
    let better = (found.difference < 0.0) == lower_is_better(metric);
    let carried = match relation {
        Relation::BetterThan => found.decided && better,
        Relation::WorseThan => found.decided && !better,
        Relation::DifferentFrom => found.decided,
        Relation::ComparedWith => true,
    };
    if !carried {
        let relation = relation.name().replace('-', " ");
        let why = match (&found.not_tested, found.decided) {
            (Some(why), _) => format!("nothing is tested: {why}"),
            (None, true) => format!("the test finds the opposite ({})", found.evidence),
            (None, false) => format!("the test does not tell them apart ({})", found.evidence),
        };
        return Err(format!("no test carries that `{experiment}` is {relation} `{than}` in `{metric}`: {why}"));
    }
    let noun = noun(numbers, experiment, metric);
    let one_each = found.runs == [1, 1];
    let (article, plain) = (noun.article(), &noun.words);
    let clause = match (&found.not_tested, found.decided, relation, scope) {
        (Some(_), _, _, scope) => {
            let of = if *scope == Scope::Models { "the models of" } else { "models trained as" };
            format!("{} of {of} `{experiment}` and `{than}` are not tested against each other", noun.plural())
        }
        (_, false, _, Scope::Procedure) => {
            format!("models trained as `{experiment}` and as `{than}` are not distinguishable in {plain}")
        }
        (_, false, _, Scope::Models) => {
            format!("the models of `{experiment}` and `{than}` are not distinguishable in {plain}")
        }
        (_, true, Relation::DifferentFrom, Scope::Procedure) => {
            format!("models trained as `{experiment}` and as `{than}` differ in {plain}")
        }
        (_, true, Relation::DifferentFrom, Scope::Models) => {
            format!("the models of `{experiment}` and `{than}` differ in {plain}")
        }
        (_, true, _, scope) => {
            let way = if found.difference < 0.0 { "lower" } else { "higher" };
            match scope {
                Scope::Procedure => format!(
                    "models trained as `{experiment}` have {article}{way} {plain} than models trained as `{than}`"
                ),
                Scope::Models if one_each => {
                    format!("the model of `{experiment}` has {article}{way} {plain} than the model of `{than}`")
                }
                Scope::Models => format!(
                    "the models of `{experiment}` have {article}{way} {plain} on average than the models of `{than}`"
                ),
            }
        }
    };
    let number = Number::difference(found.difference, found.standard_error, found.interval, found.unit);
    let evidence = match &found.not_tested {
        Some(why) => format!("not tested because {why}"),
        None => found.evidence.clone(),
    };
    let mut text = format!("{clause} (difference {}{}; {evidence})", number.shown, number.suffix);
    if *scope == Scope::Models {
        text += "; this is said of these models, not of how they were trained";
    }
    if let Some(why) = exploratory(numbers, claim) {
        text += &format!("; it is exploratory: {why}");
    }
    let backing = Backing { number: found.difference, runs: found.backing };
    Ok(Sentence::of(&text, backing))
}

/// How a metric is called in a sentence.
struct Noun {
    words: String,
    plural: bool,
}

impl Noun {
    fn article(&self) -> &'static str {
        if self.plural { "" } else { "a " }
    }

    fn plural(&self) -> String {
        if self.plural { self.words.clone() } else { format!("values of {}", self.words) }
    }
}

fn noun(numbers: &Numbers, experiment: &str, metric: &str) -> Noun {
    let title = |id: &str| {
        let entry = numbers.families.entry(experiment)?;
        let task = entry.latest.tasks.iter().chain(headline_tasks(entry.latest)).find(|task| task.id == id)?;
        Some(in_sentence(&title_of_task(task)))
    };
    let of_task = |rest: &str| {
        let (id, score) = rest.rsplit_once('.')?;
        let on = title(id).unwrap_or_else(|| format!("`{id}`"));
        match score {
            "bits_per_byte" => Some((format!("bits per byte on {on}"), true)),
            "accuracy" => Some((format!("accuracy on {on}"), false)),
            "accuracy_per_character" => Some((format!("accuracy, normalized for each character, on {on}"), false)),
            "greedy_accuracy" => Some((format!("accuracy of greedy words on {on}"), false)),
            "gold_bits_per_byte" => Some((format!("bits per byte of the right answers on {on}"), true)),
            "gold_probability" => Some((format!("probability of the right answers on {on}"), false)),
            _ => None,
        }
    };
    let (words, plural) = match metric {
        "validation.bits_per_byte" => ("validation bits per byte".to_owned(), true),
        TEST_BITS => ("test bits per byte".to_owned(), true),
        _ => metric.strip_prefix("tasks.").and_then(of_task).unwrap_or_else(|| (format!("`{metric}`"), false)),
    };
    Noun { words, plural }
}

/// The registered test of a metric of these two, if there is one, else that of `harness compare`.
fn found(numbers: &Numbers, claim: &Claim) -> Result<Found, String> {
    let Claim { experiment, than, metric, scope, .. } = claim;
    for (change, base, sign) in [(experiment, than, 1.0), (than, experiment, -1.0)] {
        let registered = numbers.decisions.get(change).filter(|decision| decides(decision, base, metric));
        let Some(decision) = registered else { continue };
        match &decision.estimate {
            Some(estimate) => return Ok(registered_test(numbers, decision, estimate, sign, metric)),
            None if *scope == Scope::Procedure => {
                return Err(format!("what was registered of `{change}` cannot be tested yet: {}", because(decision)));
            }
            None => {}
        }
    }
    // What is held against the reference is corrected as a family, whichever side a sentence begins with.
    let is_reference = || {
        let entry = numbers.families.entry(than)?;
        Some(numbers.families.reference(entry)?.name() == experiment)
    };
    let (first, second, sign) =
        if is_reference() == Some(true) { (than, experiment, -1.0) } else { (experiment, than, 1.0) };
    let difference = numbers.differences.get(first, second, metric);
    let difference = difference.ok_or_else(|| format!("the runs of both have no `{metric}` in common"))?;
    let mut backing: Vec<String> = Vec::new();
    let mut runs = [0, 0];
    for (at, name) in [experiment, than].into_iter().enumerate() {
        let ids = numbers.families.entry(name).map_or_else(Vec::new, |entry| entry.runs_behind(metric));
        runs[at] = ids.len();
        backing.extend(ids);
    }
    let unit = difference.difference.unit;
    let (decided, evidence, over_seeds, not_tested, standard_error, interval) = match &difference.tested {
        None => (false, String::new(), false, Some("`harness compare` has no test of it".to_owned()), None, None),
        Some(tested) => {
            let effect = &tested.effect;
            let over_seeds = matches!(tested.basis, Basis::SharedSeeds | Basis::Seeds);
            let why = effect.not_judged.map(|why| {
                let words = why.words();
                words.split(": ").next().unwrap_or(&words).to_owned()
            });
            let interval = effect.interval.map(|interval| turned(interval, sign));
            let evidence = evidence(effect, interval, runs, tested.tests);
            (effect.verdict.is_decided(), evidence, over_seeds, why, effect.standard_error, interval)
        }
    };
    Ok(Found {
        difference: sign * difference.difference.number,
        standard_error,
        interval,
        unit,
        decided,
        over_seeds,
        runs,
        evidence,
        not_tested,
        backing,
    })
}

fn decides(decision: &Decision, base: &str, metric: &str) -> bool {
    let of_metric = decision.proposal.expect.as_ref().is_some_and(|expect| expect.metric == metric);
    of_metric && decision.against.as_str() == base
}

fn because(decision: &Decision) -> String {
    // What the program advises to type is for a terminal.
    decision.because.iter().map(|why| why.split(';').next().unwrap_or(why)).collect::<Vec<_>>().join("; ")
}

fn registered_test(numbers: &Numbers, decision: &Decision, estimate: &Estimate, sign: f64, metric: &str) -> Found {
    let seeds = decision.seeds.len();
    let unit = unit(numbers, decision, metric);
    let of = decision.family.len();
    let adjusted =
        if of == 1 { String::new() } else { format!(" adjusted over {of} changes of `{}`", decision.against) };
    let interval = turned(estimate.interval, sign);
    let shown = shown_interval(interval, unit, 1.0 - decision.level);
    let together = if of == 1 { "" } else { "simultaneous " };
    let test = match estimate.test {
        Test::DunnettInBlocks if of > 1 => format!("Dunnett's test within {seeds} shared seeds"),
        Test::DunnettInBlocks => format!("t test within {seeds} shared seeds"),
        Test::OwnBlocks => format!("t test within {seeds} shared seeds of this change alone, Bonferroni's correction"),
    };
    let p = show_p(estimate.p_adjusted, 3);
    let evidence = format!("{together}{shown}; {test}; {p}{adjusted}, as it was registered");
    let [of_change, of_base] = &decision.runs;
    Found {
        difference: sign * estimate.difference,
        standard_error: None,
        interval: Some(interval),
        unit,
        decided: estimate.interval[0] > 0.0 || estimate.interval[1] < 0.0,
        over_seeds: true,
        runs: [seeds, seeds],
        evidence,
        not_tested: None,
        backing: of_change.iter().chain(of_base).map(|run| run.run.to_string()).collect(),
    }
}

fn unit(numbers: &Numbers, decision: &Decision, metric: &str) -> Unit {
    let entry = numbers.families.entry(decision.experiment.as_str());
    entry.and_then(|entry| entry.values.get(metric)).map_or(Unit::Number, |value| value.unit)
}

/// The interval of the opposite difference, where the sign is negative.
fn turned([low, high]: [f64; 2], sign: f64) -> [f64; 2] {
    if sign < 0.0 { [-high, -low] } else { [low, high] }
}

fn shown_interval([low, high]: [f64; 2], unit: Unit, confidence: f64) -> String {
    let percent = format!("{:.2}", 100.0 * confidence);
    let percent = percent.trim_end_matches('0').trim_end_matches('.');
    let end = |number: f64| Shown::difference(number, unit, half_width(Some([low, high]), None));
    format!("{percent}% interval {} to {}", end(low), end(high))
}

fn evidence(effect: &Effect, interval: Option<[f64; 2]>, [first, second]: [usize; 2], tests: usize) -> String {
    let units = effect.units;
    let test = effect.test.map(|test| match test {
        TestKind::TOverDocuments => format!("t test over {units} documents"),
        TestKind::TOverItems => format!("t test over {units} items"),
        TestKind::ExactMcnemar => format!("exact McNemar test over {units} items"),
        TestKind::McnemarOverTasks => format!("McNemar's test over {units} items of its tasks"),
        TestKind::TOverItemClusters => format!("t test over clusters of {units} items"),
        TestKind::BlocksOverSeeds => format!("t test within {first} shared seeds"),
        TestKind::PooledTOverSeeds => format!("pooled t test over {first} and {second} seeds"),
        TestKind::WelchOverSeeds => format!("Welch's t test over {first} and {second} seeds"),
    });
    let corrected = |p: f64| {
        let over = if tests > 1 { format!(" after Holm's correction over {tests} tests") } else { String::new() };
        format!("{}{over}", show_p(p, 3))
    };
    let interval = interval.map(|interval| shown_interval(interval, effect.unit, 0.95));
    [interval, test, effect.p_holm.map(corrected)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Why what is found counts as exploration; none where it was registered, or stated, and then looked for.
pub(super) fn exploratory(numbers: &Numbers, claim: &Claim) -> Option<String> {
    let Claim { experiment, than, metric, .. } = claim;
    let registered = [(experiment, than), (than, experiment)].into_iter().find_map(|(change, base)| {
        numbers.decisions.get(change).filter(|decision| decides(decision, base, metric) && decision.estimate.is_some())
    });
    if let Some(decision) = registered {
        let mut why = Vec::new();
        if !decision.changed_since.is_empty() {
            why.push(format!("its {} changed after the first run", decision.changed_since.join(", ")));
        }
        if !decision.amendments.is_empty() {
            let count = decision.amendments.len();
            let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
            why.push(format!("what was registered was amended {times} before the first run"));
        }
        return (!why.is_empty()).then(|| why.join(", and "));
    }
    let entries: Vec<&Entry> = [experiment, than].into_iter().filter_map(|name| numbers.families.entry(name)).collect();
    let is_change = |entry: &&&Entry| entry.reference.is_some();
    let change = entries.iter().find(is_change).or_else(|| entries.first())?;
    let confirms = |entry: &&Entry| {
        let mut purposes = entry.runs_of(metric).iter().map(|run| run.run.open.plan.purpose);
        purposes.all(|purpose| matches!(purpose, Purpose::Confirm | Purpose::Final))
    };
    let mut why = Vec::new();
    if !entries.iter().all(confirms) {
        why.push("not all runs were made to confirm something".to_owned());
    }
    if !change.has_hypothesis() {
        why.push(format!("`{}` has no hypothesis", change.name()));
    } else if change.runs_before_hypothesis() > 0 {
        why.push(format!("the hypothesis of `{}` was stated after its first run", change.name()));
    }
    (!why.is_empty()).then(|| why.join(", and "))
}

// ---- what was decided

/// What was decided of the hypothesis of an experiment; none where nothing was registered.
pub(super) fn verdict(numbers: &Numbers, experiment: &str) -> Option<Sentence> {
    let decision = numbers.decisions.get(experiment)?;
    let expect = decision.proposal.expect.as_ref()?;
    let size = expect.size(Some(&format!("`{}`", decision.against)));
    let noun = noun(numbers, experiment, &expect.metric).words;
    let mut text = format!("the hypothesis is {}: {noun} {size} was registered", decision.verdict.word());
    let mut backing = Backing { number: 0.0, runs: Vec::new() };
    if let Some(estimate) = &decision.estimate {
        let found = registered_test(numbers, decision, estimate, 1.0, &expect.metric);
        let number = Number::difference(found.difference, None, found.interval, found.unit);
        text += &format!("; found was a difference of {}{} ({})", number.shown, number.suffix, found.evidence);
        backing = Backing { number: found.difference, runs: found.backing };
    }
    if decision.verdict == Verdict::Inadmissible || decision.verdict == Verdict::Deviated {
        text += &format!("; {}", because(decision));
    }
    if !decision.amendments.is_empty() {
        text += &format!("; amended before the first run: {}", decision.amendments.len());
    }
    text += &format!("; the rule advises to {}", decision.action.word());
    Some(Sentence::of(&text, backing))
}

#[cfg(test)]
mod tests;
