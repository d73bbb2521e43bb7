//! Tasks against examples computed by hand: with a tokenizer of 256 bytes and no merges, each byte is a token.

use std::path::Path;

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::scores::read_requests;
use harness_core::task_kind::Kind;
use harness_corpus::overlap;
use harness_corpus::tasks::{DataFile, Item, PreparedTasks, TaskRecipe, check, draft, load_items, prepare};
use harness_corpus::{Fetcher, Origin, Packing, Proxies, Recipe, Silent, Store, Tokenizer};

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
        ("{{ b }}", "{{ The B }}", "is not a template", ":10:23", "{{ record['Correct Answer'] }}"),
        ("file.bytes", "file.path = \"../x\"\nfile.bytes", "leads out of the project", ":14:13", "ln -s"),
        (
            "[[subtask]]",
            "[[subtask]]\nitems = { format = \"jsonl\", choices = [\"{{ a }}\"] }",
            "not 1",
            ":12:39",
            "good",
        ),
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
         [[subtask]]\nname = \"b\"\ngenerate = {{ probe = \"anaphor_number\", seed = 1, items = 20 }}\n"
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

/// What is drafted of a file in one of the public forms: each choice as `context | continuation`, the right ones with `+`.
fn drafted(
    store: &Store,
    tokenizer: &Tokenizer,
    name: &str,
    content: &str,
    answers: Option<&str>,
) -> Result<String, String> {
    let file = |shown: &str, content: &str| {
        files::write(&store.download(&Digest::of(content.as_bytes())), content.as_bytes()).unwrap();
        DataFile { shown: shown.to_owned(), path: None, packing: Packing::None, content: content.to_owned() }
    };
    let answers = answers.map(|content| file("answers.lst", content));
    let text = draft("mine", &[file(name, content)], answers.as_ref(), None).map_err(|e| e.to_string())?;
    let recipe = TaskRecipe::parse("mine", "mine.toml", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let tasks = prepare(&recipe, tokenizer, 0, store, &mut Silent).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let decoded = |tokens: &[u32]| {
        if tokens == [tokenizer.separator()] { String::new() } else { tokenizer.decode(tokens).unwrap() }
    };
    let mut rows = Vec::new();
    for task in tasks.tasks() {
        for request in read_requests(&tasks.requests_path(task)).unwrap() {
            let sign = if request.gold { '+' } else { '-' };
            rows.push(format!("{sign} {}|{}", decoded(&request.context), decoded(&request.continuation)));
        }
    }
    Ok(format!("{:?} {}\n{}", recipe.kind, recipe.chance, rows.join("\n")))
}

#[test]
fn public_forms_are_drafted_as_they_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let tokenizer = bytes_tokenizer(&store);
    let cases = [
        // BLiMP, and its supplement, whose sentences can be two lines.
        (
            "blimp.jsonl",
            r#"{"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps.", "field": "syntax", "linguistics_term": "x", "UID": "u", "simple_LM_method": true, "one_prefix_method": true, "one_prefix_prefix": "Cats", "one_prefix_word_good": "sleep", "one_prefix_word_bad": "sleeps", "pairID": "0"}"#,
            "MinimalPairs 0.5\n+ | Cats sleep.\n- | Cats sleeps.",
        ),
        (
            "qa_congruence.jsonl",
            r#"{"sentence_good": "A: Who?\nB: Sarah.", "sentence_bad": "A: Who?\nB: Bread.", "UID": "qa_congruence_easy"}"#,
            "MinimalPairs 0.5\n+ | A: Who?\nB: Sarah.\n- | A: Who?\nB: Bread.",
        ),
        (
            "ewok.csv",
            "Domain,ConceptA,ConceptB,Context1,Context2,Target1,Target2\nspace,left,right,The cup is left.,The cup is right.,Reach left.,Reach right.\n",
            "TwoContexts 0.5\n+ The cup is left.| Reach left.\n- The cup is right.| Reach left.\n\
             + The cup is right.| Reach right.\n- The cup is left.| Reach right.",
        ),
        (
            "comps.jsonl",
            r#"{"id": 1, "property": "bark", "acceptable_concept": "dog", "unacceptable_concept": "cat", "prefix_acceptable": "A dog", "prefix_unacceptable": "A cat", "property_phrase": "can bark.", "negative_sample_type": "taxonomic"}"#,
            "TwoContexts 0.5\n+ A dog| can bark.\n- A cat| can bark.",
        ),
        (
            "winograd_wsc.jsonl",
            r#"{"context_options": ["The men feared the dogs because the men", "The men feared the dogs because the dogs"], "continuation": "barked.", "gold": 1}"#,
            "TwoContexts 0.5\n- The men feared the dogs because the men| barked.\n+ The men feared the dogs because the dogs| barked.",
        ),
        (
            "wsc273.jsonl",
            "{\"text\": \"The cup left the café when it fell.\", \"pronoun\": \"it\", \"pronoun_loc\": 27, \"quote\": \"it fell\", \"options\": [\"The cup\", \"Anna\"], \"label\": 0, \"source\": \"own\"}\n\
             {\"text\": \"Ann saw Bea. Her hat fell.\", \"pronoun\": \"Her\", \"pronoun_loc\": 13, \"quote\": \"Her hat\", \"options\": [\"The girl\", \"Bea\"], \"label\": 1, \"source\": \"own\"}\n",
            "TwoContexts 0.5\n+ The cup left the café when the cup| fell.\n- The cup left the café when Anna| fell.\n\
             - Ann saw Bea. The girl's| hat fell.\n+ Ann saw Bea. Bea's| hat fell.",
        ),
        (
            "winogrande.jsonl",
            r#"{"qID": "3", "sentence": "The cup did not fit the bag as _ was big.", "option1": "the cup", "option2": "the bag", "answer": "2"}"#,
            "TwoContexts 0.5\n- The cup did not fit the bag as the cup| was big.\n+ The cup did not fit the bag as the bag| was big.",
        ),
        (
            "piqa.jsonl",
            r#"{"goal": "boil water", "sol1": "heat it", "sol2": "cool it", "label": 0}"#,
            "MultipleChoice 0.5\n+ Question: boil water\nAnswer:| heat it\n- Question: boil water\nAnswer:| cool it",
        ),
        (
            "arc.jsonl",
            "{\"id\": \"M_1\", \"question\": \"What is hot?\", \"choices\": {\"text\": [\"ice\", \"fire\", \"snow\"], \"label\": [\"A\", \"B\", \"C\"]}, \"answerKey\": \"B\"}\n\
             {\"id\": \"N_1\", \"question\": \"Cold?\", \"choices\": {\"text\": [\"ice\", \"fire\"], \"label\": [\"1\", \"2\"]}, \"answerKey\": \"1\"}\n",
            "MultipleChoice 0.4167\n- Question: What is hot?\nAnswer:| ice\n+ Question: What is hot?\nAnswer:| fire\n- Question: What is hot?\nAnswer:| snow\n\
             + Question: Cold?\nAnswer:| ice\n- Question: Cold?\nAnswer:| fire",
        ),
        (
            "csqa.jsonl",
            r#"{"answerKey": "A", "id": "7", "question": {"question_concept": "bird", "choices": [{"label": "A", "text": "fly"}, {"label": "B", "text": "read"}], "stem": "What do birds do?"}}"#,
            "MultipleChoice 0.5\n+ Question: What do birds do?\nAnswer:| fly\n- Question: What do birds do?\nAnswer:| read",
        ),
        (
            "commonsense_qa.jsonl",
            r#"{"id": "7", "question": "What do birds do?", "question_concept": "bird", "choices": {"label": ["A", "B"], "text": ["fly", "read"]}, "answerKey": "B"}"#,
            "MultipleChoice 0.5\n- Question: What do birds do?\nAnswer:| fly\n+ Question: What do birds do?\nAnswer:| read",
        ),
        (
            "openbookqa.jsonl",
            r#"{"id": "7", "question_stem": "Birds", "choices": {"text": ["fly", "read"], "label": ["A", "B"]}, "answerKey": "A"}"#,
            "MultipleChoice 0.5\n+ Birds| fly\n- Birds| read",
        ),
        (
            "hellaswag.jsonl",
            r#"{"ind": 4, "activity_label": "Baking", "ctx_a": "How to bake [title] Take flour.", "ctx_b": "then she", "ctx": "How to bake [title] Take flour. then she", "endings": ["stirs it. [step] Done.", "runs", "sings", "flies"], "source_id": "x", "split": "val", "split_type": "indomain", "label": "0"}"#,
            "MultipleChoice 0.25\n+ Baking: How to bake. Take flour. Then she| stirs it. Done.\n\
             - Baking: How to bake. Take flour. Then she| runs\n- Baking: How to bake. Take flour. Then she| sings\n\
             - Baking: How to bake. Take flour. Then she| flies",
        ),
        (
            "copa.jsonl",
            "{\"premise\": \"The man fell.\", \"choice1\": \"He slipped.\", \"choice2\": \"He sang.\", \"question\": \"cause\", \"label\": 0, \"idx\": 0}\n\
             {\"premise\": \"It rained.\", \"choice1\": \"I sang.\", \"choice2\": \"The street got wet.\", \"question\": \"effect\", \"label\": 1, \"idx\": 1}\n",
            "MultipleChoice 0.5\n+ The man fell because| he slipped.\n- The man fell because| he sang.\n\
             - It rained therefore| i sang.\n+ It rained therefore| the street got wet.",
        ),
        (
            "boolq.jsonl",
            r#"{"question": "is ice cold", "title": "Ice", "answer": true, "passage": "Ice is cold."}"#,
            "MultipleChoice 0.5\n- Ice is cold.\nQuestion: is ice cold?\nAnswer:| no\n+ Ice is cold.\nQuestion: is ice cold?\nAnswer:| yes",
        ),
        (
            "superglue_boolq.jsonl",
            r#"{"question": "is ice hot", "passage": "Ice is cold.", "idx": 0, "label": 0}"#,
            "MultipleChoice 0.5\n+ Ice is cold.\nQuestion: is ice hot?\nAnswer:| no\n- Ice is cold.\nQuestion: is ice hot?\nAnswer:| yes",
        ),
        (
            "sciq.jsonl",
            r#"{"question": "What is hot?", "distractor3": "snow", "distractor1": "ice", "distractor2": "rain", "correct_answer": "fire", "support": "Fire is hot."}"#,
            "MultipleChoice 0.25\n+ Fire is hot.\nQuestion: What is hot?\nAnswer:| fire\n- Fire is hot.\nQuestion: What is hot?\nAnswer:| ice\n\
             - Fire is hot.\nQuestion: What is hot?\nAnswer:| rain\n- Fire is hot.\nQuestion: What is hot?\nAnswer:| snow",
        ),
        (
            "lambada.jsonl",
            r#"{"text": "He called her name, and it was Anna"}"#,
            "LastWord 0\n+ He called her name, and it was| Anna",
        ),
        (
            "lambada_foundry.jsonl",
            r#"{"context": "He called her name, and it was", "continuation": "Anna"}"#,
            "LastWord 0\n+ He called her name, and it was| Anna",
        ),
        // Forms without a name of their own.
        (
            "gpqa.csv",
            "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,sub-domain\nWhy?,so,no,never,physics\n",
            "MultipleChoice 0.3333\n+ Question: Why?\nAnswer:| so\n- Question: Why?\nAnswer:| no\n- Question: Why?\nAnswer:| never",
        ),
        (
            "mmlu.jsonl",
            "{\"question\": \"2 + 2?\", \"subject\": \"algebra\", \"choices\": [\"3\", \"5\", \"4\"], \"answer\": 2}\n{\"question\": \"1 + 1?\", \"subject\": \"algebra\", \"choices\": [\"2\", \"5\", \"4\"], \"answer\": 0}\n",
            "MultipleChoice 0.3333\n- Question: 2 + 2?\nAnswer:| 3\n- Question: 2 + 2?\nAnswer:| 5\n+ Question: 2 + 2?\nAnswer:| 4\n\
             + Question: 1 + 1?\nAnswer:| 2\n- Question: 1 + 1?\nAnswer:| 5\n- Question: 1 + 1?\nAnswer:| 4",
        ),
        (
            "told.jsonl",
            r#"{"query": "The sky is", "choices": ["blue", "square"], "answer": "square"}"#,
            "MultipleChoice 0.5\n- The sky is| blue\n+ The sky is| square",
        ),
        ("pairs.tsv", "phrase good\tphrase bad\nx y\ty x\n", "MinimalPairs 0.5\n+ | x y\n- | y x"),
        ("articles.txt", "one\ntwo\n\nthree\n", "Documents 0\n+ |one\ntwo\n+ |three"),
    ];
    for (file, content, expected) in cases {
        let found = drafted(&store, &tokenizer, file, content, None).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(found, expected, "{file}");
    }
    let piqa = "{\"goal\": \"boil water\", \"sol1\": \"heat it\", \"sol2\": \"cool it\"}\n";
    let found = drafted(&store, &tokenizer, "piqa.jsonl", piqa, Some("1\n")).unwrap();
    assert_eq!(
        found,
        "MultipleChoice 0.5\n- Question: boil water\nAnswer:| heat it\n+ Question: boil water\nAnswer:| cool it"
    );
}

#[test]
fn drafts_name_what_items_share() {
    let cases = [
        (
            "boolq.jsonl",
            r#"{"question": "is ice cold", "answer": true, "passage": "Ice."}
{"question": "is fire cold", "answer": false, "passage": "Fire."}
{"question": "is ice wet", "answer": false, "passage": "Ice."}"#,
            [0, 1, 0],
        ),
        (
            "winogrande.jsonl",
            r#"{"qID": "X-1", "sentence": "The _ fell as it was old.", "option1": "cup", "option2": "bag", "answer": "1"}
{"qID": "X-2", "sentence": "The _ fell as it was new.", "option1": "cup", "option2": "bag", "answer": "2"}
{"qID": "Y-1", "sentence": "A _ sang well.", "option1": "man", "option2": "dog", "answer": "1"}"#,
            [0, 0, 1],
        ),
        (
            "hellaswag.jsonl",
            r#"{"source_id": "v~1", "activity_label": "Baking", "ctx_a": "Take flour.", "ctx_b": "he", "endings": ["a", "b"], "label": 0}
{"source_id": "v~2", "activity_label": "Baking", "ctx_a": "Take eggs.", "ctx_b": "he", "endings": ["a", "b"], "label": 1}
{"source_id": "v~1", "activity_label": "Baking", "ctx_a": "Take milk.", "ctx_b": "he", "endings": ["a", "b"], "label": 0}"#,
            [0, 1, 0],
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    for (name, content, expected) in cases {
        let file = DataFile { shown: name.to_owned(), path: None, packing: Packing::None, content: content.to_owned() };
        let text = draft("mine", &[file], None, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        let recipe = TaskRecipe::parse("mine", "mine.toml", &text).unwrap();
        files::write(&store.download(&Digest::of(content.as_bytes())), content.as_bytes()).unwrap();
        let items = load_items(&recipe, &recipe.subtasks[0], &store).unwrap().0;
        assert_eq!(items.iter().map(|item| item.cluster).collect::<Vec<_>>(), expected.map(Some), "{name}");
    }
}

#[test]
fn shipped_recipes_name_what_items_share() {
    let cases = [
        (
            "boolq",
            r#"{"query": "Passage: Ice.\nQuestion: is ice cold?", "choices": ["no", "yes"], "gold": 1}
{"query": "Passage: Fire.\nQuestion: is ice cold?", "choices": ["no", "yes"], "gold": 0}
{"query": "Passage: Ice.\nQuestion: is ice wet?", "choices": ["no", "yes"], "gold": 0}"#,
            [0, 1, 0],
        ),
        (
            "winogrande",
            r#"{"context_options": ["It fell, as the cup", "It fell, as the bag"], "continuation": "was old.", "gold": 1}
{"context_options": ["It fell, as the cup", "It fell, as the bag"], "continuation": "was new.", "gold": 0}
{"context_options": ["It rose, as the cup", "It rose, as the bag"], "continuation": "was old.", "gold": 0}"#,
            [0, 0, 1],
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/tasks");
    for (name, content, expected) in cases {
        let text = files::read_to_string(&recipes.join(format!("{name}.toml"))).unwrap();
        let shipped = TaskRecipe::parse(name, name, &text).unwrap().subtasks[0].file.clone().unwrap();
        let sha256 = Digest::of(content.as_bytes());
        let text = text.replace(&shipped.sha256.to_string(), &sha256.to_string());
        let recipe = TaskRecipe::parse(name, name, &text).unwrap();
        files::write(&store.download(&sha256), content.as_bytes()).unwrap();
        let items = load_items(&recipe, &recipe.subtasks[0], &store).unwrap().0;
        assert_eq!(items.iter().map(|item| item.cluster).collect::<Vec<_>>(), expected.map(Some), "{name}");
    }
}

#[test]
fn what_leaves_more_than_one_reading_is_not_drafted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let tokenizer = bytes_tokenizer(&store);
    let cases = [
        (
            "piqa.jsonl",
            r#"{"goal": "boil water", "sol1": "heat it", "sol2": "cool it"}"#,
            "do not say which choice",
            "--answers",
        ),
        (
            "wsc.jsonl",
            r#"{"text": "The cup fell as it was old.", "target": {"span1_text": "cup", "span2_text": "it"}, "label": true, "idx": 0}"#,
            "one candidate",
            "context_options",
        ),
        (
            "wsc.jsonl",
            r#"{"text": "It fell.", "span1_text": "cup", "span2_text": "It", "label": 1}"#,
            "one candidate",
            "WSC273",
        ),
        ("test.jsonl", r#"{"goal": "boil", "sol1": "heat", "sol2": "cool", "label": -1}"#, "`-1`", "validation"),
        ("test.csv", "sentence,option1,option2,answer\nthe _ fell,cup,bag,\n", "answer ``", "validation"),
        ("corpus.jsonl", r#"{"text": "A story. It ends."}"#, "end as whole sentences do", "--kind documents"),
        (
            "open.jsonl",
            r#"{"context": "Where is Rome?", "answer": "in Italy"}"#,
            "not one word in each record",
            "by hand|copy",
        ),
        ("list.jsonl", r#"{"query": "x", "choices": ["a", "b"]}"#, "no field says which choice is right", "copy"),
        ("one.jsonl", r#"{"query": "x", "choices": ["a", "b"], "gold": 1}"#, "from 0 or 1", "copy"),
        (
            "race.jsonl",
            r#"{"article": "x", "question": "y", "options": ["a", "b"], "answer": "A"}"#,
            "article, question",
            "copy",
        ),
        ("stories.jsonl", r#"{"context": "x", "good": "a", "bad": "b"}"#, "hold a pair", "--kind minimal_pairs"),
        ("two.jsonl", r#"{"a": "x", "b": "y"}"#, "a, b", "--kind"),
        ("x.parquet", "", "not end in a format", "to_json"),
    ];
    for (file, content, problem, hint) in cases {
        let error = drafted(&store, &tokenizer, file, content, None).unwrap_err();
        let (said, hinted) = error.split_once("\nhint: ").unwrap();
        assert!(said.contains(problem), "{file}: {error}");
        assert!(hint.split('|').any(|hint| hinted.contains(hint)), "{file}: {error}");
    }
    let file = DataFile {
        shown: "two.jsonl".to_owned(),
        path: None,
        packing: Packing::None,
        content: "{\"a\": \"x\", \"b\": \"y\"}".to_owned(),
    };
    let error = draft("mine", &[file], None, Some(Kind::MultipleChoice)).unwrap_err().to_string();
    assert!(
        error.contains("needs a list of choices") && !error.contains("--kind"),
        "what was given is not advised: {error}"
    );
}

#[test]
fn several_files_are_parts_of_one_task_and_may_be_packed() {
    let folder = tempfile::tempdir().unwrap();
    let project = harness_core::names::Project::at(folder.path());
    let store = Store::of(&project);
    let tokenizer = bytes_tokenizer(&store);
    let pair = |good: &str, bad: &str| format!("{{\"good\": \"{good}\", \"bad\": \"{bad}\"}}\n");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packer, pair("x y", "y x").as_bytes()).unwrap();
    files::write(&folder.path().join("data/word order.jsonl.gz"), &packer.finish().unwrap()).unwrap();
    files::write(&folder.path().join("data/number.jsonl"), pair("a cat", "a cats").as_bytes()).unwrap();
    let paths = ["data/word order.jsonl.gz", "data/number.jsonl"].map(|path| folder.path().join(path));
    let data = paths.map(|path| DataFile::read(&project, &path).unwrap());
    let text = draft("mine", &data, None, None).unwrap();
    assert!(
        text.contains("file.path = \"data/word order.jsonl.gz\"\n") && text.contains("file.packing = \"gzip\"\n"),
        "{text}"
    );
    files::write(&project.task_recipe("mine"), text.as_bytes()).unwrap();
    let recipe = TaskRecipe::load(&project, "mine").unwrap();
    // From the paths of the recipe alone.
    let fetched = Fetcher::new(&store).with_proxies(Proxies::None).fetch(&recipe.remotes(), &mut Silent).unwrap();
    assert!(fetched.iter().all(|file| matches!(file.origin, Origin::File(_))), "{fetched:?}");
    let tasks = prepare(&recipe, &tokenizer, 0, &store, &mut Silent).unwrap();
    let ids: Vec<&str> = tasks.tasks().iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["mine.word-order", "mine.number"]);
    let texts = files::read_to_string(&tasks.texts_path(&tasks.tasks()[0])).unwrap();
    assert!(texts.contains("\"x y\""), "{texts}");
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
    assert_eq!((found.ties.as_slice(), found.cut.as_slice(), found.too_long.len()), (&[1][..], &[0][..], 0));
    // Four items of two choices, one of which nobody can answer. The longest is right in items 0 and 3, in 1 by half.
    let blind = found.blind.as_ref().unwrap();
    assert_eq!((blind.guessing, blind.first, blind.longest, blind.shortest), (0.5, Some(0.75), 0.375, 0.625));
    assert_eq!(found.with_reversed, Some(0.75));
    let narrow = &check(&task, Some(&tokenizer), Some(5), &store).unwrap()[0];
    assert_eq!(narrow.too_long, [0, 2, 3], "a choice of more than five tokens stays unanswered");
    assert_eq!(narrow.with_reversed, Some(0.0));
    assert_eq!(found.tokens.unwrap()[0], 6, "`same x`: a byte is a token");

    let usable = file.lines().take(4).collect::<Vec<_>>().join("\n");
    let text = text.replace(&Digest::of(file.as_bytes()).to_string(), &Digest::of(usable.as_bytes()).to_string());
    let task = TaskRecipe::parse("t", "t.toml", &text).unwrap();
    files::write(&store.download(&Digest::of(usable.as_bytes())), usable.as_bytes()).unwrap();
    let overlapping = &overlap(&task, &corpus, &store, &mut Silent).unwrap()[0];
    assert_eq!((overlapping.items_found, overlapping.examples.as_slice()), (1, &[0][..]));
    assert_eq!(overlapping.items_too_short, 3);
}
