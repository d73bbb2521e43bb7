//! Tasks against examples computed by hand: with a tokenizer of 256 bytes and no merges, each byte is a token.

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::scores::read_requests;
use harness_corpus::overlap;
use harness_corpus::tasks::{Item, PreparedTasks, TaskRecipe, check, prepare};
use harness_corpus::{Fetcher, Proxies, Recipe, Silent, Store, Tokenizer};

const BYTES: &str = "
title = \"t\"\nlanguage = \"en\"\nlicence = \"l\"\ncitation = \"c\"
[generate]\nkind = \"grammar\"\nseed = 1\ndocuments = 50
[split]\nvalidation = 0.2
[tokenizer]\nkind = \"bpe\"\nvocabulary_size = 257\n";

const HEAD: &str = "title = \"t\"\nversion = 1\nlicence = \"l\"\ncitation = \"c\"\n";

fn bytes_tokenizer(store: &Store) -> Tokenizer {
    let recipe = Recipe::parse("bytes", "bytes.toml", BYTES).unwrap();
    harness_corpus::prepare(&recipe, store, &mut Silent).unwrap().tokenizer().unwrap()
}

struct Prepared {
    _folder: tempfile::TempDir,
    tokenizer: Tokenizer,
    tasks: PreparedTasks,
}

/// Prepares a task of one file with this content.
fn prepared(name: &str, rest: &str, file: &str, limit: u64) -> Prepared {
    let folder = tempfile::tempdir().unwrap();
    let (store, mirror) = (Store::at(folder.path().join("store")), folder.path().join("mirror"));
    files::write(&mirror.join("data"), file.as_bytes()).unwrap();
    let subtask =
        format!("[[subtask]]\nfile.sha256 = \"{}\"\nfile.bytes = {}\n", Digest::of(file.as_bytes()), file.len());
    let recipe =
        TaskRecipe::parse(name, "task.toml", &format!("{HEAD}{rest}{subtask}")).unwrap_or_else(|e| panic!("{e}"));
    let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(mirror));
    fetcher.fetch(&recipe.remotes(), &mut Silent).unwrap();
    let tokenizer = bytes_tokenizer(&store);
    let tasks = prepare(&recipe, &tokenizer, limit, &store, &mut Silent).unwrap();
    Prepared { _folder: folder, tokenizer, tasks }
}

impl Prepared {
    /// (item, choice, gold, characters, context, continuation) of each request; the separator reads `|`.
    fn rows(&self) -> Vec<(u64, u32, bool, u64, String, String)> {
        let task = &self.tasks.tasks()[0];
        let text = |tokens: &[u32]| {
            if tokens == [self.tokenizer.separator()] { "|".to_owned() } else { self.tokenizer.decode(tokens).unwrap() }
        };
        let requests = read_requests(&self.tasks.requests_path(task)).unwrap();
        let row = |r: &harness_core::scores::Request| {
            (r.item, r.choice, r.gold, r.characters, text(&r.context), text(&r.continuation))
        };
        requests.iter().map(row).collect()
    }
}

#[test]
fn minimal_pairs_are_scored_whole_after_the_separator() {
    let rest = "kind = \"minimal_pairs\"\nmetric = \"accuracy\"\nchance = 0.5\n\
                [items]\nformat = \"jsonl\"\nchoices = [\"{{ good }}\", \"{{ bad }}\"]\n";
    let made = prepared("pairs", rest, "{\"good\": \"Cats sleep.\", \"bad\": \"Cats sleeps.\"}\n", 0);
    let expected = [
        (0, 0, true, 11, "|".to_owned(), " Cats sleep.".to_owned()),
        (0, 1, false, 12, "|".to_owned(), " Cats sleeps.".to_owned()),
    ];
    assert_eq!(made.rows(), expected);
    let task = &made.tasks.tasks()[0];
    assert_eq!((task.id.as_str(), task.items, task.chance), ("pairs", 1, 0.5));
}

#[test]
fn blanks_at_the_end_of_the_context_move_to_the_continuation() {
    let rest = "kind = \"multiple_choice\"\nmetric = \"accuracy\"\nchance = 0.5\n\
                [items]\nformat = \"jsonl\"\ncontext = \"Q: {{ q }}\"\nchoices_from = \"c\"\nanswer = \"a\"\n";
    let made = prepared("choice", rest, "{\"q\": \"why \\n\", \"c\": [\"é\", \"no\"], \"a\": 1}\n", 0);
    let expected = [
        (0, 0, false, 1, "Q: why".to_owned(), " \n é".to_owned()),
        (0, 1, true, 2, "Q: why".to_owned(), " \n no".to_owned()),
    ];
    assert_eq!(made.rows(), expected);
}

#[test]
fn the_last_word_is_scored_with_its_blank() {
    let rest = "kind = \"last_word\"\nmetric = \"greedy_accuracy\"\nchance = 0.0\n\
                [items]\nformat = \"jsonl\"\ncontext = \"{{ text }}\"\n";
    let made = prepared("last", rest, "{\"text\": \"He said: hello world\"}\n{\"text\": \"a b\"}\n", 0);
    let expected = [
        (0, 0, true, 5, "He said: hello".to_owned(), " world".to_owned()),
        (1, 0, true, 1, "a".to_owned(), " b".to_owned()),
    ];
    assert_eq!(made.rows(), expected);
}

#[test]
fn a_limit_takes_every_so_manyth_item_and_numbers_them_anew() {
    let rest = "kind = \"last_word\"\nmetric = \"greedy_accuracy\"\nchance = 0.0\n\
                [items]\nformat = \"jsonl\"\ncontext = \"{{ text }}\"\n";
    let file: String = (0..10).map(|n| format!("{{\"text\": \"x w{n}\"}}\n")).collect();
    let made = prepared("last", rest, &file, 4);
    let words: Vec<(u64, String)> = made.rows().into_iter().map(|r| (r.0, r.5)).collect();
    let expected = [(0, " w0"), (1, " w2"), (2, " w5"), (3, " w7")].map(|(item, word)| (item, word.to_owned()));
    assert_eq!(words, expected);
    assert_eq!(made.tasks.tasks()[0].items_available, 10);
}

#[test]
fn mistakes_in_task_recipes_are_shown_at_their_place() {
    let right = format!(
        "{HEAD}kind = \"minimal_pairs\"\nmetric = \"accuracy\"\nchance = 0.5\n\
         [items]\nformat = \"jsonl\"\nchoices = [\"{{{{ a }}}}\", \"{{{{ b }}}}\"]\n\
         [[subtask]]\nname = \"one\"\nfile.sha256 = \"{}\"\nfile.bytes = 1\n",
        Digest::of(b"x")
    );
    assert!(TaskRecipe::parse("t", "t.toml", &right).is_ok());
    let cases = [
        ("minimal_pairs", "minimal_pair", "unknown value `minimal_pair`", ":5:8", "did you mean `minimal_pairs`?"),
        ("chance = 0.5", "chance = 50", "must be at least 0 and below 1", ":7:10", "0.25"),
        (
            "metric = \"accuracy\"",
            "metric = \"greedy_accuracy\"",
            "does not fit the kind",
            ":6:10",
            "`accuracy_per_token`",
        ),
        ("{{ b }}", "{{ b }", "is not a template: expected", ":10:23", "{{ name }}"),
        ("[items]", "stride = 3\n[items]", "is for `documents` tasks", ":8:10", "one window each"),
        (
            "choices = [\"{{ a }}\", \"{{ b }}\"]",
            "choices = [\"{{ a }}\"]",
            "have two sentences, not 1",
            ":10:11",
            "good",
        ),
        ("file.bytes", "file.size", "unknown key `size`", ":14:6", "known here"),
    ];
    for (from, to, problem, place, hint) in cases {
        let message = TaskRecipe::parse("t", "t.toml", &right.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(message.contains(problem) && message.contains(hint), "{message}");
        assert!(message.contains(&format!("t.toml{place}\n")), "{place}: {message}");
    }
}

#[test]
fn a_task_is_made_once_and_its_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let tokenizer = bytes_tokenizer(&store);
    let text = format!(
        "{HEAD}kind = \"minimal_pairs\"\nmetric = \"accuracy\"\nchance = 0.5\n\
         [[subtask]]\nname = \"a\"\ngenerate = {{ probe = \"agreement_simple\", seed = 1, items = 20 }}\n\
         [[subtask]]\nname = \"b\"\ngenerate = {{ probe = \"recall\", seed = 1, items = 20 }}\n"
    );
    let recipe = TaskRecipe::parse("made", "made.toml", &text).unwrap();
    let first = prepare(&recipe, &tokenizer, 0, &store, &mut Silent).unwrap();
    let again = prepare(&recipe, &tokenizer, 0, &store, &mut Silent).unwrap();
    assert_eq!(first, again);
    assert_eq!(first.tasks()[0].id, "made.a");
    let path = first.requests_path(&first.tasks()[1]);
    files::write(&path, b"").unwrap();
    let message = first.verify().unwrap_err().to_string();
    assert!(message.contains("made.b.requests.jsonl"), "{message}");
    assert_eq!(prepare(&recipe, &tokenizer, 0, &store, &mut Silent).unwrap(), first);
    first.verify().unwrap();
    let other = prepare(&recipe, &tokenizer, 5, &store, &mut Silent).unwrap();
    assert_ne!(other.folder(), first.folder());
    let texts = files::read_to_string(&other.texts_path(&other.tasks()[0])).unwrap();
    let items: Vec<Item> = texts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(items.len(), 5);
}

#[test]
fn two_contexts_are_followed_by_one_continuation() {
    let rest = "kind = \"two_contexts\"\nmetric = \"accuracy\"\nchance = 0.5\n\
                [items]\nformat = \"csv\"\ncontinuation = \"{{ s | split(pat='_') | last | trim }}\"\nanswer = \"a\"\nlabels = [\"1\", \"2\"]\n\
                choices = [\"{{ s | split(pat='_') | first }}{{ x }}\", \"{{ s | split(pat='_') | first }}{{ y }}\"]\n";
    let made = prepared("contexts", rest, "s,x,y,a\nThe _ fell.,cup,bag,2\n", 0);
    let expected = [
        (0, 0, false, 7, "The cup".to_owned(), " fell.".to_owned()),
        (0, 1, true, 7, "The bag".to_owned(), " fell.".to_owned()),
    ];
    assert_eq!(made.rows(), expected);
}

#[test]
fn documents_are_scored_whole_and_counted_as_they_stand_in_the_data() {
    let rest = "kind = \"documents\"\nmetric = \"bits_per_byte\"\nchance = 0.0\nstride = 8\n\
                [items]\nformat = \"text\"\nrecords = { begin_with = \"^= \" }\nchoices = [\"{{ text }}\"]\n\
                replace = [[\" @-@ \", \"-\"]]\n";
    let made = prepared("documents", rest, "= A\ntwo @-@ fold é\n= B\nb\n", 0);
    let expected = [
        (0, 0, true, 18, "|".to_owned(), "= A\ntwo-fold é".to_owned()),
        (1, 0, true, 6, "|".to_owned(), "= B\nb\n".to_owned()),
    ];
    assert_eq!(made.rows(), expected);
    let task = &made.tasks.tasks()[0];
    assert_eq!(task.rolling_stride, Some(8));
    let requests = read_requests(&made.tasks.requests_path(task)).unwrap();
    assert_eq!((requests[0].bytes, requests[0].words), (19, 6));
    assert_eq!((requests[1].bytes, requests[1].words), (6, 4), "white space at the end parts an empty word off");
}

#[test]
fn a_choice_without_its_context_follows_the_separator_with_its_blank() {
    let rest = "kind = \"multiple_choice\"\nmetric = \"accuracy_mutual_information\"\nchance = 0.5\n\
                [items]\nformat = \"jsonl\"\ncontext = \"Q: {{ q }}\"\nchoices_from = \"c\"\nanswer = \"a\"\n";
    let made = prepared("choice", rest, "{\"q\": \"why\", \"c\": [\"yes\", \"no\"], \"a\": 1}\n", 0);
    let requests = read_requests(&made.tasks.requests_path(&made.tasks.tasks()[0])).unwrap();
    let alone: Vec<String> = requests.iter().map(|r| made.tokenizer.decode(&r.unconditional).unwrap()).collect();
    assert_eq!(alone, [" yes", " no"]);
}

#[test]
fn a_check_finds_what_is_wrong_and_what_stands_in_the_corpus() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mirror) = (Store::at(folder.path().join("store")), folder.path().join("mirror"));
    let recipe = Recipe::parse("bytes", "bytes.toml", BYTES).unwrap();
    let corpus = harness_corpus::prepare(&recipe, &store, &mut Silent).unwrap();
    let tokenizer = corpus.tokenizer().unwrap();
    let shard = harness_core::shards::Shard::open(&corpus.train_shards()[0]).unwrap();
    let mut tokens = vec![0; shard.documents()[3].tokens as usize - 1];
    shard.copy_tokens(shard.documents()[3].first_token + 1, &mut tokens);
    let trained = tokenizer.decode(&tokens.iter().map(|&t| t as u32).collect::<Vec<_>>()).unwrap();
    let trained: Vec<&str> = trained.split_whitespace().take(20).collect();
    let known = format!("{{\"q\": {:?}, \"c\": [\"{}\", \"x\"], \"a\": 0}}", trained[..19].join(" "), trained[19]);
    let file = [
        known.as_str(),
        "{\"q\": \"same\", \"c\": [\"x\", \"x\"], \"a\": 0}",
        "{\"q\": \"what\", \"c\": [\"long one\", \"b\"], \"a\": 1}",
        "{\"q\": \"what\", \"c\": [\"b\", \"long one\"], \"a\": 0}",
        "{\"q\": \"what\", \"c\": [\"b\", \"long one\"], \"a\": 7}",
    ]
    .join("\n");
    files::write(&mirror.join("data"), file.as_bytes()).unwrap();
    let text = format!(
        "{HEAD}kind = \"multiple_choice\"\nmetric = \"accuracy\"\nchance = 0.5\n\
         [items]\nformat = \"jsonl\"\ncontext = \"{{{{ q }}}}\"\nchoices_from = \"c\"\nanswer = \"a\"\n\
         [[subtask]]\nfile.sha256 = \"{}\"\nfile.bytes = {}\n",
        Digest::of(file.as_bytes()),
        file.len()
    );
    let task = TaskRecipe::parse("t", "t.toml", &text).unwrap();
    let fetcher = Fetcher::new(&store).with_proxies(Proxies::None).with_mirror(Some(mirror));
    fetcher.fetch(&task.remotes(), &mut Silent).unwrap();
    let found = &check(&task, Some(&tokenizer), Some(32), &store).unwrap()[0];
    assert_eq!((found.items, found.gold.as_slice()), (4, &[3, 1][..]));
    assert_eq!((found.unusable.len(), found.unusable[0].record), (1, 5));
    assert_eq!(found.duplicates, [(2, 3)], "the order of the choices makes no other item");
    assert_eq!((found.ties.as_slice(), found.too_long.as_slice()), (&[1][..], &[0][..]));
    assert_eq!(found.tokens.unwrap()[0], 6, "`same x`: a byte is a token");

    let usable = file.lines().take(4).collect::<Vec<_>>().join("\n");
    let text = text.replace(&Digest::of(file.as_bytes()).to_string(), &Digest::of(usable.as_bytes()).to_string());
    let task = TaskRecipe::parse("t", "t.toml", &text).unwrap();
    files::write(&store.download(&Digest::of(usable.as_bytes())), usable.as_bytes()).unwrap();
    let overlapping = &overlap(&task, &corpus, &store, &mut Silent).unwrap()[0];
    assert_eq!((overlapping.items_found, overlapping.examples.as_slice()), (1, &[0][..]));
    assert_eq!(overlapping.items_too_short, 3);
}
