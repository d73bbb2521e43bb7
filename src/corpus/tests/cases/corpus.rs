//! Preparing small corpora of the test's own, end to end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use harness_core::corpus_manifest::{ListedFile, Manifest};
use harness_core::digest::Digest;
use harness_core::files;
use harness_core::shards::TokenStream;
use harness_corpus::tasks::TaskRecipe;
use harness_corpus::{Fetcher, PreparedCorpus, Progress, Proxies, Recipe, Silent, Store, Unit, prepare};
use proptest::prelude::*;

const GRAMMAR: &str = "
title = \"t\"
language = \"en\"
licence = \"l\"
citation = \"c\"
steps = [\"whitespace\", { shorter_than_characters = 120 }]
[generate]
kind = \"grammar\"
seed = 3
documents = 300
[split]
validation = 0.1
[tokenizer]
kind = \"bpe\"
vocabulary_size = 400
[output]
shard_tokens = 4000
";

fn recipe(text: &str) -> Recipe {
    Recipe::parse("small", "small.toml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Two sources of paragraphs, with repetitions among and between them, in a store.
fn sources(folder: &Path) -> (Store, String) {
    let story = |seed: u64| harness_corpus::grammar::corpus(seed, 60).collect::<Vec<_>>().join("\r\n\r\n");
    let first = format!(
        "\u{feff}head\r\n----\r\n{}\r\n\r\nshort\r\n\r\nTwice  \r\nthe same, and long enough to be kept by the step.\r\n",
        story(1)
    );
    let second = format!("{}\n\nTwice\nthe same, and long enough to be kept by the step.\n\n{}", story(2), story(1));
    let store = Store::at(folder.join("store"));
    let mut text = "title = \"t\"\nlanguage = \"en\"\nlicence = \"public\"\ncitation = \"c\"\n\
                    steps = [\"unicode_nfc\", \"control_characters\", \"whitespace\", { shorter_than_characters = 20 }]\n\
                    documents = { split = \"blank_lines\" }\nsplit = { validation = 0.2, by_source = true }\n\
                    tokenizer = { kind = \"bpe\", vocabulary_size = 350 }\n"
        .to_owned();
    for (name, content) in [("first", &first), ("second", &second)] {
        files::write(&folder.join("mirror").join(name), content.as_bytes()).unwrap();
        let sha256 = Digest::of(content.as_bytes());
        write!(text, "[[source]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nbytes = {}\n", content.len()).unwrap();
    }
    text.push_str("licence = \"its own\"\n[source.documents]\nsplit = \"blank_lines\"\n");
    let text = text.replacen("bytes", "documents = { split = \"blank_lines\", head_ends_with = \"----\" }\nbytes", 1);
    let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(folder.join("mirror")));
    fetcher.fetch(&recipe(&text).remotes(), &mut Silent).unwrap();
    (store, text)
}

fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    files::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_document_is_accounted_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, text) = sources(folder.path());
    let corpus = prepare(&recipe(&text), &store, &mut Silent).unwrap();
    let manifest = corpus.manifest();
    let counts = &manifest.documents;
    let left_out = counts.removed_by_steps + counts.exact_duplicates + counts.near_duplicates + counts.contaminated;
    assert_eq!(counts.read, left_out + counts.train + counts.validation);
    assert_eq!((counts.read, counts.removed_by_steps, counts.exact_duplicates), (60 + 2 + 60 + 1 + 60, 1, 61));
    assert_eq!(manifest.sources[0].head_bytes, 5 + 5);

    let ledger = json_lines(&corpus.folder().join("documents.jsonl"));
    assert_eq!(ledger.len() as u64, counts.read);
    let ids: BTreeSet<&str> = ledger.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), ledger.len());
    let mut by_fate: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in &ledger {
        let what = line["sha256"].as_str().unwrap_or_else(|| line["id"].as_str().unwrap());
        by_fate.entry(line["fate"].as_str().unwrap()).or_default().insert(what);
    }
    assert!(by_fate["train"].is_disjoint(&by_fate["validation"]), "no text on both sides");
    assert_eq!(by_fate["train"].len() as u64, counts.train);
    assert_eq!(by_fate["removed"].iter().collect::<Vec<_>>(), [&"first#60"]);
    assert!(ledger.iter().any(|l| l["id"] == "second#60" && l["because"] == "first#61"), "named by what it repeats");
    assert_eq!(manifest.sources[0].licence, "public");
    assert_eq!(manifest.sources[1].licence, "its own");
    assert_eq!(corpus.root(), Digest::of_file(&corpus.manifest_path()).unwrap());
}

/// Whoever looks at a corpus sees the same numbers as its ledger, and texts of the documents that were named.
#[test]
fn what_is_shown_of_a_corpus_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, text) = sources(folder.path());
    let corpus = prepare(&recipe(&text), &store, &mut Silent).unwrap();
    let manifest = corpus.manifest();
    let ledger = json_lines(&corpus.folder().join("documents.jsonl"));
    let sum = |field: &str, fates: &[&str]| -> (u64, u64) {
        let lines = ledger.iter().filter(|l| fates.contains(&l["fate"].as_str().unwrap()));
        lines.fold((0, 0), |(n, bytes), line| (n + 1, bytes + line[field].as_u64().unwrap()))
    };
    let at = |stage: &str| {
        let found = manifest.funnel.iter().find(|s| s.stage == stage).unwrap_or_else(|| panic!("no {stage}"));
        (found.documents, found.bytes)
    };
    assert_eq!(at("read"), sum("raw_bytes", &["train", "validation", "duplicate", "removed"]));
    assert_eq!(at("shorter_than_characters"), sum("bytes", &["train", "validation", "duplicate"]));
    assert_eq!(at("contaminated"), sum("bytes", &["train", "validation"]));
    let sides = [
        ("train", &manifest.lengths.train, &manifest.train),
        ("validation", &manifest.lengths.validation, &manifest.validation),
    ];
    for (name, lengths, side) in sides {
        assert_eq!((lengths.bytes.documents, lengths.bytes.total), sum("bytes", &[name]));
        assert_eq!((lengths.tokens.documents, lengths.tokens.total), (side.documents, side.text_tokens));
    }
    for (source, lengths) in manifest.sources.iter().zip(&manifest.lengths.sources) {
        assert_eq!(source.name, lengths.source);
        assert_eq!(lengths.lengths.tokens.total, source.train_tokens + source.validation_tokens);
    }
    let repeated: u64 = manifest.duplicate_group_sizes.iter().map(|s| (s.documents - 1) * s.groups).sum();
    assert_eq!(repeated, manifest.documents.exact_duplicates);

    let samples = corpus.samples().unwrap();
    let removed = samples.iter().find(|s| s.what == "removed").unwrap();
    assert_eq!((removed.id.as_str(), removed.before.as_str()), ("first#60", "short"));
    let ids = ["second#60", "first#61", "first#60", "third#1"].map(str::to_owned);
    let beginnings = corpus.beginnings(&store, &ids, 10).unwrap();
    let expected = [("first#61", "Twice\nthe "), ("second#60", "Twice\nthe ")];
    assert!(beginnings.iter().map(|(id, text)| (id.as_str(), text.as_str())).eq(expected), "{beginnings:?}");
    files::remove_folder(&folder.path().join("store/stages")).unwrap();
    assert!(corpus.beginnings(&store, &ids, 10).unwrap().is_empty(), "the stages can be deleted");
}

#[test]
fn shards_hold_the_documents_of_their_side() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let corpus = prepare(&recipe(GRAMMAR), &store, &mut Silent).unwrap();
    let (manifest, tokenizer) = (corpus.manifest(), corpus.tokenizer().unwrap());
    assert!(manifest.train.shards.len() > 1, "{:?}", manifest.train.shards);
    let mut texts = Vec::new();
    for (side, paths) in [(&manifest.train, corpus.train_shards()), (&manifest.validation, corpus.validation_shards())]
    {
        let stream = TokenStream::open(&paths).unwrap();
        assert_eq!(stream.tokens(), side.tokens);
        let mut bytes = 0;
        for shard in stream.shards() {
            for document in shard.documents() {
                let mut tokens = vec![0; document.tokens as usize];
                shard.copy_tokens(document.first_token, &mut tokens);
                assert_eq!(tokens[0], i64::from(tokenizer.separator()));
                let ids: Vec<u32> = tokens[1..].iter().map(|&t| t as u32).collect();
                let text = tokenizer.decode(&ids).unwrap();
                assert_eq!(text.len() as u64, document.text_bytes);
                bytes += document.text_bytes;
                texts.push(Digest::of(text.as_bytes()).to_string());
            }
        }
        assert_eq!(bytes, side.text_bytes);
    }
    let ledger = json_lines(&corpus.folder().join("documents.jsonl"));
    let of = |fate| ledger.iter().filter(move |l| l["fate"] == fate).map(|l| l["sha256"].as_str().unwrap().to_owned());
    assert_eq!(texts, of("train").chain(of("validation")).collect::<Vec<_>>());
    let listed: Vec<String> = manifest.validation_documents.iter().map(|d| d.sha256.to_string()).collect();
    assert_eq!(listed, of("validation").collect::<Vec<_>>());
    let bytes: u64 = manifest.validation_documents.iter().map(|d| d.bytes).sum();
    assert_eq!(bytes, manifest.validation.text_bytes);
    assert_eq!(manifest.tokenizer.encoder, "bpe", "it agrees with the reference");
    assert!(manifest.baselines[1].bits_per_byte < manifest.baselines[0].bits_per_byte);
}

/// A text of 60 words, and the same with one of them changed.
fn near_texts(seed: u64) -> [String; 2] {
    let text = harness_corpus::grammar::corpus(seed, 20).collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = text.split(' ').take(60).collect();
    [words.join(" "), [&words[..59], &["changed"]].concat().join(" ")]
}

#[test]
fn near_duplicates_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("store"));
    let mut lines: Vec<String> = harness_corpus::grammar::corpus(9, 80).collect();
    let [one, nearly] = near_texts(10);
    lines.extend([one.clone(), nearly.clone(), format!("{nearly} More."), one]);
    let content = lines.join("\n");
    files::write(&folder.path().join("mirror/lines"), content.as_bytes()).unwrap();
    let text = format!(
        "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\nsplit = {{ validation = 0.2 }}\n\
         documents = {{ split = \"lines\" }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 300 }}\n\
         duplicates = {{ near = {{ jaccard = 0.8 }} }}\n\
         [[source]]\nname = \"lines\"\nsha256 = \"{}\"\nbytes = {}\n",
        Digest::of(content.as_bytes()),
        content.len()
    );
    let near = recipe(&text);
    let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(folder.path().join("mirror")));
    fetcher.fetch(&near.remotes(), &mut Silent).unwrap();
    let corpus = prepare(&near, &store, &mut Silent).unwrap();
    let counts = &corpus.manifest().documents;
    assert_eq!((counts.exact_duplicates, counts.near_duplicates, counts.train + counts.validation), (1, 2, 81));
    let group = &corpus.manifest().largest_duplicate_groups[0];
    assert_eq!((group.kept.as_str(), group.left_out), ("lines#80", 3));
    let ledger = json_lines(&corpus.folder().join("documents.jsonl"));
    for at in [81, 82] {
        assert_eq!((&ledger[at]["fate"], &ledger[at]["because"]), (&"near_duplicate".into(), &"lines#80".into()));
    }
    let wrong = text.replace("jaccard = 0.8", "jaccard = 80");
    let message = Recipe::parse("small", "small.toml", &wrong).unwrap_err().to_string();
    assert!(message.contains("`duplicates.near.jaccard`") && message.contains("small.toml:8:"), "{message}");
}

#[test]
fn documents_that_hold_an_item_of_a_task_are_left_out() {
    let task = "title = \"t\"\nversion = 1\nlicence = \"l\"\ncitation = \"c\"\nkind = \"last_word\"\n\
                metric = \"greedy_accuracy\"\nchance = 0.0\n\
                [[subtask]]\ngenerate = { probe = \"recall\", seed = 5, items = 30 }\n";
    let load = |name: &str| TaskRecipe::parse(name, "task.toml", task);
    let items = harness_corpus::grammar::probe(harness_corpus::grammar::Probe::Recall, 5, 30);
    let held = format!("{} {}. And more.", items[7].context, items[7].choices[0]);

    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("store"));
    let mut lines: Vec<String> = harness_corpus::grammar::corpus(9, 80).collect();
    lines.insert(40, held);
    let content = lines.join("\n");
    files::write(&folder.path().join("mirror/lines"), content.as_bytes()).unwrap();
    let text = format!(
        "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\nsplit = {{ validation = 0.2 }}\n\
         documents = {{ split = \"lines\" }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 300 }}\n\
         decontaminate = {{ tasks = [\"recall\"] }}\n\
         [[source]]\nname = \"lines\"\nsha256 = \"{}\"\nbytes = {}\n",
        Digest::of(content.as_bytes()),
        content.len()
    );
    let leave_out = Recipe::parse_with("small", "small.toml", &text, &load).unwrap();
    let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(folder.path().join("mirror")));
    fetcher.fetch(&leave_out.remotes(), &mut Silent).unwrap();
    let corpus = prepare(&leave_out, &store, &mut Silent).unwrap();
    let manifest = corpus.manifest();
    assert_eq!((manifest.documents.contaminated, manifest.documents.train + manifest.documents.validation), (1, 80));
    let found = &manifest.contamination[0];
    assert_eq!((found.task.as_str(), found.items, found.documents), ("recall", 30, 1));
    assert!(found.examples.contains(&7), "{found:?}");
    let ledger = json_lines(&corpus.folder().join("documents.jsonl"));
    assert_eq!((&ledger[40]["fate"], &ledger[40]["because"]), (&"contaminated".into(), &"recall".into()));

    let report = text.replace("tasks = [\"recall\"]", "tasks = [\"recall\"], action = \"report\"");
    let report = Recipe::parse_with("small", "small.toml", &report, &load).unwrap();
    let reported = prepare(&report, &store, &mut Silent).unwrap();
    assert_eq!(reported.manifest().documents.contaminated, 0);
    assert_eq!(reported.manifest().contamination, manifest.contamination);

    let nowhere = Recipe::parse("small", "small.toml", &text).unwrap_err().to_string();
    assert!(nowhere.contains("no task recipe `recall`") && nowhere.contains("small.toml:8:28"), "{nowhere}");
}

#[test]
fn the_same_bytes_on_one_and_two_threads_and_in_two_folders() {
    let made: Vec<_> = [1, 2]
        .map(|threads| {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::at(folder.path());
            let corpus = with_threads(threads, || prepare(&recipe(GRAMMAR), &store, &mut Silent).unwrap());
            let names = files::list_recursive(corpus.folder()).unwrap();
            let bytes: Vec<_> = names.iter().map(|name| files::read(&corpus.folder().join(name)).unwrap()).collect();
            (corpus.root(), names, bytes)
        })
        .into();
    assert_eq!(made[0], made[1]);
}

/// The documents of a side, decoded.
fn texts_of(corpus: &PreparedCorpus, shards: &[ListedFile]) -> Vec<String> {
    let tokenizer = corpus.tokenizer().unwrap();
    let paths: Vec<_> = shards.iter().map(|file| corpus.folder().join(&file.path)).collect();
    let stream = TokenStream::open(&paths).unwrap();
    let mut texts = Vec::new();
    for shard in stream.shards() {
        for document in shard.documents() {
            let mut tokens = vec![0; document.tokens as usize];
            shard.copy_tokens(document.first_token, &mut tokens);
            texts.push(tokenizer.decode(&tokens[1..].iter().map(|&t| t as u32).collect::<Vec<_>>()).unwrap());
        }
    }
    texts
}

#[test]
fn little_memory_changes_nothing() {
    // Of each text another with one word changed, and one with two.
    let mut lines = Vec::new();
    for seed in 0..150 {
        let text = near_texts(seed)[0].clone();
        let words: Vec<&str> = text.split(' ').collect();
        let once = [&words[..30], &["changed"], &words[31..]].concat().join(" ");
        let twice = [&words[..15], &["altered"], &words[16..45], &["altered"], &words[46..]].concat().join(" ");
        lines.extend([text, once, twice]);
    }
    let content = lines.join("\n");
    let text = format!(
        "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\n\
         split = {{ validation = 0.2, leakage = {{ jaccard = 0.6 }} }}\n\
         documents = {{ split = \"lines\" }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 300 }}\n\
         duplicates = {{ near = {{ jaccard = 0.8 }} }}\n\
         [[source]]\nname = \"lines\"\nsha256 = \"{}\"\nbytes = {}\n",
        Digest::of(content.as_bytes()),
        content.len()
    );
    let made = [1, usize::MAX].map(|memory_bytes| {
        let folder = tempfile::tempdir().unwrap();
        files::write(&folder.path().join("mirror/lines"), content.as_bytes()).unwrap();
        let store = Store::at(folder.path().join("store")).with_memory_bytes(memory_bytes);
        let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(folder.path().join("mirror")));
        fetcher.fetch(&recipe(&text).remotes(), &mut Silent).unwrap();
        let corpus = prepare(&recipe(&text), &store, &mut Silent).unwrap();
        assert_eq!(files::list(&store.root().join("drafts")).unwrap(), [""; 0], "nothing is left behind");
        (corpus.root(), corpus.manifest().documents.clone())
    });
    assert_eq!(made[0], made[1]);
    let counts = &made[0].1;
    assert_eq!(counts.near_duplicates, 150, "{counts:?}");
    assert!(counts.leaked > 20 && counts.train > 100, "{counts:?}");
}

#[test]
fn a_test_side_is_held_out_too() {
    let folder = tempfile::tempdir().unwrap();
    let text = GRAMMAR.replace("validation = 0.1", "validation = 0.1\ntest = 0.2");
    let corpus = prepare(&recipe(&text), &Store::at(folder.path()), &mut Silent).unwrap();
    let manifest = corpus.manifest();
    let sides = [&manifest.train, &manifest.validation, &manifest.test].map(|side| texts_of(&corpus, &side.shards));
    assert!(sides.iter().all(|side| side.len() > 10));
    let counts = &manifest.documents;
    assert_eq!(sides.each_ref().map(|side| side.len() as u64), [counts.train, counts.validation, counts.test]);
    let distinct: BTreeSet<&String> = sides.iter().flatten().collect();
    assert_eq!(distinct.len() as u64, counts.train + counts.validation + counts.test, "each text is on one side");
    let source = &manifest.sources[0];
    assert_eq!((source.test_documents, source.test_bytes), (counts.test, manifest.test.text_bytes));
    assert!(source.fertility_tokens_per_word > 1.0);
}

#[test]
fn sources_weigh_as_the_recipe_says() {
    let folder = tempfile::tempdir().unwrap();
    let (store, text) = sources(folder.path());
    let once = prepare(&recipe(&text), &store, &mut Silent).unwrap();
    let weighted = text.replacen("[[source]]", "mixture = { weights = { first = 3, second = 1 } }\n[[source]]", 1);
    let corpus = prepare(&recipe(&weighted), &store, &mut Silent).unwrap();
    let manifest = corpus.manifest();
    let [first, second] = &manifest.sources[..] else { panic!("two sources") };
    assert!(first.epochs > 1.2 && second.epochs < 0.8, "{} {}", first.epochs, second.epochs);
    assert_eq!(first.train_bytes, once.manifest().sources[0].train_bytes, "a source counts its documents once");
    assert!(second.train_documents < once.manifest().sources[1].train_documents);
    let texts = texts_of(&corpus, &manifest.train.shards);
    let mut times: BTreeMap<&String, u32> = BTreeMap::new();
    texts.iter().for_each(|text| *times.entry(text).or_default() += 1);
    assert_eq!(times.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
    let bytes = |manifest: &Manifest| manifest.train.text_bytes as f64;
    assert!((bytes(manifest) / bytes(once.manifest()) - 1.0).abs() < 0.15, "the training side keeps its size");

    let wrong = Recipe::parse("small", "small.toml", &weighted.replace("first = 3", "frist = 3")).unwrap_err();
    assert!(wrong.to_string().contains("did you mean `first`"), "{wrong}");
}

/// Remembers the stages that had work to do.
#[derive(Default)]
struct Recorder(Vec<String>);

impl Progress for Recorder {
    fn begin(&mut self, stage: &str, _: Option<u64>, _: Unit) {
        self.0.push(stage.to_owned());
    }
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, _: &str) {}
}

#[test]
fn only_what_depends_on_a_change_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, text) = sources(folder.path());
    let first = prepare(&recipe(&text), &store, &mut Silent).unwrap();
    let mut again = Recorder::default();
    assert_eq!(prepare(&recipe(&text), &store, &mut again).unwrap().root(), first.root());
    assert_eq!(again.0, [""; 0]);
    // Comments and layout are not part of a recipe.
    let commented = text.replace("title", "# a comment\n   title");
    assert_eq!(PreparedCorpus::open(&store, &recipe(&commented)).unwrap().root(), first.root());

    let stages = || files::list(&store.root().join("stages")).unwrap();
    let before = stages();
    let larger = text.replace("350", "360");
    assert!(
        matches!(PreparedCorpus::open(&store, &recipe(&larger)), Err(e) if e.to_string().contains("data prepare small"))
    );
    let second = prepare(&recipe(&larger), &store, &mut Silent).unwrap();
    assert_ne!(second.root(), first.root());
    let added: Vec<String> = stages().into_iter().filter(|stage| !before.contains(stage)).collect();
    assert!(added.len() == 1 && added[0].starts_with("tokenizer-"), "{added:?}");
    assert!(first.verify().is_ok(), "the earlier corpus stays");

    let before = stages();
    prepare(&recipe(&text.replace("title = \"t\"", "title = \"other\"")), &store, &mut Silent).unwrap();
    assert_eq!(stages(), before, "prose changes the manifest only");
}

#[test]
fn a_damaged_shard_is_named_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let corpus = prepare(&recipe(GRAMMAR), &store, &mut Silent).unwrap();
    let shard = corpus.train_shards()[1].clone();
    let mut bytes = files::read(&shard).unwrap();
    bytes[100] ^= 1;
    files::write(&shard, &bytes).unwrap();
    let message = corpus.verify().unwrap_err().to_string();
    assert!(message.contains("train-00001.tokens") && message.contains("data prepare small"), "{message}");
    let again = prepare(&recipe(GRAMMAR), &store, &mut Silent).unwrap();
    assert_eq!(again.root(), corpus.root());
    again.verify().unwrap();
    files::remove(&shard).unwrap();
    assert!(corpus.verify().unwrap_err().to_string().contains("is missing"));
    files::write(&corpus.manifest_path(), b"{").unwrap();
    assert!(PreparedCorpus::open(&store, &recipe(GRAMMAR)).unwrap_err().to_string().contains("manifest.json"));
    assert_eq!(prepare(&recipe(GRAMMAR), &store, &mut Silent).unwrap().root(), corpus.root());
    assert_eq!(files::list(&folder.path().join("drafts")).unwrap(), [""; 0], "nothing half made stays behind");
}

#[test]
fn several_at_once_do_not_harm_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let roots: Vec<Digest> = std::thread::scope(|scope| {
        let one = || prepare(&recipe(GRAMMAR), &store, &mut Silent).unwrap().root();
        let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
    PreparedCorpus::open(&store, &recipe(GRAMMAR)).unwrap().verify().unwrap();
}

#[test]
fn what_cannot_be_prepared_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let (store, text) = sources(folder.path());
    let problem = |store: &Store, text: &str| prepare(&recipe(text), store, &mut Silent).unwrap_err().to_string();
    let empty = Store::at(folder.path().join("empty"));
    assert!(problem(&empty, &text).contains("`first` of the corpus `small` is not in the store\nhint: "));
    let whole = text.replace("blank_lines", "file");
    assert!(problem(&store, &whole).contains("has no document for validation, of 2 documents\nhint: "));
    assert!(problem(&store, &text.replace("\"----\"", "\"====\"")).contains("there is no line `====`"));
    assert!(problem(&store, &text.replace("350", "50000")).contains("hint: set vocabulary_size = "));
}

#[test]
fn mistakes_in_recipes_are_shown_at_their_place() {
    let cases = [
        ("lisense = \"l\"", "licence = \"l\"", "unknown key `lisense`", ":4:1", "did you mean `licence`?"),
        ("kind = \"bep\"", "kind = \"bpe\"", "unknown value `bep`", ":14:8", "did you mean `bpe`?"),
        ("\"whitespaces\"", "\"whitespace\"", "unknown value `whitespaces`", ":6:10", "did you mean `whitespace`?"),
        ("vocabulary_size = 200", "vocabulary_size = 400", "must be between 257 and 1000000", ":15:19", "8192"),
        ("validation = 0.9", "validation = 0.1", "must be above 0 and at most 0.5", ":12:14", ""),
        ("documents = 0", "documents = 300", "must be at least 1", ":10:13", ""),
        ("shorter_than_characters = 0", "shorter_than_characters = 120", "must be at least 1", ":6:24", ""),
        ("shard_tokens = \"4k\"", "shard_tokens = 4000", "invalid type", ":17:16", ""),
        ("", "language = \"en\"\n", "`language` is not stated", ":1:1", "language = ..."),
        ("kind = \"gpt2\"", "kind = \"bpe\"", "is not used by this kind", ":15:19", "remove the line"),
    ];
    for (wrong, right, problem, place, hint) in cases {
        let text = GRAMMAR.replacen(right, wrong, 1);
        assert_ne!(text, GRAMMAR, "{right}");
        let message = Recipe::parse("small", "experiments/corpora/small.toml", &text).unwrap_err().to_string();
        assert!(message.contains(problem) && message.contains(hint), "{message}");
        assert!(message.contains(&format!("experiments/corpora/small.toml{place}\n")), "{place}: {message}");
    }
    let source = "[[source]]\nname = \"a\"\nsha256 = \"12\"\nbytes = 1\n";
    let text = GRAMMAR.replacen("[generate]\nkind = \"grammar\"\nseed = 3\ndocuments = 300\n", source, 1);
    let message = Recipe::parse("small", "small.toml", &text).unwrap_err().to_string();
    assert!(message.contains("`12` is not a SHA-256 digest") && message.contains("small.toml:9:10"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn text_comes_back_from_its_tokens(text in "\\PC*|(<\\|endoftext\\|>|[a-z ]|\n|é|中|🦆){0,40}") {
        use std::sync::OnceLock;
        static CORPUS: OnceLock<(tempfile::TempDir, harness_corpus::Tokenizer)> = OnceLock::new();
        let (_, tokenizer) = CORPUS.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let tokenizer = prepare(&recipe(GRAMMAR), &Store::at(folder.path()), &mut Silent).unwrap().tokenizer().unwrap();
            (folder, tokenizer)
        });
        let tokens = tokenizer.encode(&text).unwrap();
        prop_assert!(!tokens.contains(&tokenizer.separator()), "text never gives the separator");
        prop_assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
}
