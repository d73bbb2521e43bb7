//! Projects that somebody made to stop, to fool or to exhaust an auditor: every audit of one ends in time, in little memory,
//! with an answer. `make test-hostile` makes all of them, the suite a sample.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lopdf::{Dictionary, Document, Object, Stream};
use rustix::process::{Pid, Resource, Rlimit};

use crate::common::{Project, has_typst, repository, seal_again};

/// How long an audit may compute, on a machine that others use too, and how much memory it may write to.
const MOST: Duration = Duration::from_secs(30);
const MEMORY_BYTES: u64 = 1 << 30;
/// How long it may take at all: what waits for ever does not compute.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is done to a copy of the project.
type Damage = Box<dyn Fn(&Path)>;
/// What is put in the place of a file, and what is made of its content.
type Place = (&'static str, fn(&Path));
type Change = (&'static str, fn(String) -> Vec<u8>);

struct Case {
    name: String,
    damage: Damage,
    arguments: &'static [&'static str],
}

fn case(name: impl Into<String>, damage: impl Fn(&Path) + 'static) -> Case {
    Case { name: name.into(), damage: Box::new(damage), arguments: &["audit", "--no-typst"] }
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "gc.auto=0"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The one run of an experiment.
fn run_of(folder: &Path, experiment: &str) -> PathBuf {
    let runs = fs::read_dir(folder.join(format!("experiments/{experiment}/runs"))).unwrap();
    let mut runs: Vec<PathBuf> = runs.map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs.remove(0)
}

/// A path in which `RUN` stands for the run of `tiny`.
fn at(folder: &Path, path: &str) -> PathBuf {
    match path.strip_prefix("RUN/") {
        Some(rest) => run_of(folder, "tiny").join(rest),
        None => folder.join(path),
    }
}

/// Files that an audit reads.
const READ: [&str; 24] = [
    "RUN/open.json",
    "RUN/record.json",
    "RUN/MANIFEST",
    "RUN/steps.csv",
    "RUN/log.jsonl",
    "RUN/plan/job.json",
    "RUN/plan/config.toml",
    "RUN/plan/corpus-manifest.json",
    "RUN/evaluations/step-00000020/validation.csv",
    "report/build/paper.json",
    "report/build/paper.pdf",
    "report/build/values.json",
    "report/build/tables.json",
    "report/build/paper.typ",
    "report/sections/20-data.typ",
    "report/references.bib",
    "report/paper.toml",
    "templates/values.typ",
    "templates/paper.typ.tera",
    "experiments/tiny/experiment.toml",
    ".git/HEAD",
    ".git/config",
    ".git/packed-refs",
    ".gitattributes",
];

/// What stands in place of a file.
fn in_place_of_files() -> Vec<Case> {
    let kinds: [Place; 6] = [
        ("a link to /dev/zero", |path| symlink("/dev/zero", path).unwrap()),
        ("a pipe", |path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("a link to itself", |path| symlink(path.file_name().unwrap(), path).unwrap()),
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("16 GiB of nothing", |path| fs::File::create(path).unwrap().set_len(16 << 30).unwrap()),
        ("a link out of the project", |path| symlink("/etc/passwd", path).unwrap()),
    ];
    let mut cases = Vec::new();
    for file in READ {
        for (kind, place) in kinds {
            cases.push(case(format!("{kind} for {file}"), move |folder| {
                let path = at(folder, file);
                let _ = fs::remove_file(&path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                place(&path);
            }));
        }
    }
    cases
}

/// Contents that are larger, deeper or stranger than a reader thinks, under a seal that holds.
fn contents() -> Vec<Case> {
    let json: [Change; 6] = [
        ("100,000 brackets", |_| "[".repeat(100_000).into_bytes()),
        ("numbers as large as can be", |text| digits_for(&text, "18446744073709551615").into_bytes()),
        ("numbers that are too large", |text| digits_for(&text, "1e999").into_bytes()),
        ("negative numbers", |text| digits_for(&text, "-1").into_bytes()),
        ("a text of 32 MiB", |text| text.replacen('"', &format!("\"{}", "a".repeat(32 << 20)), 1).into_bytes()),
        ("bytes that are no text", |text| text.bytes().map(|byte| if byte == b'e' { 0xff } else { byte }).collect()),
    ];
    let table: [Change; 4] = [
        ("a million rows of NaN", |text| {
            let header = text.lines().next().unwrap_or_default();
            let row = vec!["NaN"; header.split(',').count()].join(",");
            format!("{header}\n{}", format!("{row}\n").repeat(1_000_000)).into_bytes()
        }),
        ("a cell of 32 MiB", |text| text.replacen(',', &format!("{},", "1".repeat(32 << 20)), 1).into_bytes()),
        ("steps as large as can be", |text| digits_for(&text, "18446744073709551615").into_bytes()),
        ("a quote that never ends", |text| format!("{text}\"").into_bytes()),
    ];
    let mut cases = Vec::new();
    for (files, kinds) in [
        (
            &[
                "RUN/open.json",
                "RUN/record.json",
                "RUN/plan/job.json",
                "RUN/log.jsonl",
                "RUN/plan/corpus-manifest.json",
                "report/build/paper.json",
            ][..],
            &json[..],
        ),
        (
            &[
                "RUN/steps.csv",
                "RUN/evaluations/step-00000020/validation.csv",
                "RUN/evaluations/step-00000020/grammar-agreement.simple.csv",
            ][..],
            &table[..],
        ),
    ] {
        for file in files {
            for (kind, change) in kinds {
                let (file, change) = (*file, *change);
                cases.push(case(format!("{kind} in {file}"), move |folder| {
                    let path = at(folder, file);
                    let text = fs::read_to_string(&path).unwrap();
                    fs::write(&path, change(text)).unwrap();
                    if file.starts_with("RUN") {
                        seal_again(&run_of(folder, "tiny"));
                    }
                }));
            }
        }
    }
    cases
}

/// A text with another number in place of each.
fn digits_for(text: &str, number: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        if letter.is_ascii_digit() && matches!(before, ' ' | ',' | '[' | '\n') {
            while letters.next_if(|c| c.is_ascii_digit() || ".e-+".contains(*c)).is_some() {}
            out.push_str(number);
            before = '0';
        } else {
            out.push(letter);
            before = letter;
        }
    }
    out
}

fn edit_proof(folder: &Path, edit: impl Fn(&mut serde_json::Value)) {
    let path = folder.join("report/build/paper.json");
    let mut proof = Project::json(&path);
    edit(&mut proof);
    fs::write(path, serde_json::to_vec(&proof).unwrap()).unwrap();
}

/// Proofs with lists that are endless or absurd.
fn proofs() -> Vec<Case> {
    let list = |part: &'static str, count: usize, entry: fn(usize, &serde_json::Value) -> serde_json::Value| {
        move |folder: &Path| {
            edit_proof(folder, |proof| {
                let first = proof[part][0].clone();
                proof[part] = (0..count).map(|at| entry(at, &first)).collect();
            });
        }
    };
    vec![
        case("100,000 times the same bound number", list("bound", 100_000, |_, first| first.clone())),
        case(
            "100,000 invented pairs",
            list("bound", 100_000, |at, first| {
                serde_json::json!({ "id": format!("n{at}"), "kind": "difference", "experiment": format!("a{at}"), "minus": format!("b{at}"),
                "key": "training.loss", "shown": "1", "page": 1, "number": 1.0, "runs": first["runs"] })
            }),
        ),
        case(
            "10,000 times the same pair",
            list("bound", 10_000, |at, first| {
                serde_json::json!({ "id": format!("n{at}"), "kind": "difference", "experiment": "wider", "minus": "tiny",
                "key": "training.loss", "shown": "1", "page": 1, "number": 1.0, "runs": first["runs"] })
            }),
        ),
        case(
            "pages that cannot be",
            list("bound", 5, |_, first| {
                let mut entry = first.clone();
                entry["page"] = u64::MAX.into();
                entry
            }),
        ),
        case(
            "nothing is shown",
            list("bound", 5, |_, first| {
                let mut entry = first.clone();
                entry["shown"] = "".into();
                entry
            }),
        ),
        case(
            "100,000 sources",
            list("sources", 100_000, |at, first| {
                let mut entry = first.clone();
                entry["path"] = format!("a/{at}").into();
                entry
            }),
        ),
        case(
            "sources elsewhere",
            list("sources", 3, |at, first| {
                let mut entry = first.clone();
                entry["path"] = ["/etc/passwd", "../../etc/passwd", "/dev/zero"][at].into();
                entry
            }),
        ),
        case(
            "100,000 runs",
            list("runs", 100_000, |at, first| {
                let mut entry = first.clone();
                entry["run"] = format!("20260101T{:06}Z-{at:08x}", at % 240_000).into();
                entry
            }),
        ),
        case(
            "runs that cannot be named",
            list("runs", 3, |at, first| {
                let mut entry = first.clone();
                entry["run"] = ["../..", "a\nb", "\u{202e}"][at].into();
                entry
            }),
        ),
        case("no Typst has this version", |folder| edit_proof(folder, |proof| proof["typst"] = "typst \n9".into())),
    ]
}

fn edit_pdf(folder: &Path, edit: impl Fn(&mut Document)) {
    let path = folder.join("report/build/paper.pdf");
    let mut document = Document::load(&path).unwrap();
    edit(&mut document);
    document.save(&path).unwrap();
}

fn zeros(count: usize) -> Stream {
    let mut stream = Stream::new(Dictionary::new(), vec![b' '; count]);
    stream.compress().unwrap();
    stream
}

fn pdfs() -> Vec<Case> {
    let mut cases = vec![
        case("a page of 512 MiB", |folder| {
            edit_pdf(folder, |pdf| {
                let page = pdf.get_pages()[&1];
                let content = pdf.add_object(zeros(512 << 20));
                pdf.get_dictionary_mut(page).unwrap().set("Contents", content);
            });
        }),
        case("a page that is drawn of 2,000 streams of 8 MiB", |folder| {
            edit_pdf(folder, |pdf| {
                let page = pdf.get_pages()[&1];
                let content = pdf.add_object(zeros(8 << 20));
                let all = vec![Object::Reference(content); 2_000];
                pdf.get_dictionary_mut(page).unwrap().set("Contents", all);
            });
        }),
        case("an attachment of 512 MiB", |folder| {
            edit_pdf(folder, |pdf| {
                let is_file = |object: &&mut Object| {
                    object.as_stream().is_ok_and(|s| s.dict.get_type().is_ok_and(|of| of == b"EmbeddedFile"))
                };
                let file = pdf.objects.values_mut().find(is_file).unwrap().as_stream_mut().unwrap();
                let large = zeros(512 << 20);
                file.dict.set("Filter", "FlateDecode");
                file.dict.set("Length", large.content.len() as i64);
                file.set_content(large.content);
                file.dict.set("Filter", Object::Name(b"FlateDecode".to_vec()));
            });
        }),
        case("a font that says 512 MiB", |folder| {
            edit_pdf(folder, |pdf| {
                let large = pdf.add_object(zeros(512 << 20));
                for object in pdf.objects.values_mut() {
                    if let Ok(font) = object.as_dict_mut()
                        && font.has(b"ToUnicode")
                    {
                        font.set("ToUnicode", large);
                    }
                }
            });
        }),
        case("a tree of pages that is a circle", |folder| {
            edit_pdf(folder, |pdf| {
                let pages = pdf.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
                pdf.get_dictionary_mut(pages).unwrap().set("Kids", vec![Object::Reference(pages); 3]);
            });
        }),
        case("brackets without end", |folder| {
            let mut bytes = b"%PDF-1.7\n1 0 obj\n".to_vec();
            bytes.extend(vec![b'['; 1_000_000]);
            fs::write(folder.join("report/build/paper.pdf"), bytes).unwrap();
        }),
    ];
    for pages in [999, 3_000, 30_000] {
        cases.push(case(format!("{pages} pages"), move |folder| {
            edit_pdf(folder, |pdf| {
                let pages_id = pdf.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
                let page = pdf.get_pages()[&1];
                let dictionary = pdf.get_dictionary(page).unwrap().clone();
                let kids: Vec<Object> = (0..pages).map(|_| pdf.add_object(dictionary.clone()).into()).collect();
                let tree = pdf.get_dictionary_mut(pages_id).unwrap();
                tree.set("Count", i64::from(pages));
                tree.set("Kids", kids);
            });
        }));
    }
    cases
}

/// Files with bytes that were exchanged, cut off and repeated at random.
fn noise() -> Vec<Case> {
    let files =
        ["report/build/paper.pdf", "report/build/paper.json", "report/references.bib", "report/sections/20-data.typ"];
    let of = |file: &'static str, seed: u64| {
        case(format!("{file} with bytes of seed {seed}"), move |folder| {
            let path = folder.join(file);
            let mut bytes = fs::read(&path).unwrap();
            let mut numbers = Numbers(seed);
            for _ in 0..1 + numbers.below(64) {
                let at = numbers.below(bytes.len());
                match numbers.below(3) {
                    0 => bytes[at] = numbers.next() as u8,
                    1 => bytes.truncate(at.max(64)),
                    _ => bytes.extend_from_within(at..(at + 200).min(bytes.len())),
                }
            }
            bytes.push(b' ');
            fs::write(path, bytes).unwrap();
        })
    };
    files.into_iter().flat_map(|file| (0..12).map(move |seed| of(file, seed))).collect()
}

/// A loose object with a header of one's own.
fn object(folder: &Path, kind: &str, size: u64, content: &mut dyn Iterator<Item = Vec<u8>>, id: &str) {
    let path = folder.join(".git/objects").join(&id[..2]).join(&id[2..]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&path);
    let mut out = flate2::write::ZlibEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
    out.write_all(format!("{kind} {size}\0").as_bytes()).unwrap();
    content.for_each(|bytes| out.write_all(&bytes).unwrap());
    out.finish().unwrap();
}

fn loose(folder: &Path, what: &str) -> PathBuf {
    let id = git(folder, &["rev-parse", what]);
    folder.join(".git/objects").join(&id[..2]).join(&id[2..])
}

/// Commits what is staged as `tree`, and lets the branch point to it.
fn commit_tree(folder: &Path, tree: &str) {
    let parent = git(folder, &["rev-parse", "HEAD"]);
    let commit = git(folder, &["commit-tree", tree, "-p", &parent, "-m", "More"]);
    git(folder, &["update-ref", "HEAD", &commit]);
}

fn make_tree(folder: &Path, lines: &str) -> String {
    let mut child = Command::new("git")
        .args(["mktree", "--missing"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

fn gits() -> Vec<Case> {
    let mut cases = Vec::new();
    let of_run = "experiments/tiny/experiment.toml";
    for (what, of) in [
        ("commit", "HEAD"),
        ("tree", "HEAD^{tree}"),
        ("experiments", "HEAD:experiments"),
        ("config", "HEAD:experiments/tiny/experiment.toml"),
    ] {
        for share in [0, 1, 5, 9] {
            cases.push(case(format!("{share} tenths of the {what}"), move |folder| {
                let path = loose(folder, of);
                let bytes = fs::read(&path).unwrap();
                fs::remove_file(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() * share / 10]).unwrap();
            }));
        }
        cases.push(case(format!("a pipe for the {what}"), move |folder| {
            let path = loose(folder, of);
            fs::remove_file(&path).unwrap();
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }));
        cases.push(case(format!("3 GiB for the {what}"), move |folder| {
            let id = git(folder, &["rev-parse", of]);
            let kind = git(folder, &["cat-file", "-t", of]);
            object(folder, &kind, 3 << 30, &mut std::iter::repeat_with(|| vec![0; 1 << 20]).take(3 << 10), &id);
        }));
        cases.push(case(format!("a {what} that says it has 3 GiB"), move |folder| {
            let id = git(folder, &["rev-parse", of]);
            let kind = git(folder, &["cat-file", "-t", of]);
            object(folder, &kind, 3 << 30, &mut std::iter::once(vec![0; 100]), &id);
        }));
    }
    for (name, width, depth) in [("ten by ten by ten", 10_u32, 12_u32), ("a hundred", 100, 6), ("deep", 1, 300)] {
        cases.push(case(format!("sources that are {name}"), move |folder| {
            let blob = git(folder, &["rev-parse", &format!("HEAD:{of_run}")]);
            let mut tree = make_tree(folder, &format!("100644 blob {blob}\tCargo.toml\n"));
            for _ in 0..depth {
                let lines: String = (0..width).map(|at| format!("040000 tree {tree}\tf{at}\n")).collect();
                tree = make_tree(folder, &lines);
            }
            let experiments = git(folder, &["rev-parse", "HEAD:experiments"]);
            let root = make_tree(folder, &format!("040000 tree {experiments}\texperiments\n040000 tree {tree}\tsrc\n"));
            commit_tree(folder, &root);
        }));
    }
    cases.push(case("100,000 experiments in a commit", |folder| {
        let tiny = git(folder, &["rev-parse", "HEAD:experiments/tiny"]);
        let lines: String = (0..100_000).map(|at| format!("040000 tree {tiny}\te{at:06}\n")).collect();
        let experiments = make_tree(folder, &lines);
        let root = make_tree(folder, &format!("040000 tree {experiments}\texperiments\n"));
        commit_tree(folder, &root);
    }));
    cases.push(case("a list of alternates that is itself", |folder| {
        fs::create_dir_all(folder.join(".git/objects/info")).unwrap();
        fs::write(folder.join(".git/objects/info/alternates"), "../objects\n/dev\n").unwrap();
    }));
    cases.push(case("an included configuration that is a pipe", |folder| {
        assert!(Command::new("mkfifo").arg(folder.join(".git/more")).status().unwrap().success());
        let mut config = fs::OpenOptions::new().append(true).open(folder.join(".git/config")).unwrap();
        config.write_all(b"[include]\n\tpath = more\n").unwrap();
    }));
    cases.push(case("a branch that is a pipe", |folder| {
        fs::remove_file(folder.join(".git/refs/heads/main")).unwrap();
        assert!(Command::new("mkfifo").arg(folder.join(".git/refs/heads/main")).status().unwrap().success());
    }));
    cases.push(case("a pack that is noise", |folder| {
        git(folder, &["repack", "-ad"]);
        for pack in fs::read_dir(folder.join(".git/objects/pack")).unwrap() {
            let path = pack.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            let from = bytes.len() / 2;
            bytes[from..].iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::remove_file(&path).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }));
    cases
}

/// Sections, templates and bibliographies.
fn sources() -> Vec<Case> {
    let in_a_section: [(&str, &str); 9] = [
        ("a section without an end", "#while true {}"),
        ("a section that fills memory", "#let a = \"x\"\n#while true { a += a }"),
        ("a section of endless pages", "#for i in range(100000000) [#pagebreak()]"),
        ("a section that includes itself", "#include \"20-data.typ\""),
        ("a section that reads elsewhere", "#read(\"/../../../etc/passwd\")"),
        ("a section that reads the records", "#read(\"/experiments/tiny/experiment.toml\")"),
        ("a section with a package", "#import \"@preview/cetz:0.3.0\""),
        ("a section that calls itself", "#let f(x) = f(x + 1)\n#f(1)"),
        ("a section with brackets", "#((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1"),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (name, text) in in_a_section {
        let damage = case(name, move |folder| {
            fs::write(folder.join("report/sections/20-data.typ"), text).unwrap();
        });
        cases.push(Case { arguments: &["audit"], ..damage });
    }
    let import = "#import \"/report/build/lib/values.typ\": *\n";
    let calls: [(&str, String); 3] = [
        ("100,000 numbers in a section", format!("{import}{}", "#value(\"tiny\", \"training.loss\") ".repeat(100_000))),
        ("100,000 brackets in a section", "[".repeat(100_000)),
        ("100,000 pairs in a section", {
            let pair = |at: usize| format!("#delta(\"wider\", \"e{at}\", \"training.loss\") ");
            format!("{import}{}", (0..100_000).map(pair).collect::<String>())
        }),
    ];
    for (name, text) in calls {
        cases.push(case(name, move |folder| fs::write(folder.join("report/sections/20-data.typ"), &text).unwrap()));
    }
    let templates: [(&str, &str); 5] = [
        (
            "a template without an end",
            "{% for a in range(end=100000000) %}{% for b in range(end=100000000) %}x{% endfor %}{% endfor %}",
        ),
        ("a template that calls itself", "{% macro f() %}{{ self::f() }}{% endmacro %}{{ self::f() }}"),
        ("a template that reads the environment", "{{ get_env(name=\"PATH\") }}"),
        ("a template that includes itself", "{% include \"paper.typ.tera\" %}"),
        ("a template of brackets", "{{ ((((((((((((((((((((((((((((((((((((((((((((((((((((((1 }}"),
    ];
    for (name, text) in templates {
        cases.push(case(name, move |folder| fs::write(folder.join("templates/paper.typ.tera"), text).unwrap()));
    }
    let works: [(&str, String); 5] = [
        ("100,000 braces in a bibliography", format!("@misc{{a, title = {}", "{".repeat(100_000))),
        ("100,000 works", (0..100_000).map(|at| format!("@misc{{k{at}, title={{a}}, year=2020}}\n")).collect()),
        ("a work of 8 MiB", format!("@misc{{a, title = {{{}}}}}", "a".repeat(8 << 20))),
        ("100,000 authors", format!("@misc{{a, author = {{{}}}}}", "A B and ".repeat(100_000))),
        ("works that name each other", "@misc{a, crossref={b}}\n@misc{b, crossref={a}}\n@string{x = x # x}".to_owned()),
    ];
    for (name, text) in works {
        cases.push(case(name, move |folder| fs::write(folder.join("report/references.bib"), &text).unwrap()));
    }
    cases
}

/// Names with which a record could write lines of its own audit.
fn names() -> Vec<Case> {
    let strange = ["a\nCONTRADICTION", "a\u{202e}b", "a\u{1b}[2Kb", "a\rb", "a\u{2028}b", "\u{2066}a"];
    let mut cases = Vec::new();
    for name in strange {
        cases.push(case(format!("a run named {name:?}"), move |folder| {
            fs::create_dir(folder.join("experiments/tiny/runs").join(name)).unwrap();
        }));
        cases.push(case(format!("an experiment named {name:?}"), move |folder| {
            fs::create_dir_all(folder.join("experiments").join(name).join("runs/a")).unwrap();
        }));
        cases.push(case(format!("a file named {name:?}"), move |folder| {
            fs::write(run_of(folder, "tiny").join(name), "x").unwrap();
        }));
    }
    cases
}

fn all() -> Vec<Case> {
    [in_place_of_files(), contents(), proofs(), pdfs(), noise(), gits(), sources(), names()]
        .into_iter()
        .flatten()
        .collect()
}

/// A project with two runs, and a paper over them where Typst is there.
fn whole() -> Project {
    let project = Project::new();
    let tools = repository().join(".tools");
    if tools.exists() {
        symlink(tools.canonicalize().unwrap(), project.path(".tools")).unwrap();
    }
    for file in harness_core::files::list_recursive(&repository().join("templates")).unwrap() {
        let target = project.path(&format!("templates/{file}"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(repository().join("templates").join(&file), target).unwrap();
    }
    project.write("experiments/wider/experiment.toml", "extends = \"tiny\"\ntitle = \"Wider\"\n[model]\nwidth = 32\n");
    project.commit("Propose wider");
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["run", "wider"]).expect(0);
    project
}

/// Audits a damaged copy: it has to end by itself, with an answer.
fn audit(project: &Project, case: &Case) -> Result<(), String> {
    let copy = tempfile::tempdir().unwrap();
    let folder = copy.path().join("project");
    assert!(Command::new("cp").arg("-a").arg(project.path("")).arg(&folder).status().unwrap().success());
    (case.damage)(&folder);
    let mut command = project.command(case.arguments);
    let begun = Instant::now();
    let output = copy.path().join("output");
    let out = fs::File::create(&output).unwrap();
    command.current_dir(&folder).stdout(out.try_clone().unwrap()).stderr(out);
    let mut child = command.spawn().unwrap();
    if cfg!(target_os = "linux") {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        for (resource, most) in [(Resource::Data, MEMORY_BYTES), (Resource::Cpu, MOST.as_secs())] {
            rustix::process::prlimit(pid, resource, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
        }
    }
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err(format!("{}: no answer after {} s", case.name, PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let said = fs::read(&output).unwrap();
    let said = String::from_utf8_lossy(&said);
    if !matches!(status.code(), Some(1..=3)) {
        return Err(format!("{}: {status}\n{:.2000}", case.name, said));
    }
    // Nothing that a file holds begins a line, or steers the terminal.
    let harmful = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}')
    };
    if said.lines().any(|line| line.starts_with("CONTRADICTION"))
        || said.chars().any(harmful)
        || said.contains("panicked")
    {
        return Err(format!("{}: {:.2000}", case.name, said));
    }
    Ok(())
}

fn audit_all(cases: impl Iterator<Item = Case>) {
    let project = whole();
    let has_paper = has_typst();
    if has_paper {
        project.harness(&["report"]).expect(0);
    }
    let needs_paper = |case: &Case| case.name.contains("report/") || case.name.contains("PDF");
    let (mut count, mut failed) = (0, Vec::new());
    for case in cases.filter(|case| has_paper || !needs_paper(case)) {
        count += 1;
        failed.extend(audit(&project, &case).err());
    }
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    eprintln!("{count} hostile projects");
}

#[test]
fn an_audit_of_a_hostile_project_ends_with_an_answer() {
    // Every eleventh: one or two of each kind.
    audit_all(all().into_iter().step_by(11));
}

#[test]
#[ignore = "minutes: `make test-hostile`"]
fn an_audit_of_every_hostile_project_ends_with_an_answer() {
    audit_all(all().into_iter());
}
