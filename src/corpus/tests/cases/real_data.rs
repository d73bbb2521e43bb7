//! The repository's own recipes on the real files. Needs the data: set HARNESS_MIRROR to a folder that holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::names::Project;
use harness_core::scores::read_requests;
use harness_corpus::near::{NearRule, near_pairs};
use harness_corpus::tasks::{self, Item, TaskRecipe};
use harness_corpus::{
    Fetcher, Packing, Proxies, Recipe, Remote, Silent, Store, UnlockedRecipe, known_recipes, prepare,
};

fn project() -> Project {
    Project::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

fn mirror() -> Option<PathBuf> {
    let mirror = std::env::var_os("HARNESS_MIRROR").filter(|mirror| !mirror.is_empty()).map(PathBuf::from);
    if mirror.is_none() {
        crate::skip::skip("mirror", "set HARNESS_MIRROR to a folder of the real files");
    }
    mirror
}

fn fetcher(store: &Store, mirror: PathBuf) -> Fetcher {
    Fetcher::new(store).with_mirror(Some(mirror)).with_proxies(Proxies::None)
}

#[test]
fn every_recipe_of_the_repository_is_right() {
    for name in known_recipes(&project(), "corpora").unwrap() {
        // Which files a pattern for the hub stands for is looked up by whoever fetches them first; the pattern names a whole commit.
        let recipe = UnlockedRecipe::load(&project(), &name).unwrap_or_else(|e| panic!("{e}"));
        for hub in recipe.text().sources.iter().filter_map(|source| source.hub.as_ref()) {
            assert_eq!(hub.revision.len(), 40, "{name}: {}", hub.revision);
        }
    }
    for name in known_recipes(&project(), "tasks").unwrap() {
        TaskRecipe::load(&project(), &name).unwrap_or_else(|e| panic!("{e}"));
    }
    let near = Recipe::load(&project(), "boks").unwrap_err().to_string();
    assert!(near.contains("did you mean `books`?"), "{near}");
    assert!(Recipe::load(&project(), "../corpora/books").is_err());
}

#[test]
fn the_books_are_prepared() {
    let Some(mirror) = mirror() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let recipe = Recipe::load(&project(), "books").unwrap();
    // The books, and the tasks that they are cleared of.
    let fetched = fetcher(&store, mirror).fetch(&recipe.remotes(), &mut Silent).unwrap();
    assert!(fetched.len() > 25, "{}", fetched.len());
    let books = prepare(&recipe, &store, &mut Silent).unwrap();
    let manifest = books.manifest();
    assert_eq!(manifest.sources.len(), 25);
    assert_eq!(manifest.documents.contaminated, 3, "three chapters hold passages of LAMBADA");
    let (train, validation) = (manifest.train.text_bytes, manifest.validation.text_bytes);
    let share = validation as f64 / (train + validation) as f64;
    assert!((0.02..0.08).contains(&share), "{share}");
    for source in &manifest.sources {
        assert!(source.train_documents > 0 && source.validation_documents > 0, "{source:?}");
    }
    let counts = &manifest.documents;
    let left_out = counts.removed_by_steps + counts.exact_duplicates + counts.near_duplicates + counts.contaminated;
    assert_eq!(counts.read, left_out + counts.train + counts.validation + counts.test);
    let [unigram, bigram] = &manifest.baselines[..] else { panic!("two baselines") };
    assert!(bigram.bits_per_byte < 2.0 && unigram.bits_per_byte < 2.7, "{unigram:?} {bigram:?}");
    // No mark-up and no carriage returns are left in what a model reads.
    for path in files::list_recursive(&folder.path().join("stages")).unwrap() {
        if path.starts_with("clean-") && path.ends_with("/documents.jsonl") {
            let text = files::read_to_string(&folder.path().join("stages").join(path)).unwrap();
            assert!(!text.contains("\\r") && !text.contains("## "));
        }
    }
}

#[test]
fn the_books_are_the_same_bytes_on_one_and_two_threads_and_in_another_folder() {
    let Some(mirror) = mirror() else { return };
    let recipe = Recipe::load(&project(), "books").unwrap();
    let [one, two] = [1, 2].map(|threads| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        fetcher(&store, mirror.clone()).fetch(&recipe.remotes(), &mut Silent).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let corpus = pool.install(|| prepare(&recipe, &store, &mut Silent).unwrap());
        let names = files::list_recursive(corpus.folder()).unwrap();
        let digests: Vec<_> = names.iter().map(|n| Digest::of_file(&corpus.folder().join(n)).unwrap()).collect();
        (corpus.root(), names, digests)
    });
    assert!(one.1.iter().filter(|name| name.ends_with(".tokens")).count() > 3, "{:?}", one.1);
    assert_eq!(one, two);
}

#[test]
fn gpt2s_own_vocabulary_is_read() {
    let Some(mirror) = mirror() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let recipe = Recipe::parse("gpt2", "gpt2.toml", GPT2).unwrap();
    fetcher(&store, mirror).fetch(&recipe.remotes(), &mut Silent).unwrap();
    let corpus = prepare(&recipe, &store, &mut Silent).unwrap();
    let tokenizer = corpus.tokenizer().unwrap();
    assert_eq!((tokenizer.vocabulary_size(), tokenizer.separator()), (50_257, 50_256));
    assert_eq!(tokenizer.encode("Hello world").unwrap(), [15_496, 995]);
    assert_eq!(tokenizer.encode("hello world").unwrap(), [31_373, 995]);
}

const GPT2: &str = r#"
title = "t"
language = "en"
licence = "l"
citation = "c"
generate = { kind = "grammar", seed = 1, documents = 50 }
split = { validation = 0.2 }
[tokenizer]
kind = "gpt2"
vocabulary.sha256 = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
vocabulary.bytes = 1042301
merges.sha256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
merges.bytes = 456318
"#;

/// For each task: items there are, and of the first its context's end, its right choice and how many choices.
const TASKS: [(&str, u64, &str, &str, usize); 6] = [
    ("arc-easy", 2376, "most food webs?\nAnswer:", "Sunlight is the source of energy for nearly all ecosystems.", 4),
    ("blimp.adjunct_island", 1000, "", "Who should Derek hug after shocking Richard?", 2),
    ("copa", 100, "The man turned on the faucet, therefore", "water flowed from the spout.", 2),
    (
        "hellaswag",
        10_042,
        "Roof shingle removal: A man is sitting on a roof. He",
        "starts pulling up roofing on a roof.",
        4,
    ),
    ("lambada", 5153, "I don't care about", "signs", 1),
    (
        "piqa",
        1838,
        "cage for it's new occupants?\nAnswer:",
        "Provide the guinea pig with a cage full of a few inches of bedding made of ripped paper strips, you will also need to supply it with a water bottle and a food dish.",
        2,
    ),
];

/// Recipes whose files are fetched where there is a network only.
const NOT_MIRRORED: [&str; 9] = [
    "arc-challenge",
    "blimp-supplement",
    "boolq",
    "commonsense-qa",
    "entity-tracking",
    "openbook-qa",
    "social-iqa",
    "winograd",
    "winogrande",
];

#[test]
fn the_published_tasks_are_prepared() {
    let Some(mirror) = mirror() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let grammar = Recipe::load(&project(), "grammar").unwrap();
    let tokenizer = prepare(&grammar, &store, &mut Silent).unwrap().tokenizer().unwrap();
    let mut subtasks = 0;
    for name in known_recipes(&project(), "tasks").unwrap() {
        let recipe = TaskRecipe::load(&project(), &name).unwrap();
        if NOT_MIRRORED.contains(&name.as_str()) {
            continue;
        }
        fetcher(&store, mirror.clone()).fetch(&recipe.remotes(), &mut Silent).unwrap();
        let prepared = tasks::prepare(&recipe, &tokenizer, 40, &store, &mut Silent).unwrap();
        for task in prepared.tasks() {
            subtasks += 1;
            assert_eq!(task.items, 40);
            let texts = files::read_to_string(&prepared.texts_path(task)).unwrap();
            let items: Vec<Item> = texts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let requests = read_requests(&prepared.requests_path(task)).unwrap();
            assert_eq!(requests.len(), items.iter().map(|item| item.choices.len()).sum::<usize>());
            assert_eq!(requests.iter().filter(|request| request.gold).count(), 40);
            let Some((_, available, context, right, choices)) = TASKS.iter().find(|row| row.0 == task.id) else {
                continue;
            };
            assert_eq!(task.items_available, *available, "{}", task.id);
            assert!(items[0].context.ends_with(context), "{}: {}", task.id, items[0].context);
            assert_eq!(items[0].choices[items[0].gold], *right);
            assert_eq!(items[0].choices.len(), *choices);
            // Context and continuation together are the text, token by token.
            let first = requests.iter().find(|request| request.gold).unwrap();
            let text = tokenizer.decode(&[&first.context[..], &first.continuation[..]].concat()).unwrap();
            let expected = format!("{} {right}", items[0].context);
            assert!(text.ends_with(&expected), "{text} / {expected}");
        }
    }
    assert!(subtasks >= 16 + 5 + 11, "{subtasks}");
}

#[test]
fn near_duplicates_are_those_of_brute_force() {
    let Some(mirror) = mirror() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let wanted = |name: &str, sha256: &str, bytes: u64| Remote {
        name: name.to_owned(),
        url: None,
        path: None,
        sha256: sha256.parse().unwrap(),
        bytes,
        packing: Packing::None,
    };
    let remotes = [
        wanted("licences", "f1644c6573ae250e4c3eea6dfd87e3cd884bf35ed294e963f806a71326abbad3", 1896749),
        wanted("pairs", "45aaec41f24c6a0347e9b563cfe24cf3d3b0200267d9487a258ca434def83eba", 19466),
    ];
    let fetched = fetcher(&store, mirror).fetch(&remotes, &mut Silent).unwrap();
    let read = |at: usize| files::read_to_string(&fetched[at].path).unwrap();

    let (mut names, mut texts) = (Vec::new(), Vec::new());
    for line in read(0).lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        names.push(record["id"].as_str().unwrap().to_owned());
        texts.push(record["text"].as_str().unwrap().to_owned());
    }
    let at = |name: &str| names.iter().position(|n| n == name).unwrap();
    // Every pair of similarity 0.5 and more, by brute force: id_a, id_b, jaccard_word5, identical_text.
    let mut truth = BTreeMap::new();
    for line in read(1).lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (a, b) = (at(fields[0]), at(fields[1]));
        truth.insert((a.min(b), a.max(b)), (fields[2].parse::<f64>().unwrap(), fields[3] == "1"));
    }
    for threshold in [0.8, 0.6] {
        let rule = NearRule { jaccard: threshold, ..NearRule::default() };
        let found: BTreeMap<_, _> =
            near_pairs(&texts, &rule).unwrap().iter().map(|p| ((p.first, p.second), p.jaccard)).collect();
        let near: BTreeSet<_> = truth.iter().filter(|(_, t)| t.0 >= threshold).map(|(pair, _)| *pair).collect();
        let right = found.keys().filter(|pair| near.contains(pair)).count() as f64;
        let (recall, precision) = (right / near.len() as f64, right / found.len() as f64);
        eprintln!("at {threshold}: {} pairs, recall {recall:.4}, precision {precision:.4}", near.len());
        assert!(recall >= 0.98 && precision >= 0.98, "at {threshold}: recall {recall}, precision {precision}");
        for (pair, jaccard) in &found {
            if let Some((expected, _)) = truth.get(pair) {
                assert!((jaccard - expected).abs() < 0.02, "{pair:?}: {jaccard}, by brute force {expected}");
            }
        }
    }
    // Every text that is the same as an earlier one is found by the pipeline, and nothing else is.
    let licences = format!(
        "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\nsplit = {{ validation = 0.2 }}\n\
         tokenizer = {{ kind = \"bpe\", vocabulary_size = 300 }}\n\
         [[source]]\nname = \"licences\"\nformat = \"jsonl\"\nsha256 = \"{}\"\nbytes = {}\n",
        remotes[0].sha256, remotes[0].bytes
    );
    let corpus = prepare(&Recipe::parse("any", "any.toml", &licences).unwrap(), &store, &mut Silent).unwrap();
    let ledger = files::read_to_string(&corpus.folder().join("documents.jsonl")).unwrap();
    let repeats = ledger.lines().enumerate().filter_map(|(at, line)| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let of = line["because"].as_str()?.strip_prefix("licences#")?.parse::<usize>().unwrap();
        (line["fate"] == "duplicate").then_some((of, at))
    });
    let found: BTreeSet<(usize, usize)> = repeats.collect();
    let identical: BTreeSet<usize> = truth.iter().filter(|(_, t)| t.1).map(|(pair, _)| pair.1).collect();
    assert_eq!(found.iter().map(|(_, at)| *at).collect::<BTreeSet<_>>(), identical);
    assert!(found.iter().all(|(of, at)| texts[*of] == texts[*at]));
    eprintln!("{} documents repeat an earlier one exactly, all found", identical.len());
}
