//! What holds of any documents: each has one fate, the sides part them, and text comes back from its tokens.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::shards::TokenStream;
use harness_corpus::tasks::TaskRecipe;
use harness_corpus::{Fetcher, PreparedCorpus, Proxies, Recipe, Silent, Store, UnlockedRecipe, prepare};
use proptest::prelude::*;

const HEAD: &str = "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\n\
    steps = [\"unicode_nfc\", \"control_characters\", \"whitespace\", { shorter_than_characters = 3 }, { longer_than_characters = 900 }]\n\
    documents = { invalid_utf8 = \"repair\" }\n";

/// Documents of one source as JSON lines, some of them too short, repeated, or nearly repeated.
fn documents() -> impl Strategy<Value = Vec<String>> {
    let sentence = (0u64..40).prop_map(|seed| harness_corpus::grammar::corpus(seed, 1).next().unwrap_or_default());
    let nearly = (0u64..12, "[a-z]{1,9}").prop_map(|(seed, word)| {
        let text: Vec<String> = harness_corpus::grammar::corpus(seed, 12).collect();
        format!("{} {word}", text.join(" "))
    });
    let any = prop_oneof![4 => sentence, 3 => nearly, 2 => ".{0,30}", 1 => "[ \\n\\t]{0,4}|\u{feff}|a"];
    prop::collection::vec(any, 30..90)
}

/// The sources in a store of their own, prepared.
fn prepared(folder: &std::path::Path, sources: &[Vec<String>], options: &str) -> Result<PreparedCorpus, String> {
    let store = Store::at(folder.join("store"));
    let mut text = format!("{HEAD}{options}");
    for (at, documents) in sources.iter().enumerate() {
        let lines: Vec<String> = documents.iter().map(|d| serde_json::json!({ "text": d }).to_string()).collect();
        let content = lines.join("\n");
        files::write(&folder.join(format!("mirror/{at}")), content.as_bytes()).unwrap();
        let (sha256, bytes) = (Digest::of(content.as_bytes()), content.len());
        text += &format!("[[source]]\nname = \"s{at}\"\nformat = \"jsonl\"\nsha256 = \"{sha256}\"\nbytes = {bytes}\n");
    }
    let recipe = Recipe::parse("any", "any.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(folder.join("mirror")));
    fetcher.fetch(&recipe.remotes(), &mut Silent).unwrap();
    prepare(&recipe, &store, &mut Silent).map_err(|e| e.to_string())
}

fn texts_of(corpus: &PreparedCorpus, shards: &[std::path::PathBuf]) -> Vec<String> {
    let tokenizer = corpus.tokenizer().unwrap();
    let stream = TokenStream::open(shards).unwrap();
    let mut texts = Vec::new();
    for shard in stream.shards() {
        for document in shard.documents() {
            let mut tokens = vec![0; document.tokens as usize];
            shard.copy_tokens(document.first_token, &mut tokens);
            let ids: Vec<u32> = tokens[1..].iter().map(|&token| token as u32).collect();
            texts.push(tokenizer.decode(&ids).unwrap());
        }
    }
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_document_has_one_fate_and_the_sides_part_them(
        sources in prop::collection::vec(documents(), 1..4), near: bool, paragraphs: bool, leakage: bool, by_source: bool, unigram: bool,
    ) {
        let near = if near { "near = { jaccard = 0.7 }" } else { "exact = true" };
        let paragraphs = if paragraphs { ", paragraphs = { characters_at_least = 20 }" } else { "" };
        let leakage = if leakage { ", leakage = { jaccard = 0.5 }" } else { "" };
        let kind = if unigram { "unigram" } else { "bpe" };
        let options = format!(
            "duplicates = {{ {near}{paragraphs} }}\nsplit = {{ validation = 0.2, test = 0.1, by_source = {by_source}{leakage} }}\n\
             tokenizer = {{ kind = \"{kind}\", vocabulary_size = 280 }}\noutput = {{ shard_tokens = 300 }}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let corpus = match prepared(folder.path(), &sources, &options) {
            Ok(corpus) => corpus,
            // Of few documents a side can be left without one, and their text can be too little for the vocabulary.
            Err(problem) => {
                let too_little = ["has no document for", "the text yields only"];
                prop_assert!(too_little.iter().any(|said| problem.contains(said)), "{}", problem);
                return Ok(());
            }
        };
        // Each visible document of the sources is in the ledger once, in their order.
        let ledger: Vec<serde_json::Value> = files::read_to_string(&corpus.folder().join("documents.jsonl")).unwrap()
            .lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let visible = |documents: &Vec<String>| documents.iter().filter(|d| !d.trim().is_empty()).count();
        let ids: Vec<&str> = ledger.iter().map(|line| line["id"].as_str().unwrap()).collect();
        let expected: Vec<String> = sources.iter().enumerate()
            .flat_map(|(at, documents)| (0..visible(documents)).map(move |index| format!("s{at}#{index}"))).collect();
        prop_assert_eq!(ids, expected.iter().map(String::as_str).collect::<Vec<_>>());

        let manifest = corpus.manifest();
        let mut fates: BTreeMap<&str, u64> = BTreeMap::new();
        for line in &ledger {
            let fate = line["fate"].as_str().unwrap();
            *fates.entry(fate).or_default() += 1;
            let kept = ["train", "validation", "test"].contains(&fate);
            prop_assert_eq!(line["because"].is_string(), !kept, "what is left out says why: {}", line);
        }
        let counts = &manifest.documents;
        let of = |fate: &str| fates.get(fate).copied().unwrap_or_default();
        prop_assert_eq!(counts.read, ledger.len() as u64);
        prop_assert_eq!(
            [counts.removed_by_steps, counts.exact_duplicates, counts.near_duplicates, counts.leaked, counts.train, counts.validation, counts.test],
            ["removed", "duplicate", "near_duplicate", "leaked", "train", "validation", "test"].map(of)
        );
        prop_assert_eq!(fates.values().sum::<u64>(), counts.read, "no other fate: {:?}", fates);

        // The shards hold the texts of the ledger, side by side, and no text twice.
        let paths = |side: &harness_core::corpus_manifest::Side| side.shards.iter().map(|s| corpus.folder().join(&s.path)).collect::<Vec<_>>();
        let mut seen = BTreeSet::new();
        for (name, side) in [("train", &manifest.train), ("validation", &manifest.validation), ("test", &manifest.test)] {
            let texts = texts_of(&corpus, &paths(side));
            let digests: Vec<String> = texts.iter().map(|text| Digest::of(text.as_bytes()).to_string()).collect();
            let listed: Vec<&str> =
                ledger.iter().filter(|l| l["fate"] == name).map(|l| l["sha256"].as_str().unwrap()).collect();
            prop_assert_eq!(digests.iter().map(String::as_str).collect::<Vec<_>>(), listed);
            prop_assert!(texts.into_iter().all(|text| seen.insert(text)), "a text stands on one side, once");
        }
    }
}

fn tokenizer(kind: &str) -> harness_corpus::Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\nsplit = {{ validation = 0.1 }}\n\
         generate = {{ kind = \"grammar\", seed = 3, documents = 200 }}\ntokenizer = {{ kind = \"{kind}\", vocabulary_size = 350 }}\n"
    );
    let recipe = Recipe::parse("any", "any.toml", &text).unwrap();
    prepare(&recipe, &Store::at(folder.path()), &mut Silent).unwrap().tokenizer().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Any bytes, as a source that is repaired hands them on: what was UTF-8 comes back byte for byte.
    #[test]
    fn any_bytes_come_back_from_their_tokens(bytes: Vec<u8>, text: String) {
        use std::sync::OnceLock;
        static TOKENIZERS: OnceLock<[harness_corpus::Tokenizer; 2]> = OnceLock::new();
        let whole = [&bytes, text.as_bytes()].concat();
        let repaired = String::from_utf8_lossy(&whole);
        for tokenizer in TOKENIZERS.get_or_init(|| ["bpe", "unigram"].map(tokenizer)) {
            let tokens = tokenizer.encode(&repaired).unwrap();
            let back = tokenizer.decode(&tokens).unwrap();
            prop_assert_eq!(back.as_bytes(), repaired.as_bytes());
            prop_assert!(std::str::from_utf8(&whole).is_err() || back.as_bytes() == whole);
            prop_assert!(!tokens.contains(&tokenizer.separator()));
        }
    }
}

/// What stands in a recipe where something else should: numbers at their ends, other types, text that opens and never closes.
const OUT_OF_PLACE: [&str; 24] = [
    "-1",
    "0",
    "nan",
    "inf",
    "1e999",
    "9223372036854775807",
    "99999999999999999999",
    "0.5",
    "true",
    "''",
    "[]",
    "{}",
    "[[source]]\n",
    "\"",
    "'''",
    "{",
    "]",
    "\u{0}",
    "\u{202e}",
    "../..",
    "=",
    "\n\n",
    "\u{feff}",
    "[choices.x]\n",
];

/// The recipes of the repository: name and text.
fn recipes(kind: &str) -> Vec<(String, String)> {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments")).join(kind);
    let files = files::list(&folder).unwrap().into_iter().filter(|file| file.ends_with(".toml"));
    files.map(|file| (file.clone(), files::read_to_string(&folder.join(file)).unwrap())).collect()
}

/// A text with pieces taken out, put in and doubled; each edit is (where, how much, what).
fn damaged(text: &str, edits: &[(prop::sample::Index, usize, prop::sample::Index)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (at, length, what) in edits {
        let at = at.index(text.len() + 1);
        let end = (at + length).min(text.len());
        let what = what.index(OUT_OF_PLACE.len() + 1);
        let new: Vec<char> = match OUT_OF_PLACE.get(what) {
            Some(piece) => piece.chars().collect(),
            None => text[at..end].iter().chain(&text[at..end]).copied().collect(),
        };
        text.splice(at..end, new);
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a recipe holds, it is understood, or refused in words that name its file.
    #[test]
    fn a_damaged_recipe_is_refused_by_name_or_means_something(
        which: prop::sample::Index,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, any::<prop::sample::Index>()), 1..6),
    ) {
        let (corpora, tasks) = (recipes("corpora"), recipes("tasks"));
        let at = which.index(corpora.len() + tasks.len());
        let refused = match corpora.get(at) {
            Some((file, text)) => {
                let no_task = |name: &str| TaskRecipe::parse(name, file, "");
                let parsed = UnlockedRecipe::parse_with("any", file, &damaged(text, &edits), &no_task);
                parsed.err().map(|e| (file, e.to_string()))
            }
            None => {
                let (file, text) = &tasks[at - corpora.len()];
                let parsed = TaskRecipe::parse("any", file, &damaged(text, &edits));
                parsed.err().map(|e| (file, e.to_string()))
            }
        };
        if let Some((file, error)) = refused {
            prop_assert!(error.contains(file.as_str()) && error.len() < 4000, "{error}");
        }
    }
}
