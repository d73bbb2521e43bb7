//! Differences from the first named, by the same tests as `harness compare`.

use super::{PlotError, Request, Shown, headline_tasks, title_in_group};
use harness_analyse::compare::{Asked, Effect, PRIMARY, SECONDARY};
use harness_analyse::{Comparison, Likelihood, Side, Unit, accuracy_key, compare};
use harness_figure::{Figure, Subject, delta, forest};

fn side(shown: &Shown) -> Side {
    let runs = shown.runs.iter().map(|run| (*run).clone()).collect();
    Side { name: shown.subject.name.clone(), runs, left_out: Vec::new(), notes: Vec::new(), opened: None }
}

fn comparisons(request: &Request) -> Result<Vec<Comparison>, PlotError> {
    let (reference, others) = request.shown.split_first().expect("a figure shows something");
    if others.is_empty() {
        let hint = "name the reference first, then what to compare with it";
        return Err(request.nothing("a comparison needs two names", hint));
    }
    let reference = side(reference);
    Ok(others.iter().map(|other| compare(&reference, &side(other), &Asked::default())).collect::<Result<_, _>>()?)
}

/// The name of a metric: the title of its task where it has one.
fn name_of(metric: &str, request: &Request) -> String {
    let latest = request.shown[0].latest();
    let mut tasks = headline_tasks(latest).into_iter().chain(&latest.tasks);
    let of_likelihood = Likelihood::of_key(metric).map(|(id, _)| id);
    let found =
        tasks.find(|task| metric == accuracy_key(&task.id, task.metric) || of_likelihood == Some(task.id.as_str()));
    match (found, metric) {
        (Some(task), _) => title_in_group(task),
        (None, "validation.bits_per_byte") => "validation text".to_owned(),
        (None, metric) => metric.trim_start_matches("tasks.").to_owned(),
    }
}

/// Whether a metric counts on its own: declared or not, but no task of a group.
fn is_headline(effect: &Effect) -> bool {
    [PRIMARY, SECONDARY].contains(&effect.family.as_str())
}

fn is_decided(effect: &Effect) -> bool {
    effect.verdict.is_decided()
}

pub(super) fn forest(request: &Request) -> Result<Figure, PlotError> {
    let comparisons = comparisons(request)?;
    let mut groups: Vec<forest::Group> = Vec::new();
    for first in comparisons.iter().flat_map(|c| &c.effects).filter(|e| is_headline(e)) {
        let likelihood = Likelihood::of_key(&first.metric).map(|(_, score)| score);
        let (label, scale) = match first.unit {
            _ if likelihood == Some(Likelihood::GoldBitsPerByte) => {
                ("Difference in bits per byte of right answers".to_owned(), 1.0)
            }
            _ if likelihood == Some(Likelihood::GoldProbability) => {
                ("Difference in probability of right answers (points)".to_owned(), 100.0)
            }
            Unit::Share => ("Difference in accuracy (points)".to_owned(), 100.0),
            Unit::BitsPerByte => ("Difference in bits per byte".to_owned(), 1.0),
            Unit::NatsPerToken => ("Difference in nats per token".to_owned(), 1.0),
            _ => (format!("Difference in {}", first.metric), 1.0),
        };
        let shown = |e: &Effect| forest::Effect {
            difference: scale * e.difference,
            interval: e.interval.map(|[low, high]| [scale * low, scale * high]),
            decided: is_decided(e),
        };
        let name = name_of(&first.metric, request);
        let of = |c: &Comparison| c.effects.iter().find(|e| e.metric == first.metric).map(shown);
        let row = forest::Row { name, effects: comparisons.iter().map(of).collect() };
        let same = |g: &&mut forest::Group| g.label == label && g.lower_is_better == first.lower_is_better;
        match groups.iter_mut().find(same) {
            Some(group) if group.rows.iter().all(|r| r.name != row.name) => group.rows.push(row),
            Some(_) => {}
            None => groups.push(forest::Group { label, lower_is_better: first.lower_is_better, rows: vec![row] }),
        }
    }
    let subjects: Vec<Subject> = request.shown[1..].iter().map(|s| s.subject.clone()).collect();
    Ok(forest::draw(&request.shown[0].subject.name, &subjects, &groups))
}

/// More rows than this do not fit a page: then only the headline tasks are shown.
const MOST_ROWS: usize = 40;

pub(super) fn delta(request: &Request) -> Result<Figure, PlotError> {
    let [reference, other] = request.shown else {
        let hint = "name two: the reference, then the changed one; `forest` shows several";
        return Err(request.nothing("it shows one change", hint));
    };
    let comparison = comparisons(request)?.swap_remove(0);
    let is_accuracy = |e: &&Effect| e.unit == Unit::Share && Likelihood::of_key(&e.metric).is_none();
    let shares: Vec<&Effect> = comparison.effects.iter().filter(is_accuracy).collect();
    let all = shares.len() <= MOST_ROWS;
    let row = |e: &&Effect| {
        let name = name_of(&e.metric, request);
        delta::Row {
            name: if is_headline(e) { name } else { format!("\u{2013} {name}") },
            difference: e.difference,
            interval: e.interval,
            decided: is_decided(e),
        }
    };
    // Members of a group stand below it.
    let primary = shares.iter().filter(|e| is_headline(e));
    let members = |headline: &Effect| {
        let family = headline.metric.trim_start_matches("tasks.").rsplit_once('.').map_or("", |(id, _)| id).to_owned();
        shares.iter().filter(move |e| all && !is_headline(e) && e.family == family)
    };
    let rows: Vec<delta::Row> = primary.flat_map(|e| [row(e)].into_iter().chain(members(e).map(row))).collect();
    if rows.is_empty() {
        return Err(request.nothing("no task was scored on both sides", "set `evaluation.tasks`"));
    }
    Ok(delta::draw(&other.subject, &reference.subject.name, &rows))
}
