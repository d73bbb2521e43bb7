//! The repository's own recipes on the real files. Needs the data: set HARNESS_MIRROR to a folder that holds them.

use std::path::{Path, PathBuf};

use harness_core::names::Project;
use harness_corpus::{
    Fetcher, PreparedCorpus, Proxies, Recipe, Silent, Store, known_recipes, prepare, tasks,
};

fn project() -> Project {
    Project::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

fn mirror() -> Option<PathBuf> {
    let mirror = std::env::var_os("HARNESS_MIRROR").map(PathBuf::from);
    if mirror.is_none() {
        eprintln!("skipped: HARNESS_MIRROR is not set");
    }
    mirror
}

fn fetcher(store: &Store, mirror: PathBuf) -> Fetcher {
    Fetcher::new(store)
        .with_mirror(Some(mirror))
        .with_proxies(Proxies::None)
}

#[test]
fn the_books_are_prepared() {
    let Some(mirror) = mirror() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let recipe = Recipe::load(&project(), "books").unwrap();
    let start = std::time::Instant::now();
    let fetched = fetcher(&store, mirror)
        .fetch(&recipe.remotes(), &mut Silent)
        .unwrap();
    assert_eq!(fetched.len(), 25);
    eprintln!("fetch {:?}", start.elapsed());
    let start = std::time::Instant::now();
    let books = prepare(&recipe, &store, &mut Silent).unwrap();
    eprintln!("prepare {:?}", start.elapsed());
    let start = std::time::Instant::now();
    assert_eq!(
        prepare(&recipe, &store, &mut Silent).unwrap().root(),
        books.root()
    );
    eprintln!("again {:?}", start.elapsed());
    let manifest = books.manifest();
    eprintln!(
        "{:?}\n{:?}\n{:?}\n{:?}",
        manifest.documents, manifest.steps, manifest.tokenizer, manifest.baselines
    );
    eprintln!(
        "train {:?} validation {:?}",
        manifest.train, manifest.validation
    );
    let share = manifest.validation.text_bytes as f64
        / (manifest.train.text_bytes + manifest.validation.text_bytes) as f64;
    eprintln!("share {share}");
    if std::env::var_os("KEEP").is_some() {
        let _ = folder.keep();
        eprintln!("{}", books.folder().display());
    }
    assert!((0.02..0.08).contains(&share));
}

#[test]
fn every_task_is_prepared() {
    let Some(mirror) = mirror() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let grammar = Recipe::load(&project(), "grammar").unwrap();
    let start = std::time::Instant::now();
    let corpus = prepare(&grammar, &store, &mut Silent).unwrap();
    eprintln!("grammar {:?}", start.elapsed());
    let manifest = corpus.manifest();
    eprintln!(
        "{:?}\n{:?}\n{:?}",
        manifest.documents, manifest.tokenizer, manifest.baselines
    );
    eprintln!(
        "train {:?} validation {:?}",
        manifest.train, manifest.validation
    );
    let tokenizer = PreparedCorpus::open(&store, &grammar)
        .unwrap()
        .tokenizer()
        .unwrap();
    for name in known_recipes(&project(), "tasks").unwrap() {
        let recipe = tasks::TaskRecipe::load(&project(), &name).unwrap();
        fetcher(&store, mirror.clone())
            .fetch(&recipe.remotes(), &mut Silent)
            .unwrap();
        let start = std::time::Instant::now();
        let prepared = tasks::prepare(&recipe, &tokenizer, 0, &store, &mut Silent).unwrap();
        for task in prepared.tasks() {
            eprintln!(
                "{} {} of {} {:?}",
                task.id,
                task.items,
                task.items_available,
                start.elapsed()
            );
        }
    }
    if std::env::var_os("KEEP").is_some() {
        let _ = folder.keep();
        eprintln!("{}", corpus.folder().display());
    }
}
