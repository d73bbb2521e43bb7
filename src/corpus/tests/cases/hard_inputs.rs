//! Inputs that were once prepared wrongly and without a message, each with what is right.

use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::shards::TokenStream;
use harness_corpus::tasks::TaskRecipe;
use harness_corpus::{Fetcher, PreparedCorpus, Proxies, Recipe, Silent, Store, prepare};

/// A folder with a store and a mirror.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    /// Puts a file into the mirror and gives its `sha256` and `bytes` for a recipe.
    fn file(&self, content: &[u8]) -> String {
        let sha256 = Digest::of(content);
        files::write(&self.0.path().join("mirror").join(sha256.to_string()), content).unwrap();
        format!("sha256 = \"{sha256}\", bytes = {}", content.len())
    }

    /// Prepares a corpus of one source; `options` are the lines of the recipe about it.
    fn prepare(&self, content: &[u8], source: &str, options: &str) -> Result<PreparedCorpus, String> {
        let text = format!(
            "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\n{options}\n\
             source = [{{ name = \"s\", {}, {source} }}]\n",
            self.file(content)
        );
        let recipe = Recipe::parse("hard", "hard.toml", &text).map_err(|e| e.to_string())?;
        let store = Store::at(self.0.path().join("store"));
        let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(self.0.path().join("mirror")));
        fetcher.fetch(&recipe.remotes(), &mut Silent).unwrap();
        prepare(&recipe, &store, &mut Silent).map_err(|e| e.to_string())
    }
}

const LINES: &str = "documents = { split = \"lines\" }\nsplit = { validation = 0.2 }";

fn fixture(name: &str) -> Vec<u8> {
    files::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// The tokens of each document of the training and the validation side, the separator first.
fn documents(corpus: &PreparedCorpus) -> Vec<Vec<i64>> {
    let shards: Vec<PathBuf> = corpus.train_shards().into_iter().chain(corpus.validation_shards()).collect();
    let mut documents = Vec::new();
    for shard in TokenStream::open(&shards).unwrap().shards() {
        for document in shard.documents() {
            let mut tokens = vec![0; document.tokens as usize];
            shard.copy_tokens(document.first_token, &mut tokens);
            documents.push(tokens);
        }
    }
    documents
}

/// Every document comes back from its tokens, and the separator stands before documents only.
fn assert_whole(corpus: &PreparedCorpus, texts: &[String]) {
    let tokenizer = corpus.tokenizer().unwrap();
    let separator = i64::from(tokenizer.separator());
    let documents = documents(corpus);
    let separators = documents.iter().flatten().filter(|token| **token == separator).count();
    assert_eq!((documents.len(), separators), (texts.len(), texts.len()));
    let decoded =
        |tokens: &Vec<i64>| tokenizer.decode(&tokens[1..].iter().map(|&t| t as u32).collect::<Vec<_>>()).unwrap();
    let mut found: Vec<String> = documents.iter().map(decoded).collect();
    let mut expected = texts.to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

fn lines(content: &[u8]) -> Vec<String> {
    String::from_utf8(content.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_document_that_spells_the_separator_does_not_get_it() {
    let place = Place::new();
    for separator in ["###", "---"] {
        let content: String =
            (0..60).map(|i| format!("{separator} Heading {i}, Some text {separator} more {i}.\n")).collect();
        for (kind, size) in [("bpe", 290), ("unigram", 260)] {
            let tokenizer =
                format!("tokenizer = {{ kind = \"{kind}\", vocabulary_size = {size}, separator = \"{separator}\" }}");
            let corpus = place.prepare(content.as_bytes(), "", &format!("{LINES}\n{tokenizer}")).unwrap();
            assert_eq!(corpus.manifest().tokenizer.vocabulary_size, size);
            assert_whole(&corpus, &lines(content.as_bytes()));
        }
    }
    let one = place.prepare(
        b"a",
        "",
        &format!("{LINES}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 290, separator = \"#\" }}"),
    );
    assert!(one.unwrap_err().contains("`tokenizer.separator`: must be of several characters"));

    // The separator of a file is a token like any other there.
    let file = String::from_utf8(fixture("truncation/truncated.json")).unwrap();
    let file =
        file.replace("\"special\": true", "\"special\": false").replace("\"max_length\": 128", "\"max_length\": 4096");
    let content: String =
        (0..81).map(|i| format!("Line {i} {}\n", if i == 7 { "<|endoftext|> inside" } else { "of text" })).collect();
    let tokenizer = format!("tokenizer = {{ kind = \"file\", file = {{ {} }} }}", place.file(file.as_bytes()));
    let corpus = place.prepare(content.as_bytes(), "", &format!("{LINES}\n{tokenizer}")).unwrap();
    assert_whole(&corpus, &lines(content.as_bytes()));
}

#[test]
fn files_are_cut_at_separators_with_line_ends() {
    let place = Place::new();
    let texts: Vec<String> = (0..30).map(|i| format!("Document {i}\nof two lines.")).collect();
    for end in ["\n", "\r\n"] {
        let content = texts.join("\n====\n").replace('\n', end);
        let options = "documents = { split = \"separator\", separator = \"\\n====\\n\" }\nsplit = { validation = 0.2 }\n\
                       tokenizer = { kind = \"bpe\", vocabulary_size = 260 }";
        let corpus = place.prepare(content.as_bytes(), "", options).unwrap();
        assert_whole(&corpus, &texts);
    }
}

#[test]
fn a_tokenizer_file_neither_cuts_nor_drops_text_without_a_message() {
    let place = Place::new();
    let content = [fixture("truncation/f.txt"), fixture("truncation/long.txt")].concat();
    let prepare = |name: &str| {
        let tokenizer = format!("tokenizer = {{ kind = \"file\", file = {{ {} }} }}", place.file(&fixture(name)));
        place.prepare(&content, "", &format!("{LINES}\nduplicates = {{ exact = false }}\n{tokenizer}"))
    };
    let whole = prepare("truncation/truncated.json").unwrap();
    assert_whole(&whole, &lines(&content));
    assert!(documents(&whole).iter().any(|tokens| tokens.len() > 500), "the longest document has more tokens than 128");
    let own: serde_json::Value = serde_json::from_slice(&files::read(&whole.tokenizer_path()).unwrap()).unwrap();
    assert!(own["truncation"].is_null(), "whoever reads the corpus's own file gets the same tokens");
    let problem = prepare("truncation/nounk.json").unwrap_err();
    assert!(
        problem.contains("does not come back from its tokens") && problem.contains("no token for unknown"),
        "{problem}"
    );
}

#[test]
fn entries_that_no_merge_gives_are_no_trouble() {
    let place = Place::new();
    let content = fixture("unreached/docs.txt");
    let [vocabulary, merges] =
        ["vocab.json", "merges.txt"].map(|name| place.file(&fixture(&format!("unreached/{name}"))));
    let tokenizer =
        format!("tokenizer = {{ kind = \"gpt2\", vocabulary = {{ {vocabulary} }}, merges = {{ {merges} }} }}");
    let corpus =
        place.prepare(&content, "", &format!("{LINES}\nduplicates = {{ exact = false }}\n{tokenizer}")).unwrap();
    assert_whole(&corpus, &lines(&content));
    assert_eq!(corpus.manifest().tokenizer.encoder, "bpe", "the faster one serves as well");
}

#[test]
fn documents_without_words_are_no_near_duplicates() {
    let place = Place::new();
    let content = fixture("wordless.txt");
    let prepare = |options: &str| {
        let options = format!(
            "documents = {{ split = \"lines\" }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 257 }}\n{options}"
        );
        place.prepare(&content, "", &options).unwrap().manifest().documents.clone()
    };
    let all = lines(&content).len() as u64;
    let near = prepare("duplicates = { near = {} }\nsplit = { validation = 0.3 }");
    assert_eq!((near.read, near.near_duplicates), (all, 0));
    let leakage = prepare("split = { validation = 0.3, leakage = {} }");
    assert_eq!((leakage.read, leakage.leaked), (all, 0));
}

#[test]
fn a_skippable_frame_first_is_no_text() {
    let place = Place::new();
    let content: String = (0..40).map(|i| format!("Document {i} of forty.\n")).collect();
    let packed = zstd::encode_all(content.as_bytes(), 1).unwrap();
    let skippable = [&[0x5d, 0x2a, 0x4d, 0x18, 8, 0, 0, 0][..], b"an index"].concat();
    let packed = [skippable, packed].concat();
    let place_of = place.0.path().join("mirror/packed.zst");
    files::write(&place_of, &packed).unwrap();
    let text = format!(
        "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\n{LINES}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 260 }}\n\
         [[source]]\nname = \"s\"\nsha256 = \"{}\"\nbytes = {}\n",
        Digest::of(content.as_bytes()),
        content.len()
    );
    let recipe = Recipe::parse("hard", "hard.toml", &text).unwrap();
    let store = Store::at(place.0.path().join("store"));
    let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(place.0.path().join("mirror")));
    fetcher.fetch(&recipe.remotes(), &mut Silent).unwrap();
    let corpus = prepare(&recipe, &store, &mut Silent).unwrap();
    assert_whole(&corpus, &lines(content.as_bytes()));
}

#[test]
fn json_lines_of_python_with_half_a_pair_or_nan_are_read_or_told_by_their_cause() {
    let place = Place::new();
    let mut content: String =
        (0..60).map(|i| format!("{{\"text\": \"Document {i} of sixty.\", \"score\": 1}}\n")).collect();
    content += "{\"text\": \"cut here \\ud83d\", \"score\": NaN}\n";
    let options = |repair: &str| {
        format!(
            "documents = {{ invalid_utf8 = \"{repair}\" }}\nsplit = {{ validation = 0.2 }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 260 }}"
        )
    };
    let corpus = place.prepare(content.as_bytes(), "format = \"jsonl\"", &options("repair")).unwrap();
    assert_eq!((corpus.manifest().documents.read, corpus.manifest().sources[0].lines_repaired), (61, 1));
    let problem = place.prepare(content.as_bytes(), "format = \"jsonl\"", &options("refuse")).unwrap_err();
    assert!(problem.contains("record 61: the text in `text` holds half of a surrogate pair"), "{problem}");
    assert!(problem.contains("hint: say invalid_utf8 = \"repair\""), "{problem}");
}

/// Pairs of texts of 60 words that differ in one of them.
fn nearly_repeated(pairs: u64) -> String {
    let pair = |seed: u64| {
        let text = harness_corpus::grammar::corpus(seed, 20).collect::<Vec<_>>().join(" ");
        let words: Vec<&str> = text.split_whitespace().take(60).collect();
        [words.join(" "), [&words[..59], &["changed"]].concat().join(" ")].join("\n")
    };
    (0..pairs).map(pair).collect::<Vec<_>>().join("\n")
}

#[test]
fn near_duplicates_across_the_split_are_counted_where_none_are_left_out() {
    let place = Place::new();
    let content = nearly_repeated(100);
    let prepare = |options: &str| {
        let options = format!(
            "documents = {{ split = \"lines\" }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 300 }}\n{options}"
        );
        place.prepare(content.as_bytes(), "", &options).unwrap().manifest().clone()
    };
    let kept = prepare("split = { validation = 0.2, test = 0.1 }");
    let across = kept.across_split.as_ref().unwrap();
    assert!(across.train_documents > 20 && across.validation_documents > 10 && across.test_documents > 5, "{across:?}");
    assert!(
        across.validation_documents + across.test_documents >= across.train_documents && across.examples.len() == 10
    );
    let [training, held_out] = &across.examples[0];
    assert!(kept.validation_documents.iter().all(|document| document.id != *training) && training != held_out);
    let cautions = kept.cautions();
    let of = format!("{} of {} validation documents", across.validation_documents, kept.documents.validation);
    assert!(
        cautions.len() == 2 && cautions[0].starts_with(&of) && cautions[0].contains("hint: `leakage = {}`"),
        "{cautions:?}"
    );

    let without = prepare("split = { validation = 0.2, test = 0.1, leakage = {} }");
    assert_eq!(without.documents.leaked, across.train_documents);
    let across = without.across_split.as_ref().unwrap();
    assert_eq!((across.train_documents, across.validation_documents, without.cautions()), (0, 0, Vec::new()));
}

#[test]
fn few_validation_documents_are_told_with_a_hint_that_works() {
    let place = Place::new();
    let content: String = harness_corpus::grammar::corpus(3, 120).collect::<Vec<_>>().join("\n");
    let prepare = |content: &str, validation: &str| {
        let options = format!(
            "documents = {{ split = \"lines\" }}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 260 }}\nsplit = {{ validation = {validation} }}"
        );
        place.prepare(content.as_bytes(), "", &options).unwrap().manifest().clone()
    };
    let few = prepare(&content, "0.03");
    assert!(few.documents.validation < 5, "{:?}", few.documents);
    let caution = few.cautions().remove(0);
    assert!(caution.contains("no difference between runs is judged"), "{caution}");
    let share = caution.split('`').nth(1).unwrap().strip_prefix("validation = ").unwrap();
    let enough = prepare(&content, share);
    assert!(enough.documents.validation >= 20 && enough.cautions().is_empty(), "{share}: {:?}", enough.cautions());

    let lines: Vec<&str> = content.lines().take(30).collect();
    let caution = prepare(&lines.join("\n"), "0.4").cautions().remove(0);
    assert!(
        caution.contains("only large differences") && caution.contains("add text, or cut the sources"),
        "{caution}"
    );
}

#[test]
fn items_are_looked_for_by_the_words_of_their_records() {
    let place = Place::new();
    let items = "{\"q\": \"Why do the old ducks swim so slowly\", \"a\": [\"because of age\", \"because of fish\"], \"key\": 0}\n\
                 {\"q\": \"Who is it\", \"a\": [\"me\", \"you\"], \"key\": 1}\n";
    let task = format!(
        "title = \"t\"\nversion = 1\nlicence = \"l\"\ncitation = \"c\"\nkind = \"multiple_choice\"\nmetric = \"accuracy\"\nchance = 0.5\n\
         [items]\nformat = \"jsonl\"\ncontext = \"Question: {{{{ q }}}}?\\nThe right answer to it is this:\"\nchoices_from = \"a\"\nanswer = \"key\"\n\
         [[subtask]]\nfile = {{ {} }}\n",
        place.file(items.as_bytes())
    );
    let mut lines: Vec<String> = harness_corpus::grammar::corpus(9, 80).collect();
    lines.insert(40, "Why do the old ducks swim so slowly? Because of age.".to_owned());
    let content = lines.join("\n");
    let text = format!(
        "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\n{LINES}\ntokenizer = {{ kind = \"bpe\", vocabulary_size = 300 }}\n\
         decontaminate = {{ tasks = [\"why\"] }}\nsource = [{{ name = \"s\", {} }}]\n",
        place.file(content.as_bytes())
    );
    let load = |name: &str| TaskRecipe::parse(name, "task.toml", &task);
    let recipe = Recipe::parse_with("hard", "hard.toml", &text, &load).unwrap();
    let store = Store::at(place.0.path().join("store"));
    let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(place.0.path().join("mirror")));
    fetcher.fetch(&recipe.remotes(), &mut Silent).unwrap();
    let corpus = prepare(&recipe, &store, &mut Silent).unwrap();
    let found = &corpus.manifest().contamination[0];
    assert_eq!((found.items, found.items_found, found.items_too_short, found.documents), (2, 1, 1, 1));
    assert_eq!(corpus.manifest().documents.contaminated, 1);
}
