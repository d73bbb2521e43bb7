//! `harness data show`: a prepared corpus as a person looks at it, from raw text to tokens, with texts to judge by.

use std::collections::BTreeMap;

use harness_core::corpus_manifest::{DuplicateGroup, Lengths, Manifest, SourceRecord, TextLengths};
use harness_corpus::{PreparedCorpus, Sample, Store};
use serde_json::{Value, json};

use super::{Failure, terminal};
use harness_analyse::{Unit, show};

/// Version of what `--json` prints.
const FORMAT: u32 = 1;
/// Sources listed without `--all`.
const SOURCES: usize = 10;
/// Groups of repeated documents listed without `--all`.
const GROUPS: usize = 5;
/// Removed and changed documents shown of each step, where no number is given.
const SAMPLES: usize = 2;
/// Characters of a text in one line.
const SHOWN: usize = 96;
/// Characters of the longest bar.
const BAR: usize = 28;

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Every source and group, not the largest only.
    pub all: bool,
    /// Documents of each step and kind; none: two on the terminal, all in JSON.
    pub samples: Option<usize>,
}

/// The corpus as one JSON object: root, manifest, samples, and the beginnings of the repeated documents it names.
pub(super) fn as_json(corpus: &PreparedCorpus, store: &Store, extent: Extent) -> Result<Value, Failure> {
    let manifest = corpus.manifest();
    let ids = ids_of(&manifest.largest_duplicate_groups);
    Ok(json!({
        "format": FORMAT,
        "root": corpus.root(),
        "manifest": manifest,
        "samples": at_most(corpus.samples()?, extent.samples.unwrap_or(usize::MAX)),
        "beginnings": corpus.beginnings(store, &ids, SHOWN)?,
    }))
}

/// The corpus as text, a heading for each part.
pub(super) fn as_text(corpus: &PreparedCorpus, store: &Store, extent: Extent) -> Result<String, Failure> {
    let manifest = corpus.manifest();
    let groups = &manifest.largest_duplicate_groups;
    let groups = &groups[..groups.len().min(if extent.all { usize::MAX } else { GROUPS })];
    let beginnings = corpus.beginnings(store, &ids_of(groups), SHOWN)?;
    let samples = at_most(corpus.samples()?, extent.samples.unwrap_or(SAMPLES));
    let parts = [
        ("", header(manifest)),
        ("Cautions", manifest.cautions().join("\n")),
        ("From raw text to tokens", funnel(manifest)),
        ("Sources", sources(manifest, extent.all)),
        ("Length of documents", lengths(manifest)),
        ("Repeated documents", duplicates(manifest, groups, &beginnings)),
        ("Items of validation tasks in the text", contamination(manifest, extent.all)),
        ("What the steps removed (-) and changed (-, +)", sample_lines(&samples)),
        ("Tokens", tokens(manifest)),
        ("Limitations", manifest.limitations.trim().to_owned()),
    ];
    let part = |(heading, body): (&str, String)| match (heading, body.is_empty()) {
        (_, true) => None,
        ("", _) => Some(body),
        _ => Some(format!("{}\n{body}", heading.to_uppercase())),
    };
    let parts: Vec<String> = parts.into_iter().filter_map(part).collect();
    Ok(format!("{}\n\nroot {}", parts.join("\n\n"), corpus.root()))
}

fn count(n: u64) -> String {
    show(n as f64, Unit::Count)
}

/// `1 source`, `2 sources`.
fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

fn percent(part: u64, whole: u64) -> String {
    show(part as f64 / whole.max(1) as f64, Unit::Share)
}

/// A text in one line: line ends become `↵`, and what is too long ends with `…`.
fn in_one_line(text: &str, most: usize) -> String {
    let mut letters = text.chars().map(|c| if c == '\n' { '↵' } else { c });
    let mut line: String = letters.by_ref().take(most).collect();
    if letters.next().is_some() {
        line.push('…');
    }
    line
}

fn header(manifest: &Manifest) -> String {
    let mut lines = vec![format!("{} ({})", manifest.title, manifest.name)];
    if !manifest.description.trim().is_empty() {
        lines.push(manifest.description.trim().to_owned());
    }
    let facts = [("language", &manifest.language), ("licence", &manifest.licence), ("citation", &manifest.citation)];
    lines.extend(facts.iter().map(|(name, text)| format!("{name}: {}", text.trim())));
    lines.push(format!("split: {}", manifest.split_rule));
    lines.join("\n")
}

/// The sides that have documents. A document counts once, however often it is written to the shards.
fn sides(manifest: &Manifest) -> Vec<(&'static str, &TextLengths)> {
    let lengths = &manifest.lengths;
    let all = [("train", &lengths.train), ("validation", &lengths.validation), ("test", &lengths.test)];
    all.into_iter().filter(|(_, lengths)| lengths.bytes.documents > 0).collect()
}

/// What is left after each stage, in bytes also as a share of what was read, and what the steps changed.
fn funnel(manifest: &Manifest) -> String {
    let read = manifest.funnel.first().map_or(0, |stage| stage.bytes);
    let row = |name: String, documents: u64, changed: String, bytes: u64, tokens: String| {
        vec![name, count(documents), changed, count(bytes), percent(bytes, read), tokens]
    };
    // The first stage is reading, then every step has one.
    let changed = manifest.steps.iter().map(|step| count(step.documents_changed));
    let changed = std::iter::once(String::new()).chain(changed).chain(std::iter::repeat(String::new()));
    let stages = manifest.funnel.iter().zip(changed).filter(|(stage, _)| is_in_recipe(manifest, &stage.stage));
    let stages = stages.map(|(s, changed)| row(stage_in_words(&s.stage), s.documents, changed, s.bytes, String::new()));
    let sides = sides(manifest).into_iter().map(|(name, of)| {
        row(name.to_owned(), of.bytes.documents, String::new(), of.bytes.total, count(of.tokens.total))
    });
    let rows: Vec<Vec<String>> = stages.chain(sides).collect();
    terminal::table(&["left after", "documents", "changed", "bytes", "% of bytes", "tokens"], &rows)
}

/// Whether the recipe asks for a stage: what was not looked for is not shown as not found.
fn is_in_recipe(manifest: &Manifest, stage: &str) -> bool {
    let recipe = &manifest.recipe;
    match stage {
        "exact_duplicates" => recipe["duplicates"]["exact"] == true,
        "near_duplicates" => recipe["duplicates"]["near"].is_object(),
        "contaminated" => recipe["decontaminate"]["action"] == "leave_out",
        "leaked" => recipe["split"]["leakage"].is_object(),
        _ => true,
    }
}

fn stage_in_words(stage: &str) -> String {
    match stage {
        "exact_duplicates" => "without exact duplicates".to_owned(),
        "near_duplicates" => "without near duplicates".to_owned(),
        "contaminated" => "without task items".to_owned(),
        "leaked" => "without leaks across the split".to_owned(),
        step => step.to_owned(),
    }
}

/// The largest sources by tokens, the others as one row, and the licences. The files of a pattern are one source unless
/// all are to be shown.
fn sources(manifest: &Manifest, all: bool) -> String {
    let tokens = |of: &[(&SourceRecord, u64)]| -> u64 {
        of.iter().map(|(s, _)| s.train_tokens + s.validation_tokens + s.test_tokens).sum()
    };
    let files: Vec<(&SourceRecord, u64)> =
        manifest.sources.iter().zip(&manifest.lengths.sources).map(|(s, l)| (s, l.lengths.bytes.median)).collect();
    let mut sorted: Vec<&[(&SourceRecord, u64)]> =
        files.chunk_by(|(a, _), (b, _)| !all && a.pattern.is_some() && a.pattern == b.pattern).collect();
    // Of equal ones the first in the recipe stays first.
    sorted.sort_by_key(|of| std::cmp::Reverse(tokens(of)));
    let shown = if all || sorted.len() <= SOURCES + 1 { sorted.len() } else { SOURCES };
    let weighted = manifest.sources.iter().any(|s| s.epochs != 1.0);
    let row = |name: String, of: &[(&SourceRecord, u64)], one: Option<(&SourceRecord, u64)>| {
        let sum = |number: fn(&SourceRecord) -> u64| count(of.iter().map(|(s, _)| number(s)).sum());
        let of_one = |number: &dyn Fn((&SourceRecord, u64)) -> String| one.map_or_else(String::new, number);
        let mut cells = vec![
            name,
            sum(|s| s.bytes),
            sum(|s| s.documents_read),
            sum(|s| s.train_documents + s.validation_documents + s.test_documents),
            of_one(&|(_, median)| count(median)),
            sum(|s| s.train_tokens),
            sum(|s| s.validation_tokens + s.test_tokens),
            of_one(&|(s, _)| format!("{:.2}", s.fertility_tokens_per_word)),
        ];
        if weighted {
            cells.push(of_one(&|(s, _)| format!("{:.2}", s.epochs)));
        }
        cells
    };
    let of_source = |of: &&[(&SourceRecord, u64)]| match of {
        [one] => row(one.0.name.clone(), of, Some(*one)),
        several => {
            let name = several[0].0.pattern.as_ref().unwrap_or(&several[0].0.name);
            row(format!("{name} ({} files, --all lists them)", several.len()), several, None)
        }
    };
    let mut rows: Vec<Vec<String>> = sorted[..shown].iter().map(of_source).collect();
    if shown < sorted.len() {
        let others = sorted[shown..].concat();
        rows.push(row(format!("{} others (--all lists them)", sorted.len() - shown), &others, None));
    }
    let mut licences: BTreeMap<&str, u64> = BTreeMap::new();
    manifest.sources.iter().for_each(|s| *licences.entry(s.licence.as_str()).or_default() += 1);
    let mut below: Vec<String> =
        licences.iter().map(|(licence, n)| format!("licence of {}: {licence}", counted(*n, "source"))).collect();
    let mut header =
        vec!["source", "bytes", "read", "kept", "median bytes", "train tokens", "held-out", "tokens per word"];
    if weighted {
        header.push("epochs");
    }
    let repaired = manifest.sources.iter().filter(|s| s.lines_repaired > 0);
    let repaired: Vec<String> = repaired.map(|s| format!("{} of {}", count(s.lines_repaired), s.name)).collect();
    if !repaired.is_empty() {
        let shown = if all { repaired.len() } else { repaired.len().min(SOURCES) };
        let lines: u64 = manifest.sources.iter().map(|s| s.lines_repaired).sum();
        let others = if shown < repaired.len() { ", ..." } else { "" };
        below.push(format!(
            "repaired with U+FFFD as they were not Unicode text: {} ({}{others})",
            counted(lines, "line"),
            repaired[..shown].join(", ")
        ));
    }
    format!("{}\n{}", terminal::table(&header, &rows), below.join("\n"))
}

/// Quartiles of each side, and a histogram of bytes for each.
fn lengths(manifest: &Manifest) -> String {
    let sides = sides(manifest);
    let row = |side: &str, unit: &str, l: &Lengths| {
        let numbers = [l.smallest, l.lower_quartile, l.median, l.upper_quartile, l.largest];
        std::iter::once(format!("{side}, {unit}")).chain(numbers.map(count)).collect::<Vec<_>>()
    };
    let both = |(side, l): &(&str, &TextLengths)| [row(side, "bytes", &l.bytes), row(side, "tokens", &l.tokens)];
    let rows: Vec<Vec<String>> = sides.iter().flat_map(both).collect();
    let quartiles = terminal::table(&["", "smallest", "lower quartile", "median", "upper quartile", "largest"], &rows);
    let counts = sides.iter().map(|(name, l)| (*name, l.bytes.by_power_of_two.as_slice()));
    format!("{quartiles}\n\n{}", histogram(&counts.collect::<Vec<_>>()))
}

/// One line for each power of two that occurs. Each side's longest bar is its largest count.
fn histogram(sides: &[(&str, &[u64])]) -> String {
    let occurs = |place: &usize| sides.iter().any(|(_, counts)| counts.get(*place).is_some_and(|n| *n > 0));
    let end = sides.iter().map(|(_, counts)| counts.len()).max().unwrap_or(0);
    let Some(first) = (0..end).find(occurs) else { return String::new() };
    let line = |label: &str, cells: Vec<(String, String)>| {
        let cells: Vec<String> = cells.iter().map(|(number, bar)| format!("{number:>11} {bar:<BAR$}")).collect();
        format!("{label:<24}{}", cells.join(" ")).trim_end().to_owned()
    };
    let mut lines = vec![line("bytes", sides.iter().map(|(name, _)| ((*name).to_owned(), String::new())).collect())];
    for place in first..end {
        let cell = |(_, counts): &(&str, &[u64])| {
            let (n, most) = (counts.get(place).copied().unwrap_or(0), counts.iter().copied().max().unwrap_or(0));
            (count(n), bar(n, most))
        };
        let from = if place == 0 { 0 } else { 1u64 << place };
        lines.push(line(
            &format!("{} to {}", count(from), count((2u64 << place) - 1)),
            sides.iter().map(cell).collect(),
        ));
    }
    lines.join("\n")
}

/// A bar in eighths of a character; what is not zero shows at least one.
fn bar(n: u64, most: u64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (n as u128 * (8 * BAR) as u128).div_ceil(u128::from(most.max(1))) as usize;
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

fn ids_of(groups: &[DuplicateGroup]) -> Vec<String> {
    groups.iter().flat_map(|g| std::iter::once(&g.kept).chain(&g.examples)).cloned().collect()
}

/// Sizes of the groups, and the largest with the beginnings of what they repeat.
fn duplicates(manifest: &Manifest, groups: &[DuplicateGroup], beginnings: &BTreeMap<String, String>) -> String {
    let looked_for = ["exact_duplicates", "near_duplicates"].map(|stage| is_in_recipe(manifest, stage));
    let kinds = match looked_for {
        [true, true] => "exact and near duplicates were looked for",
        [true, false] => {
            "exact duplicates were looked for; near ones were not: the recipe has no `near` in [duplicates]"
        }
        [false, true] => "near duplicates were looked for",
        [false, false] => "not looked for: the recipe's [duplicates] says so",
    };
    if manifest.duplicate_group_sizes.is_empty() {
        return if looked_for.contains(&true) { format!("{kinds}; there are none") } else { kinds.to_owned() };
    }
    let size = |s: &harness_core::corpus_manifest::GroupSize| vec![count(s.documents), count(s.groups)];
    let sizes: Vec<Vec<String>> = manifest.duplicate_group_sizes.iter().map(size).collect();
    let sizes = terminal::table(&["documents in a group", "groups"], &sizes);
    let mut lines = vec![kinds.to_owned(), sizes, String::new()];
    for group in groups {
        lines.push(format!("{}, kept; left out: {}", group.kept, count(group.left_out)));
        let begins = |id: &String| beginnings.get(id).map(|text| in_one_line(text, SHOWN - 4));
        lines.extend(begins(&group.kept).map(|text| format!("    {text}")));
        for id in &group.examples {
            // What has the same beginning is said once.
            let other = begins(id).filter(|text| begins(&group.kept).as_ref() != Some(text));
            lines.push(format!("  {id}"));
            lines.extend(other.map(|text| format!("    {text}")));
        }
        let unnamed = group.left_out - group.examples.len() as u64;
        if unnamed > 0 {
            lines.push(format!("  and {} more", count(unnamed)));
        }
    }
    lines.join("\n")
}

/// Tasks of which something was found; the others as one row, unless all are to be shown.
fn contamination(manifest: &Manifest, all: bool) -> String {
    type Found = harness_core::corpus_manifest::TaskContamination;
    if manifest.contamination.is_empty() {
        return "not looked for: the recipe has no [decontaminate]".to_owned();
    }
    let row = |name: String, of: &[&Found]| {
        let sum = |number: fn(&Found) -> u64| count(of.iter().map(|found| number(found)).sum());
        vec![name, sum(|f| f.items), sum(|f| f.items_too_short), sum(|f| f.items_found), sum(|f| f.documents)]
    };
    let (listed, others): (Vec<&Found>, Vec<&Found>) =
        manifest.contamination.iter().partition(|found| all || found.items_found > 0);
    let mut rows: Vec<Vec<String>> = listed.iter().map(|found| row(found.task.clone(), &[*found])).collect();
    if !others.is_empty() {
        rows.push(row(format!("{} others (--all lists them)", others.len()), &others));
    }
    let table = terminal::table(&["task", "items", "too short to look for", "found", "documents that hold one"], &rows);
    let sum = |number: fn(&Found) -> u64| manifest.contamination.iter().map(number).sum::<u64>();
    let (short, items) = (sum(|f| f.items_too_short), sum(|f| f.items));
    if short == 0 {
        return table;
    }
    let least = &manifest.recipe["decontaminate"]["words_at_least"];
    format!(
        "{table}\n{} of {} have fewer than {least} words of their own and cannot be told from common phrases: whether the text holds them is not known",
        count(short),
        counted(items, "item")
    )
}

/// The first of each step and kind.
fn at_most(samples: Vec<Sample>, most: usize) -> Vec<Sample> {
    let mut taken: BTreeMap<(usize, String), usize> = BTreeMap::new();
    let mut take = |sample: &Sample| {
        let of_kind = taken.entry((sample.step_index, sample.what.clone())).or_default();
        *of_kind += 1;
        *of_kind <= most
    };
    samples.into_iter().filter(|sample| take(sample)).collect()
}

fn sample_lines(samples: &[Sample]) -> String {
    let mut lines = Vec::new();
    for sample in samples {
        let rule = if sample.rule.is_empty() { String::new() } else { format!(" ({})", sample.rule) };
        let saw = if sample.saw.is_empty() { String::new() } else { format!(": {}", in_one_line(&sample.saw, SHOWN)) };
        lines.push(format!("{}{rule}: {} {}{saw}", sample.step, sample.id, sample.what));
        let from = difference(sample);
        let shown = |text: &str| in_one_line(&text.chars().skip(from).collect::<String>(), SHOWN);
        lines.push(format!("  - {}", shown(&sample.before)));
        if sample.what == "changed" {
            lines.push(format!("  + {}", shown(&sample.after)));
        }
    }
    lines.join("\n")
}

/// Where to begin, so that the first difference of a changed document is in the line.
fn difference(sample: &Sample) -> usize {
    if sample.after.is_empty() {
        return 0;
    }
    let same = sample.before.chars().zip(sample.after.chars()).take_while(|(a, b)| a == b).count();
    same.saturating_sub(SHOWN / 3)
}

fn tokens(manifest: &Manifest) -> String {
    let tokenizer = &manifest.tokenizer;
    let kind = match tokenizer.kind.as_str() {
        "bpe" => "byte-level BPE, learned on the training side",
        "unigram" => "unigram vocabulary over bytes, learned on the training side",
        "gpt2" => "byte-level BPE of GPT-2",
        _ => "of a file",
    };
    let used = tokenizer.vocabulary_size.saturating_sub(tokenizer.unused_tokens);
    let mut lines = vec![
        format!(
            "vocabulary: {} token ids, {kind}; {} of them occur in the training shards",
            count(u64::from(tokenizer.vocabulary_size)),
            count(u64::from(used))
        ),
        format!(
            "bytes per token: {:.2} in training, {:.2} in validation text",
            tokenizer.train_bytes_per_token, tokenizer.validation_bytes_per_token
        ),
    ];
    for (name, side) in [("training", &manifest.train), ("validation", &manifest.validation), ("test", &manifest.test)]
    {
        if side.documents == 0 {
            continue;
        }
        let shards = counted(side.shards.len() as u64, "shard");
        lines.push(format!("{name}: {} tokens with separators, in {shards}", count(side.tokens)));
    }
    for baseline in &manifest.baselines {
        lines.push(format!("{}: {:.3} bits per byte on validation", baseline.model, baseline.bits_per_byte));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_never_hide_a_count() {
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(10, 10), "█".repeat(BAR));
        assert_eq!(bar(5, 10).chars().count(), BAR / 2);
        assert_eq!(bar(u64::MAX, u64::MAX), "█".repeat(BAR));
    }

    #[test]
    fn a_histogram_begins_where_there_are_documents() {
        let text = histogram(&[("train", &[0, 0, 4, 0, 1000]), ("validation", &[0, 0, 0, 2])]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].starts_with("4 to 7 ") && lines[1].contains("4 ▏"), "{text}");
        assert!(
            lines[3].starts_with("16 to 31 ") && lines[3].contains(&format!("1,000 {}", "█".repeat(BAR))),
            "{text}"
        );
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(in_one_line("a\nb", 3), "a↵b");
        assert_eq!(in_one_line("abcd", 3), "abc…");
    }
}
