//! Recipes whose sources are patterns: for files of the project, and for files of a data set on the hub.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::names::Project;
use harness_corpus::{
    Fetcher, HubAccess, LockFile, PreparedCorpus, Progress, Proxies, Recipe, Silent, Store, Unit, UnlockedRecipe,
    prepare,
};

use crate::hub::{COMMIT, HubFile, serve};

/// A project with one recipe.
struct Place {
    folder: tempfile::TempDir,
    project: Project,
    store: Store,
}

const HEAD: &str = "title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"\n\
    split = { validation = 0.2, by_source = true }\ntokenizer = { kind = \"bpe\", vocabulary_size = 300 }\n";

fn lines(seed: u64) -> String {
    harness_corpus::grammar::corpus(seed, 40).collect::<Vec<_>>().join("\n")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Place {
    fn new(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::at(folder.path());
        let store = Store::of(&project);
        let place = Place { folder, project, store };
        place.write("experiments/corpora/small.toml", format!("{HEAD}{recipe}").as_bytes());
        place
    }

    fn write(&self, path: &str, content: &[u8]) {
        files::write(&self.folder.path().join(path), content).unwrap();
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher::new(&self.store).with_proxies(Proxies::None).with_attempts(3, Duration::from_millis(1))
    }

    /// What `harness data fetch` does.
    fn fetch(&self, fetcher: &Fetcher, update: bool, progress: &mut dyn Progress) -> Result<Recipe, String> {
        let recipe = UnlockedRecipe::load(&self.project, "small").map_err(|e| e.to_string())?;
        let before = LockFile::load(&self.project, "small").map_err(|e| e.to_string())?;
        let lock = fetcher.look_up(&recipe, &before, update, progress).map_err(|e| e.to_string())?;
        lock.write(&self.project.corpus_lock("small")).unwrap();
        let recipe = Recipe::load(&self.project, "small").map_err(|e| e.to_string())?;
        fetcher.fetch(&recipe.remotes(), progress).map_err(|e| e.to_string())?;
        Ok(recipe)
    }

    fn prepared(&self) -> PreparedCorpus {
        let recipe = self.fetch(&self.fetcher(), false, &mut Silent).unwrap();
        prepare(&recipe, &self.store, &mut Silent).unwrap()
    }
}

/// Keeps the notes.
#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn begin(&mut self, _: &str, _: Option<u64>, _: Unit) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, message: &str) {
        self.0.push(message.to_owned());
    }
}

const LOCAL: &str = "[mixture]\nweights = { web = 3.0, one = 1.0 }\n\
    [[source]]\nname = \"web\"\ntitle = \"Pages\"\npath = \"data/**/*.txt*\"\ndocuments = { split = \"lines\" }\n\
    [[source]]\nname = \"one\"\npath = \"one.txt\"\ndocuments = { split = \"lines\" }\n";

fn local() -> Place {
    let place = Place::new(LOCAL);
    place.write("data/b.txt", lines(1).as_bytes());
    place.write("data/a/c.txt.gz", &gzip(lines(2).as_bytes()));
    place.write("data/.hidden/d.txt", lines(3).as_bytes());
    place.write("data/b.md", lines(3).as_bytes());
    place.write("one.txt", lines(4).as_bytes());
    place
}

#[test]
fn files_of_the_project_are_listed_in_order_and_give_the_same_root_in_any_folder() {
    let place = local();
    let missing = Recipe::load(&place.project, "small").unwrap_err().to_string();
    assert!(
        missing.contains("`web` of the corpus `small`") && missing.contains("harness data fetch small"),
        "{missing}"
    );
    let corpus = place.prepared();
    let manifest = corpus.manifest();
    let found: Vec<_> =
        manifest.sources.iter().map(|s| (s.name.as_str(), s.path.as_deref().unwrap(), s.sha256)).collect();
    let expected = [
        ("web/data/a/c.txt.gz", "data/a/c.txt.gz", Digest::of(lines(2).as_bytes())),
        ("web/data/b.txt", "data/b.txt", Digest::of(lines(1).as_bytes())),
        ("one/one.txt", "one.txt", Digest::of(lines(4).as_bytes())),
    ];
    assert_eq!(found, expected);
    assert_eq!(manifest.recipe["locked"]["web"]["files"].as_array().unwrap().len(), 2);
    assert_eq!(manifest.documents.read, 120);

    // The weights are of the sources of the recipe: both files of the pattern are repeated alike, and as a whole they
    // have three parts of the bytes.
    let [c, b, one] = &manifest.sources[..] else { panic!("three files") };
    assert_eq!(c.epochs, b.epochs);
    let ledger = files::read_to_string(&corpus.folder().join("documents.jsonl")).unwrap();
    let ledger: Vec<serde_json::Value> = ledger.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bytes = |source: &str, fate: &str| -> f64 {
        let of = ledger.iter().filter(|l| l["id"].as_str().unwrap().starts_with(source) && l["fate"] == fate);
        of.map(|l| l["bytes"].as_f64().unwrap()).sum()
    };
    let weights = [("web/", c.epochs), ("one/", one.epochs)].map(|(name, epochs)| epochs * bytes(name, "train"));
    assert!((weights[0] / weights[1] - 3.0).abs() < 1e-9, "{weights:?}");
    // As a whole they give a fifth of their bytes to validation, which neither file has to do alone.
    let share = bytes("web/", "validation") / (bytes("web/", "validation") + bytes("web/", "train"));
    assert!((0.2..0.23).contains(&share), "{share}");

    let elsewhere = local();
    assert_eq!(elsewhere.prepared().root(), corpus.root());
    let locks = [&place, &elsewhere].map(|at| files::read(&at.project.corpus_lock("small")).unwrap());
    assert_eq!(locks[0], locks[1]);
}

#[test]
fn files_that_change_later_are_told_and_taken_in_on_request() {
    let place = local();
    let before = place.prepared().root();
    place.write("data/e.txt", lines(5).as_bytes());
    place.write("data/b.txt", lines(6).as_bytes());
    files::remove(&place.folder.path().join("one.txt")).unwrap();

    // The lock file decides, and the store still has what it names.
    let mut notes = Notes::default();
    let recipe = place.fetch(&place.fetcher(), false, &mut notes).unwrap();
    assert_eq!(prepare(&recipe, &place.store, &mut Silent).unwrap().root(), before);
    assert!(notes.0[0].starts_with("web: 1 are new, 1 have another size since"), "{notes:?}", notes = notes.0);
    assert!(notes.0[1].starts_with("one: 1 are gone since"), "{notes:?}", notes = notes.0);

    // Without the store, only the files that the lock file names will do.
    files::remove_folder(&place.folder.path().join(".harness")).unwrap();
    let problem = place.fetch(&place.fetcher(), false, &mut Silent).unwrap_err();
    assert!(problem.contains("data/b.txt` is not the file that the recipe means by `web/data/b.txt`"), "{problem}");
    assert!(problem.contains("hint: ") && problem.contains("--update"), "{problem}");

    let problem = place.fetch(&place.fetcher(), true, &mut Silent).unwrap_err();
    assert!(
        problem.contains("no file of the project matches `one.txt`, as the source `one` wants\nhint: "),
        "{problem}"
    );
    place.write("one.txt", lines(4).as_bytes());
    place.fetch(&place.fetcher(), true, &mut Silent).unwrap();
    let corpus = place.prepared();
    assert_ne!(corpus.root(), before);
    assert_eq!(corpus.manifest().sources.iter().filter(|s| s.pattern.as_deref() == Some("web")).count(), 3);
}

const HUB: &str = "[[source]]\nname = \"set\"\nformat = \"jsonl\"\n\
    hub = { dataset = \"org/set\", files = \"data/*.jsonl{,.gz}\" }\n";

fn json_lines(seed: u64) -> Vec<u8> {
    let lines = harness_corpus::grammar::corpus(seed, 40).map(|text| serde_json::json!({ "text": text }).to_string());
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

fn data_set() -> BTreeMap<String, HubFile> {
    let file = |content: Vec<u8>, in_lfs| HubFile { content, in_lfs, sent: None };
    let files = [
        ("README.md", file(b"# A set".to_vec(), false)),
        ("data/part 0.jsonl", file(json_lines(1), true)),
        ("data/part 1.jsonl.gz", file(gzip(&json_lines(2)), true)),
        ("data/small.jsonl", file(json_lines(3), false)),
        ("data/deeper/other.jsonl", file(json_lines(4), true)),
    ];
    files.into_iter().map(|(path, file)| (path.to_owned(), file)).collect()
}

fn from(place: &Place, endpoint: &str, token: Option<&str>) -> Fetcher {
    place.fetcher().with_hub(HubAccess::new(Some(endpoint.to_owned()), token.map(str::to_owned)))
}

#[test]
fn files_of_a_data_set_are_those_of_one_commit_whatever_hub_sent_them() {
    let place = Place::new(HUB);
    let server = serve(data_set());
    let fetcher = from(&place, &format!("{}/", server.endpoint), Some("secret"));
    let recipe = place.fetch(&fetcher, false, &mut Silent).unwrap();
    let corpus = prepare(&recipe, &place.store, &mut Silent).unwrap();
    let found: Vec<_> =
        corpus.manifest().sources.iter().map(|s| (s.name.as_str(), s.url.as_deref().unwrap(), s.sha256)).collect();
    let address = |path: &str| format!("https://huggingface.co/datasets/org/set/resolve/{COMMIT}/data/{path}");
    let addresses = ["part%200.jsonl", "part%201.jsonl.gz", "small.jsonl"].map(address);
    let expected = [
        ("set/data/part 0.jsonl", addresses[0].as_str(), Digest::of(&json_lines(1))),
        ("set/data/part 1.jsonl.gz", addresses[1].as_str(), Digest::of(&json_lines(2))),
        ("set/data/small.jsonl", addresses[2].as_str(), Digest::of(&json_lines(3))),
    ];
    assert_eq!(found, expected);
    assert_eq!(corpus.manifest().documents.read, 120);
    assert_eq!(files::list(&place.store.root().join("downloads")).unwrap().len(), 3, "the packed form is not kept");
    let lock: serde_json::Value =
        serde_json::from_slice(&files::read(&place.project.corpus_lock("small")).unwrap()).unwrap();
    assert_eq!(lock["sources"]["set"]["commit"], COMMIT);

    // Transfers that broke off went on where they stopped, and the content network did not learn the token.
    let seen = server.seen();
    for at in [2, 3] {
        let of: Vec<_> = seen.iter().filter(|s| s.target == format!("/content/{at}")).collect();
        assert!(of.len() == 2 && of[0].range_from.is_none() && of[1].range_from.is_some(), "{of:?}");
        assert!(of.iter().all(|s| s.token.is_none()), "{of:?}");
    }
    assert!(seen.iter().filter(|s| s.target.starts_with("/api/")).all(|s| s.token.as_deref() == Some("Bearer secret")));

    // With the lock file alone, elsewhere and from another hub: the same files, without asking what there is.
    let elsewhere = Place::new(HUB);
    elsewhere.write("experiments/corpora/small.lock.json", &files::read(&place.project.corpus_lock("small")).unwrap());
    let other = serve(data_set());
    let recipe = elsewhere.fetch(&from(&elsewhere, &other.endpoint, None), false, &mut Silent).unwrap();
    assert_eq!(prepare(&recipe, &elsewhere.store, &mut Silent).unwrap().root(), corpus.root());
    assert!(other.seen().iter().all(|s| !s.target.starts_with("/api/")));
}

#[test]
fn a_parquet_file_of_the_hub_gives_the_documents_that_pyarrow_wrote() {
    let fixture =
        |name: &str| files::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub").join(name)).unwrap();
    let file = "train-00000-of-00001.parquet";
    let place = Place::new(&HUB.replace("jsonl{,.gz}", "parquet").replace("jsonl", "parquet"));
    let served = HubFile { content: fixture(file), in_lfs: true, sent: None };
    let server = serve(BTreeMap::from([(format!("data/{file}"), served)]));
    let recipe = place.fetch(&from(&place, &server.endpoint, None), false, &mut Silent).unwrap();
    let corpus = prepare(&recipe, &place.store, &mut Silent).unwrap();

    let ledger = files::read_to_string(&corpus.folder().join("documents.jsonl")).unwrap();
    let row = |line: &str| {
        let of: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = of["id"].as_str().unwrap().strip_prefix(&format!("set/data/{file}#")).unwrap();
        let [sha256, fate] = ["sha256", "fate"].map(|key| of[key].as_str().unwrap());
        format!("{number}\t{}\t{sha256}\t{fate}\n", of["bytes"])
    };
    assert_eq!(ledger.lines().map(row).collect::<String>(), String::from_utf8(fixture("expected.tsv")).unwrap());
    let manifest = corpus.manifest();
    let (read, duplicates) = (manifest.documents.read, manifest.documents.exact_duplicates);
    assert_eq!((read, duplicates, manifest.sources[0].lines_repaired), (40, 2, 0));
    assert_eq!((manifest.documents.train, manifest.train.text_bytes), (29, 3514));
    assert_eq!((manifest.documents.validation, manifest.validation.text_bytes), (9, 1050));
}

#[test]
fn what_the_hub_lacks_or_sends_wrongly_is_explained() {
    let problem = |recipe: &str, files: BTreeMap<String, HubFile>, token: Option<&str>| {
        let place = Place::new(recipe);
        let server = serve(files);
        let problem = place.fetch(&from(&place, &server.endpoint, token), false, &mut Silent).unwrap_err();
        assert!(!files::is_file(&place.project.corpus_lock("small")) || problem.contains("sha256"), "{problem}");
        problem
    };
    let text = problem(&HUB.replace("data/*", "train/*"), data_set(), None);
    assert!(text.contains("no file of the data set `org/set` at `main` matches `train/*.jsonl{,.gz}`"), "{text}");
    assert!(text.contains("hint: its files: `README.md`, `data/deeper/other.jsonl`"), "{text}");
    let text = problem(&HUB.replace("org/set", "org/other"), data_set(), None);
    assert!(text.contains("`org/other` at `main`") && text.contains("404 (not found)\nhint: "), "{text}");
    let text = problem(&HUB.replace("org/set", "org/gated"), data_set(), None);
    assert!(text.contains("401") && text.contains("HF_TOKEN"), "{text}");
    let text = problem(&HUB.replace("org/set", "org/gated"), data_set(), Some("secret"));
    assert!(text.contains("404"), "{text}");

    for (path, said) in [
        ("data/part 0.jsonl", "does not give `set/data/part 0.jsonl`: its content has sha256"),
        ("data/part 1.jsonl.gz", "does not give `set/data/part 1.jsonl.gz`: its content has sha256"),
        ("data/small.jsonl", "what came is not the file of"),
    ] {
        let mut files = data_set();
        let file = files.get_mut(path).unwrap();
        let mut sent = file.content.clone();
        sent[20] ^= 1;
        file.sent = Some(sent);
        let text = problem(HUB, files, None);
        assert!(text.contains(said), "{path}: {text}");
    }
    // Nobody there.
    let place = Place::new(HUB);
    let text = place.fetch(&from(&place, "http://127.0.0.1:9", None), false, &mut Silent).unwrap_err();
    assert!(text.contains("could not be listed by `http://127.0.0.1:9`") && text.contains("hint: "), "{text}");
}

#[test]
fn a_revision_can_be_a_branch_with_slashes() {
    let place = Place::new(&HUB.replace("\"org/set\"", "\"org/set\", revision = \"refs/convert/parquet\""));
    let server = serve(data_set());
    place.fetch(&from(&place, &server.endpoint, None), false, &mut Silent).unwrap();
    assert!(server.seen()[0].target.contains("/revision/refs%2Fconvert%2Fparquet"), "{:?}", server.seen()[0]);
}

#[test]
fn mistakes_in_patterns_are_shown_at_their_place() {
    let cases = [
        ("path = \"/data/*.txt\"", "`source.0.path`: leads out of the project"),
        ("path = \"data/../*.txt\"", "`source.0.path`: leads out of the project"),
        ("path = \"data/[.txt\"", "`source.0.path`: unclosed character class"),
        ("path = \"data/*.txt\"\npacking = \"gzip\"", "`source.0.packing`: is not used with a pattern"),
        ("path = \"data/*.txt\"\nbytes = 3", "`source.0.sha256`: is not stated"),
        ("path = \"data/*.txt\"\nurl = \"https://a.org/b\"", "`source.0.path`: files of a pattern have no url"),
        ("url = \"https://a.org/b\"", "`source.0.sha256`: is not stated"),
        (
            "hub = { dataset = \"a/b/c\", files = \"*\" }",
            "`source.0.hub.dataset`: `a/b/c` is not the name of a data set",
        ),
        ("hub = { dataset = \"a/b\", files = \"*\" }\npath = \"*\"", "`source.0.hub`: a source comes from the hub or"),
        ("hub = { dataset = \"a/b\" }", "`files` is not stated"),
        ("hub = { dataset = \"a/b\", file = \"*\" }", "unknown key `file`"),
    ];
    for (lines, problem) in cases {
        let text = format!("{HEAD}[[source]]\nname = \"web\"\n{lines}\n");
        let message = Recipe::parse("small", "small.toml", &text).unwrap_err().to_string();
        assert!(message.contains(problem) && message.contains("small.toml:"), "{lines}: {message}");
    }
    let place = Place::new(LOCAL);
    let lock = place.project.corpus_lock("small");
    files::write(&lock, b"{\"format\": 9, \"sources\": {}}").unwrap();
    let message = Recipe::load(&place.project, "small").unwrap_err().to_string();
    assert!(message.contains("small.lock.json") && message.contains("version 9"), "{message}");
    assert!(Path::new(&lock).is_absolute());
}
