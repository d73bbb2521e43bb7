//! `harness plot` on real run folders: every kind on one and on several experiments.

use std::fs;

use crate::common::{Project, TINY, repository, skip};
use harness_analyse::Side;
use harness_core::names;
use harness_figure::{Subject, budget::Hours};
use harness_record::{self as record, SealedRun};
use harness_report::plot::{self, Shown};

/// Two experiments, the first with two seeds.
fn study() -> Project {
    let project = Project::new();
    let change = TINY.replace("Tiny", "Change").replacen("title", "extends = \"tiny\"\ntitle", 1);
    project.write("experiments/change/experiment.toml", &change);
    project.commit("Propose a change");
    project.harness(&["run", "tiny", "--seed", "3"]).expect(0);
    project.harness_with("better:60", &["run", "change", "--seed", "3"]).expect(0);
    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    project
}

#[test]
fn every_kind_is_drawn_and_says_what_it_shows() {
    let project = study();
    let list = project.harness(&["plot", "--list"]).expect(0).stdout;
    let kinds: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(kinds.len() >= 19 && kinds.contains(&"validation"), "{list}");
    // A ladder takes a prediction and a study its trials: `cases::ladder` and `cases::trials` draw them.
    for kind in kinds.into_iter().filter(|kind| !["ladder", "study"].contains(kind)) {
        let names: &[&str] = if kind == "calibration" { &["tiny"] } else { &["tiny", "change"] };
        let ran = project.harness(&[&["plot", kind], names].concat()).expect(0);
        let path = ran.stdout.lines().next().unwrap();
        assert_eq!(path, format!("report/build/plots/{kind}.{}.svg", names.join(".")));
        let svg = fs::read_to_string(project.path(path)).unwrap();
        if kind == "likelihood_curves" {
            let alt = ran.stdout.lines().nth(1).unwrap();
            assert!(alt.starts_with("Bits per byte of the right answers over") && alt.contains("change "), "{alt}");
        }
        if kind == "slices" {
            let alt = ran.stdout.lines().nth(1).unwrap();
            assert!(alt.contains("Of the 2 seeds of tiny, only the latest, 4, is shown."), "{alt}");
            assert!(alt.contains("Tokens of the document"), "{alt}");
        }
        assert!(
            svg.starts_with("<svg ")
                && svg.contains("<title>")
                && svg.contains("<desc>")
                && ran.stdout.lines().nth(1).is_some_and(|alt| alt.len() > 20),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn a_forest_names_what_a_claim_rests_on() {
    let project = study();
    let config = fs::read_to_string(project.path("experiments/change/experiment.toml")).unwrap();
    let metrics =
        ["gold_bits_per_byte", "gold_probability"].map(|score| format!("\"tasks.grammar-agreement.{score}\""));
    let declared = format!("primary_metrics = [{}]\n{config}", metrics.join(", "));
    project.write("experiments/change/experiment.toml", &declared);
    project.commit("Say what the claim rests on");
    project.harness_with("better:60", &["run", "change", "--seed", "3"]).expect(0);
    let ran = project.harness(&["plot", "forest", "tiny", "change"]).expect(0);
    let svg = fs::read_to_string(project.path(ran.stdout.lines().next().unwrap())).unwrap();
    for label in ["bits per byte of right answers", "probability of right answers (points)"] {
        assert!(svg.contains(label), "{label}\n{}", ran.stdout);
    }
}

#[test]
fn an_experiment_looks_the_same_alone_and_beside_others_and_seeds_are_a_band() {
    let project = study();
    let svg = |arguments: &[&str]| {
        project.harness(&[&["plot"], arguments, &["--out", "figure.svg"]].concat()).expect(0);
        fs::read_to_string(project.path("figure.svg")).unwrap()
    };
    let (blue, vermilion) = ("#0072B2", "#D55E00");
    let both = svg(&["training_loss", "tiny", "change"]);
    assert!(both.contains(blue) && both.contains(vermilion));
    let change = svg(&["training_loss", "change"]);
    assert!(change.contains(vermilion) && !change.contains(blue));
    let tiny = svg(&["training_loss", "tiny"]);
    assert!(tiny.contains(blue) && tiny.contains("<polygon"), "two seeds have a band");
    assert!(!change.contains("<polygon"), "one seed has none");
    assert_eq!(tiny, svg(&["training_loss", "tiny"]), "the same bytes each time");
    let over_flops = svg(&["training_loss", "tiny", "--x", "flops"]);
    assert!(over_flops.contains("FLOPs"));
    // Two runs of one experiment do not look alike.
    let runs: Vec<String> =
        project.runs("tiny").iter().map(|r| r.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let runs = svg(&["validation", &runs[0], &runs[1]]);
    assert!(runs.contains(blue) && runs.contains("#009E73"), "the look after those of all experiments");
}

#[test]
fn the_budget_counts_resumed_segments_as_training_and_later_evaluations_as_evaluation() {
    let project = Project::new();
    project.harness_with("die:6", &["run", "tiny"]).expect(1);
    project.harness(&["run", "tiny", "--resume"]).expect(0);
    project.harness(&["evaluate", "tiny"]).expect(0);
    project.harness_with("die:6", &["run", "tiny", "--seed", "9"]).expect(1);
    project.harness(&["plot", "budget", "tiny"]).expect(0);

    let folders = names::Project::at(project.path(""));
    let experiment = "tiny".parse().unwrap();
    let sealed = record::runs_of_every_kind(&folders, &experiment).unwrap();
    let sealed: Vec<SealedRun> =
        sealed.iter().map(|run| SealedRun::open(&folders, &experiment, run).unwrap()).collect();
    let side = Side::open(&folders, "tiny").unwrap();
    let [dead, resumed, evaluation, lost] = &sealed[..] else { panic!("{} runs", sealed.len()) };
    assert_eq!(side.runs[0].run.open.run, resumed.open.run);
    let shown = Shown {
        subject: Subject { name: "tiny".to_owned(), look: 0 },
        runs: side.runs.iter().collect(),
        others: vec![dead, evaluation, lost],
    };
    let spent = plot::spent(&shown, std::slice::from_ref(&shown), Hours::Wall);
    let wall_h = |run: &SealedRun| run.record.resources.wall_time_s / 3600.0;
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b} in {spent:?}");
    assert_eq!(spent.runs, 4);
    near(spent.lost_h, wall_h(lost));
    near(spent.training_h + spent.other_h, wall_h(dead) + wall_h(resumed) + wall_h(evaluation));
    assert!(spent.training_h >= wall_h(dead) && spent.other_h >= wall_h(evaluation), "{spent:?}");
}

#[test]
fn pictures_need_the_fonts_and_mistakes_are_explained() {
    let project = study();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["plot", "valdation", "tiny"], &["no figure `valdation`", "did you mean `validation`?"]),
        (&["plot", "tasks", "tiny", "--x", "flops"], &["`tasks` cannot be drawn over flops", "hint:"]),
        (&["plot", "forest", "tiny"], &["nothing to show for `tiny`", "hint:"]),
        (&["plot", "validation", "tinny"], &["tinny", "tiny"]),
        (&["plot", "validation", "tiny", "--out", "figure.pdf"], &["does not give the format", "hint:"]),
        (&["plot", "validation", "tiny", "--out", "figure.svg", "--format", "png"], &["does not end in .png", "hint:"]),
    ];
    for (arguments, expected) in cases {
        let ran = project.harness(arguments).expect(2);
        expected.iter().for_each(|part| assert!(ran.stderr.contains(part), "{arguments:?}\n{}", ran.stderr));
    }
    let ran = project.harness(&["plot", "validation", "tiny", "--format", "png"]).expect(1);
    assert!(ran.stderr.contains("make setup"), "{}", ran.stderr);
    let fonts = repository().join(".tools/fonts");
    if !fonts.exists() {
        return skip("fonts", "`make setup` installs them");
    }
    fs::create_dir_all(project.path(".tools")).unwrap();
    std::os::unix::fs::symlink(fs::canonicalize(fonts).unwrap(), project.path(".tools/fonts")).unwrap();
    project.harness(&["plot", "validation", "tiny", "--out", "figure.png"]).expect(0);
    let picture = fs::read(project.path("figure.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    // 7.7 cm at 300 pixels to the inch.
    let width = u32::from_be_bytes(picture[16..20].try_into().unwrap());
    assert!((900..=920).contains(&width), "{width}");
}
