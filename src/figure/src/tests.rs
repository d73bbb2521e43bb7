//! Every kind of figure from numbers as they occur. The snapshots beside this file hold the bytes; look at a changed
//! figure before its snapshot is accepted (`cargo insta review`, or INSTA_UPDATE=always and git diff): with
//! HARNESS_FIGURES=<folder> the test `every_kind_keeps_its_bytes` writes all of them there as SVG and PNG.

#[path = "../../../tests/common/skip.rs"]
mod skip;

use super::task_curves::Score;
use super::*;

fn subject(name: &str, look: usize) -> Subject {
    Subject { name: name.to_owned(), look }
}

/// Noise from -1 to 1 that is the same everywhere.
fn noise(seed: u64, counter: u64) -> f64 {
    let mut x = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ counter.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Losses of 2,000 steps that fall by `fall` nats at a pace of `pace` steps.
fn losses(seed: u64, pace: f64, end: f64) -> Vec<(f64, f64)> {
    let point = |i: u32| {
        let x = f64::from(i);
        (x * 8192.0, end + (9.0 - end) * libm::exp(-libm::sqrt(x / pace)) + 0.12 * noise(seed, u64::from(i)))
    };
    (1..=2000).map(point).collect()
}

/// The same at every hundredth step and without noise of single steps.
fn evaluated(seed: u64, pace: f64, end: f64) -> Vec<(f64, f64)> {
    let point = |i: u32| {
        let x = f64::from(100 * i);
        let value = end + (4.2 - end) * libm::exp(-libm::sqrt(x / pace));
        (x * 8192.0, value + 0.012 * noise(seed, u64::from(i)))
    };
    (0..=20).map(point).collect()
}

fn names() -> [Subject; 3] {
    [subject("baseline", 0), subject("lr-warmup", 1), subject("muon", 2)]
}

fn three(of: impl Fn(u64, f64, f64) -> Vec<(f64, f64)>, ends: [f64; 3], seeds: u64) -> Vec<Curve> {
    let curve = |(index, subject): (usize, Subject)| Curve {
        subject,
        seeds: (0..seeds).map(|s| of(10 * index as u64 + s, 40.0 + 9.0 * index as f64, ends[index])).collect(),
    };
    names().into_iter().enumerate().map(curve).collect()
}

fn table(rows: usize, columns: usize, value: impl Fn(f64, f64) -> f64) -> Vec<Vec<Option<f64>>> {
    let cell = |row: usize, column: usize| {
        let missing = row == 2 && column == 7;
        let factor = 1.0 + 0.2 * noise(row as u64, column as u64);
        (!missing).then(|| factor * value(row as f64, column as f64))
    };
    (0..rows).map(|row| (0..columns).map(|column| cell(row, column)).collect()).collect()
}

fn places(blocks: usize) -> Vec<String> {
    let blocks = (0..blocks).map(|b| format!("block {b}"));
    ["token embedding".to_owned()]
        .into_iter()
        .chain(blocks)
        .chain(["final norm".to_owned(), "head".to_owned()])
        .collect()
}

fn estimate(mean: f64, standard_error: f64) -> Option<Estimate> {
    Some(Estimate { mean, standard_error })
}

fn heat_maps() -> Vec<(&'static str, Figure)> {
    let steps: Vec<f64> = (0..=40).map(|k| f64::from(k * 50)).collect();
    let norms = tensor_norms::Norms {
        name: "baseline".to_owned(),
        places: places(6),
        steps: steps.clone(),
        gradient_norms: table(9, 41, |row, column| 0.02 + 1.5 * libm::exp(-column / 6.0) / (1.0 + row)),
        update_ratios: table(9, 41, |row, column| 4e-3 * libm::exp(-column / 15.0) * (1.0 + 0.3 * row)),
    };
    let quantity = |title: &str, rows: usize, logarithmic, value: fn(f64, f64) -> f64| activations::Quantity {
        title: title.to_owned(),
        places: places(rows)[..rows].to_vec(),
        values: table(rows, 41, value),
        logarithmic,
    };
    let activations = activations::Activations {
        name: "baseline".to_owned(),
        steps,
        quantities: vec![
            quantity("Root mean square of the residual stream", 7, true, |r, c| 0.1 * libm::exp(r / 3.0 + c / 20.0)),
            quantity("Attention entropy (nats)", 6, false, |r, c| 4.0 - 0.3 * r - 0.02 * c),
            quantity("Dead feed-forward units (share)", 6, false, |r, c| 0.002 * r * c),
        ],
    };
    vec![("tensor_norms", tensor_norms::draw(&[norms])), ("activations", activations::draw(&[activations]))]
}

fn of_scores() -> Vec<(&'static str, Figure)> {
    let titles = ["BLiMP", "LAMBADA", "PIQA", "ARC-Easy"];
    let chance = [0.5, 0.0, 0.5, 0.25];
    let row = |i: usize| tasks::Row {
        name: titles[i].to_owned(),
        chance: chance[i],
        scores: vec![
            estimate(chance[i] + 0.1, 0.012),
            estimate(chance[i] + 0.13, 0.012),
            if i == 1 { None } else { estimate(chance[i] + 0.08, 0.02) },
        ],
    };
    let rows: Vec<tasks::Row> = (0..4).map(row).collect();
    let likely = |i: usize| task_curves::Task {
        name: titles[i].to_owned(),
        chance: None,
        curves: three(|seed, pace, _| evaluated(seed, pace, 1.0), [1.0; 3], 2),
    };
    let learnt = |i: usize| task_curves::Task {
        name: titles[i].to_owned(),
        chance: Some(chance[i]),
        curves: three(
            |seed, pace, _| {
                let rise = |p: &(f64, f64)| (p.0, chance[i] + 0.25 * (1.0 - (p.1 - 1.0) / 3.2) + 0.01 * noise(seed, 3));
                evaluated(seed, pace, 1.0).iter().map(rise).collect()
            },
            [1.0; 3],
            2,
        ),
    };
    let delta = |name: &str, difference: f64, half: f64| delta::Row {
        name: name.to_owned(),
        difference,
        interval: Some([difference - half, difference + half]),
        decided: difference.abs() > half,
    };
    let deltas = [
        delta("BLiMP", 0.021, 0.009),
        delta("\u{2013} anaphor agreement", 0.06, 0.04),
        delta("\u{2013} determiner noun agreement with adjective", -0.01, 0.03),
        delta("LAMBADA", -0.031, 0.012),
        delta("PIQA", 0.004, 0.022),
    ];
    let effect = |difference: f64, half: f64| {
        Some(forest::Effect {
            difference,
            interval: Some([difference - half, difference + half]),
            decided: difference.abs() > half,
        })
    };
    let row = |name: &str, effects| forest::Row { name: name.to_owned(), effects };
    let groups = [
        forest::Group {
            label: "Difference in bits per byte".to_owned(),
            lower_is_better: true,
            rows: vec![row("validation text", vec![effect(-0.021, 0.004), effect(0.002, 0.005)])],
        },
        forest::Group {
            label: "Difference in accuracy (points)".to_owned(),
            lower_is_better: false,
            rows: vec![
                row("BLiMP", vec![effect(2.1, 0.9), effect(-0.4, 1.0)]),
                row("LAMBADA", vec![effect(-1.2, 1.5), None]),
                row("PIQA", vec![effect(0.4, 2.2), effect(1.4, 2.2)]),
            ],
        },
    ];
    let point =
        |s: Subject, size: f64, bits: &[f64]| parameters_loss::Point { subject: s, size, bits_per_byte: bits.to_vec() };
    let sizes = [
        point(subject("baseline", 0), 1.3e6, &[1.71, 1.72, 1.705]),
        point(subject("width-half", 3), 3.4e5, &[1.93]),
        point(subject("width-double", 4), 5.1e6, &[1.55]),
        point(subject("lr-warmup", 1), 1.3e6, &[1.69, 1.70]),
    ];
    vec![
        ("tasks", tasks::draw(&names(), &rows)),
        ("task_curves", task_curves::draw(&(0..4).map(learnt).collect::<Vec<_>>(), Score::Accuracy, Progress::Tokens)),
        (
            "likelihood_curves",
            task_curves::draw(&(0..2).map(likely).collect::<Vec<_>>(), Score::GoldBitsPerByte, Progress::Tokens),
        ),
        ("delta", delta::draw(&subject("lr-warmup", 1), "baseline", &deltas)),
        ("forest", forest::draw("baseline", &names()[1..], &groups)),
        ("parameters_loss", parameters_loss::draw(&sizes, parameters_loss::Size::Parameters)),
        (
            "parameters_loss_over_flops",
            parameters_loss::draw(
                &sizes.map(|p| parameters_loss::Point { size: p.size * 1e9, ..p }),
                parameters_loss::Size::Flops,
            ),
        ),
    ]
}

fn of_tokens() -> Vec<(&'static str, Figure)> {
    let cut = |name: &str, rows: &[(&str, f64, f64)], scale: f64| slices::Cut {
        name: name.to_owned(),
        rows: rows
            .iter()
            .map(|(name, share, loss)| slices::Row {
                name: (*name).to_owned(),
                share: *share,
                losses: vec![estimate(loss * scale, 0.02 * scale)],
            })
            .collect(),
    };
    let cuts = |scale: f64| {
        [
            cut(
                "Part of a word",
                &[("whole word", 0.61, 3.1), ("first token", 0.17, 5.9), ("continuation", 0.22, 1.2)],
                scale,
            ),
            cut(
                "Repetition in the context",
                &[("new token", 0.41, 5.2), ("known token, new bigram", 0.38, 3.0), ("repeated 4-gram", 0.03, 0.4)],
                scale,
            ),
            cut(
                "Position in the context",
                &[("1", 0.004, 6.4), ("2", 0.004, 5.1), ("3-4", 0.01, 4.6), ("129-256", 0.5, 3.2)],
                scale,
            ),
        ]
    };
    let reliability = |subject: Subject, sure: f64, error: f64| calibration::Reliability {
        subject,
        expected_calibration_error: error,
        bins: (0..15)
            .map(|k| {
                let confidence = (f64::from(k) + 0.5) / 15.0;
                calibration::Bin {
                    low: f64::from(k) / 15.0,
                    high: f64::from(k + 1) / 15.0,
                    confidence,
                    accuracy: (confidence * sure).min(1.0),
                    tokens: (9000.0 * libm::exp(-3.0 * confidence)) as u64 + 200,
                }
            })
            .collect(),
    };
    vec![
        ("slices", slices::draw(&names()[..1], &cuts(1.0))),
        ("slices_of_two", slices::draw(&names()[..2], &cuts(-0.01))),
        (
            "calibration",
            calibration::draw(&[
                reliability(subject("baseline", 0), 0.85, 0.061),
                reliability(subject("lr-warmup", 1), 0.97, 0.013),
            ]),
        ),
    ]
}

fn of_lineages() -> Vec<(&'static str, Figure)> {
    let row = |name: &str, look, depth, effect, registered, outcome: &str| tree::Row {
        subject: subject(name, look),
        depth,
        effect,
        registered,
        outcome: outcome.to_owned(),
    };
    let rows = [
        row("baseline", 0, 0, None, false, ""),
        row("lr-warmup", 1, 1, Some((-0.018, Some([-0.027, -0.009]))), true, "adopted"),
        row("muon", 2, 2, Some((-0.031, Some([-0.036, -0.026]))), true, "adopted"),
        row("muon-without-lr-warmup", 3, 3, Some((0.001, Some([-0.003, 0.005]))), true, "open"),
        row("value-embeddings", 4, 3, Some((-0.004, None)), false, ""),
        row("rms-norm", 5, 1, Some((0.002, Some([-0.001, 0.005]))), true, "rejected"),
    ];
    let law = |flops: f64| 0.62 + 0.31 * libm::pow(flops / 1e14, -0.28);
    let rung = |k: u32| 1e13 * libm::pow(3.3, f64::from(k));
    let target = rung(6);
    let points = |k: u32| [1u64, 2].map(|seed| (rung(k), law(rung(k)) * (1.0 + 0.004 * noise(seed, u64::from(k)))));
    let small = ladder::Ladder {
        rungs: (0..4).flat_map(points).collect(),
        law: (0..=12)
            .map(|k| (rung(0) * libm::pow(3.3, f64::from(k) / 2.0), law(rung(0) * libm::pow(3.3, f64::from(k) / 2.0))))
            .collect(),
        target: subject("baseline", 0),
        predicted: (target, law(target), [law(target) - 0.02, law(target) + 0.021]),
        found: vec![law(target) + 0.008, law(target) + 0.013],
        label: "Validation bits per byte".to_owned(),
    };
    let before = ladder::Ladder { found: Vec::new(), ..small.clone() };
    vec![
        ("tree", tree::draw(&rows, "Difference in bits per byte", true)),
        ("ladder", ladder::draw(&small)),
        ("ladder_before_the_run", ladder::draw(&before)),
    ]
}

/// Two optimisers with a learning rate each, a warm-up and a schedule: with high rates trials diverge, with low ones they fall behind.
fn of_studies() -> Vec<(&'static str, Figure)> {
    let drawn = |at: u64, value: usize, dimension: u64| 0.5 + 0.5 * noise(10 * at + value as u64, dimension);
    let rate = |at: u64, value: usize| [1e-4, 1e-3][value] * libm::pow(100.0, drawn(at, value, 1));
    let end = |at: u64, value: usize| {
        let place = drawn(at, value, 1);
        match place {
            place if place > 0.9 => study::End::Infeasible,
            place if place < 0.15 => study::End::Pruned,
            _ => study::End::Completed(1.18 - 0.03 * value as f64 + 0.2 * (place - 0.6) * (place - 0.6)),
        }
    };
    let trials = |values: &[usize], place: &dyn Fn(u64, usize) -> f64| {
        let trial = |at: u64, value: usize| study::Trial {
            value,
            at: place(at, value),
            end: end(at, value),
            inside: !at.is_multiple_of(5),
        };
        (0..12).flat_map(|at| values.iter().map(move |value| trial(at, *value))).collect::<Vec<_>>()
    };
    let parameter = |name: &str, spread, trials| study::Parameter { name: name.to_owned(), spread, trials };
    let best_of = |value: f64| (1..=9).map(|n| 1.165 - 0.03 * value + 0.03 / f64::from(n)).collect::<Vec<_>>();
    let whole = study::Study {
        label: "Validation bits per byte".to_owned(),
        lower_is_better: true,
        scientific: "optimizer.kind".to_owned(),
        values: vec![
            study::Value { subject: subject("adamw", 0), best_of: best_of(0.0) },
            study::Value { subject: subject("muon", 1), best_of: best_of(1.0) },
        ],
        parameters: vec![
            parameter("optimizer.learning_rate (adamw)", study::Spread::Logarithmic([1e-4, 1e-2]), trials(&[0], &rate)),
            parameter("optimizer.learning_rate (muon)", study::Spread::Logarithmic([1e-3, 1e-1]), trials(&[1], &rate)),
            parameter(
                "schedule.warmup_steps",
                study::Spread::Whole([0.0, 20.0]),
                trials(&[0, 1], &|at, _| libm::floor(21.0 * drawn(at, 0, 2))),
            ),
            parameter(
                "schedule.kind",
                study::Spread::Among(vec!["cosine".to_owned(), "linear".to_owned()]),
                trials(&[0, 1], &|at, _| libm::floor(2.0 * drawn(at, 0, 3))),
            ),
        ],
        missing: 0,
        noise: Some(study::Noise { experiment: "baseline".to_owned(), seeds: 5, deviation: 0.004 }),
    };
    // The first trials of a study whose baseline has one seed.
    let beginning = study::Study {
        scientific: "optimizer.weight_decay".to_owned(),
        values: vec![
            study::Value { subject: subject("0", 0), best_of: vec![1.21] },
            study::Value { subject: subject("0.1", 1), best_of: Vec::new() },
        ],
        parameters: vec![parameter(
            "optimizer.learning_rate",
            study::Spread::Logarithmic([2.5e-4, 4e-3]),
            vec![study::Trial { value: 0, at: 8.1e-4, end: study::End::Completed(1.21), inside: true }],
        )],
        missing: 23,
        noise: None,
        ..whole.clone()
    };
    vec![("study", study::draw(&whole)), ("study_at_its_beginning", study::draw(&beginning))]
}

fn of_records() -> Vec<(&'static str, Figure)> {
    let side = |name: &str, by_power_of_two: &[u64]| lengths::Side {
        name: name.to_owned(),
        median_bytes: 30,
        by_power_of_two: by_power_of_two.to_vec(),
    };
    let sides = [side("training", &[0, 0, 0, 7, 90, 30, 0, 1]), side("validation", &[0, 0, 0, 0, 3, 2])];
    let stage = |name: &str, documents, bytes| funnel::Stage { name: name.to_owned(), documents, bytes };
    let stages = [
        stage("read", 10_000, 41_000_000),
        stage("unicode_nfc", 10_000, 40_960_000),
        stage("gopher_quality", 8_800, 36_100_000),
        stage("near_duplicates", 7_900, 30_400_000),
        stage("contaminated", 7_870, 30_300_000),
    ];
    let spent =
        |subject, training_h, other_h, lost_h, runs| budget::Spent { subject, training_h, other_h, lost_h, runs };
    let [a, b, c] = names();
    let days =
        |name: &str, look, points: &[(f64, f64)]| Curve { subject: subject(name, look), seeds: vec![points.to_vec()] };
    let staircases = [
        days(
            "all",
            0,
            &[(0.0, 0.0), (0.4, 0.0), (0.4, 3.1), (2.2, 3.1), (2.2, 6.0), (6.5, 6.0), (6.5, 14.5), (8.0, 14.5)],
        ),
        days("baseline", 1, &[(0.0, 0.0), (0.4, 0.0), (0.4, 3.1), (2.2, 3.1), (2.2, 6.0), (8.0, 6.0)]),
        days("confirm", 2, &[(0.0, 0.0), (6.5, 0.0), (6.5, 8.5), (8.0, 8.5)]),
    ];
    let limit = spending::Limit { hours: Some(20.0), end_day: Some(14.0) };
    vec![
        ("spending", spending::draw(&staircases, limit, "GPU")),
        ("lengths", lengths::draw(&sides)),
        ("funnel", funnel::draw(&stages)),
        (
            "budget",
            budget::draw(
                &[spent(a, 3.0, 0.8, 0.5, 4), spent(b, 2.9, 0.7, 0.0, 3), spent(c, 1.1, 0.2, 0.9, 2)],
                budget::Hours::Gpu,
            ),
        ),
    ]
}

/// Every kind, by the name of its snapshot.
fn all() -> Vec<(&'static str, Figure)> {
    let alone = three(losses, [2.1, 2.0, 1.9], 1);
    let seeds = three(losses, [2.1, 2.0, 1.9], 3);
    let validation_of = |seeds| three(evaluated, [1.21, 1.19, 1.14], seeds);
    let references = [("unigram".to_owned(), 3.4), ("bigram".to_owned(), 2.3)];
    let rate = |p: &(f64, f64)| (p.0, 1e-3 * (p.0 / 1.6e6).min(0.5 + 0.5 * libm::cos(p.0 / 5.3e6)));
    let trace = |c: &Curve| optimisation::Trace {
        subject: c.subject.clone(),
        learning_rate: c.seeds[0].iter().map(rate).collect(),
        gradient_norm: c.seeds.iter().map(|s| s.iter().map(|p| (p.0, p.1 / 4.0)).collect()).collect(),
        clip_norm: Some(1.0),
    };
    let speed = |c: &Curve| Curve {
        subject: c.subject.clone(),
        seeds: c.seeds.iter().map(|s| s.iter().map(|p| (p.0, 41_000.0 + 3000.0 * (p.1 - 2.0))).collect()).collect(),
    };
    let seconds = |c: &Curve| Curve {
        subject: c.subject.clone(),
        seeds: c.seeds.iter().map(|s| s.iter().map(|p| (p.0 / 4100.0, p.1)).collect()).collect(),
    };
    let mut figures = vec![
        ("training_loss", training_loss::draw(&alone, Progress::Tokens)),
        ("training_loss_with_seeds", training_loss::draw(&seeds, Progress::Tokens)),
        ("validation", validation::draw(&validation_of(3), &references, Progress::Tokens)),
        ("validation_alone", validation::draw(&validation_of(1)[..1], &references, Progress::Tokens)),
        (
            "validation_over_wall_time",
            validation::draw(&validation_of(1).iter().map(seconds).collect::<Vec<_>>(), &[], Progress::WallTime),
        ),
        ("optimisation", optimisation::draw(&alone.iter().map(trace).collect::<Vec<_>>(), Progress::Tokens)),
        ("throughput", throughput::draw(&alone.iter().map(speed).collect::<Vec<_>>(), Progress::Tokens)),
    ];
    figures.extend(
        heat_maps()
            .into_iter()
            .chain(of_scores())
            .chain(of_tokens())
            .chain(of_records())
            .chain(of_lineages())
            .chain(of_studies()),
    );
    figures
}

/// The font of the figures, where `make setup` has put it.
fn font() -> Option<Vec<u8>> {
    let path =
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/fonts/texgyretermes-regular.otf"));
    harness_core::files::read(path).ok()
}

#[test]
fn every_kind_keeps_its_bytes() {
    for (name, figure) in all() {
        if let Some(folder) = std::env::var_os("HARNESS_FIGURES") {
            let path = |ending: &str| std::path::Path::new(&folder).join(format!("{name}.{ending}"));
            harness_core::files::write(&path("svg"), figure.svg.as_bytes()).unwrap();
            let picture = png::png(&figure, vec![font().expect("make setup installs the fonts")]).unwrap();
            harness_core::files::write(&path("png"), &picture).unwrap();
        }
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true, description => figure.alt }, {
            insta::assert_snapshot!(name, figure.svg);
        });
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(all(), all());
}

#[test]
fn text_stays_text_in_the_font_of_the_paper() {
    for (name, figure) in all() {
        assert!(figure.svg.contains("font-family=\"TeX Gyre Termes\""), "{name}");
        assert!(figure.svg.starts_with("<svg ") && figure.svg.trim_end().ends_with("</svg>"), "{name}");
        assert!(figure.alt.len() > 20, "{name}: {}", figure.alt);
    }
}

#[test]
fn a_picture_is_the_same_each_time_and_needs_its_font() {
    let (_, figure) = of_records().remove(0);
    assert!(matches!(png::png(&figure, Vec::new()), Err(png::PngError::NoFont(_))));
    let Some(font) = font() else {
        return skip::skip("fonts", "`make setup` installs them");
    };
    let first = png::png(&figure, vec![font.clone()]).unwrap();
    assert!(first.starts_with(b"\x89PNG") && first == png::png(&figure, vec![font]).unwrap());
}

#[test]
fn hostile_names_stay_text() {
    let hostile = subject("<script>&\"'\u{0}\u{202e}</svg>", 0);
    let seeds = vec![vec![(0.0, 2.0), (5.0, 1.0)]];
    let curves = [Curve { subject: hostile.clone(), seeds: seeds.clone() }, Curve { subject: subject("b", 1), seeds }];
    let groups = [forest::Group {
        label: hostile.name.clone(),
        lower_is_better: true,
        rows: vec![forest::Row { name: hostile.name.clone(), effects: vec![None] }],
    }];
    for figure in [validation::draw(&curves, &[], Progress::Tokens), forest::draw("a", &[hostile], &groups)] {
        assert!(!figure.svg.contains("<script>") && !figure.svg.contains('\u{0}'));
        assert_eq!(figure.svg.matches("</svg>").count(), 1);
    }
}

#[test]
fn nothing_and_broken_values_still_draw() {
    let broken =
        Curve { subject: subject("x", 40), seeds: vec![vec![(0.0, f64::NAN), (1.0, f64::INFINITY)], Vec::new()] };
    let empty = lengths::Side { name: "x".to_owned(), median_bytes: 0, by_power_of_two: Vec::new() };
    let nobody = activations::Activations { name: "x".to_owned(), steps: Vec::new(), quantities: Vec::new() };
    let unmeasured = tensor_norms::Norms {
        name: "x".to_owned(),
        places: places(40),
        steps: vec![1.0],
        gradient_norms: vec![vec![None]; 43],
        update_ratios: vec![vec![Some(0.0)]; 43],
    };
    let hopeless = tree::Row {
        subject: subject("x", 40),
        depth: 3,
        effect: Some((f64::NAN, None)),
        registered: true,
        outcome: String::new(),
    };
    let unrun = ladder::Ladder {
        rungs: vec![(1e9, f64::NAN)],
        law: Vec::new(),
        target: subject("x", 40),
        predicted: (1e10, f64::NAN, [f64::NAN, f64::INFINITY]),
        found: vec![f64::NAN],
        label: "x".to_owned(),
    };
    let untried = study::Study {
        label: "x".to_owned(),
        lower_is_better: false,
        scientific: String::new(),
        values: vec![study::Value { subject: subject("x", 40), best_of: vec![f64::NAN] }],
        parameters: vec![study::Parameter {
            name: "x".to_owned(),
            spread: study::Spread::Linear([0.0, 1.0]),
            trials: vec![study::Trial { value: 0, at: f64::NAN, end: study::End::Completed(f64::NAN), inside: true }],
        }],
        missing: 0,
        noise: None,
    };
    let nothing = [
        study::draw(&untried),
        training_loss::draw(&[], Progress::Steps),
        training_loss::draw(std::slice::from_ref(&broken), Progress::Flops),
        validation::draw(std::slice::from_ref(&broken), &[], Progress::WallTime),
        throughput::draw(&[broken], Progress::Steps),
        optimisation::draw(&[], Progress::Tokens),
        lengths::draw(&[empty]),
        funnel::draw(&[]),
        tasks::draw(&[], &[]),
        task_curves::draw(&[], Score::Accuracy, Progress::Tokens),
        task_curves::draw(&[], Score::GoldBitsPerByte, Progress::Tokens),
        delta::draw(&subject("a", 0), "b", &[]),
        forest::draw("a", &[], &[]),
        slices::draw(&[], &[]),
        calibration::draw(&[]),
        parameters_loss::draw(&[], parameters_loss::Size::Flops),
        budget::draw(&[], budget::Hours::Wall),
        spending::draw(&[], spending::Limit::default(), "CPU"),
        tree::draw(&[], "x", true),
        tree::draw(&[hopeless], "x", false),
        ladder::draw(&unrun),
        activations::draw(&[nobody]),
        tensor_norms::draw(&[unmeasured]),
    ];
    assert!(nothing.iter().all(|figure| figure.svg.contains("</svg>")));
}

#[test]
fn a_curve_says_where_it_stops_being_finite() {
    let at = |values: &[f64]| values.iter().enumerate().map(|(i, v)| (100.0 * i as f64, *v)).collect::<Vec<_>>();
    let curve = |name: &str, seeds: &[&[f64]]| Curve {
        subject: subject(name, 0),
        seeds: seeds.iter().map(|values| at(values)).collect(),
    };
    let nan = f64::NAN;
    for (seeds, said, ends) in [
        (&[&[3.0, 2.5, 2.0][..]][..], "", false),
        (&[&[3.0, 2.5, nan, nan]], "a: no finite value from 200 training tokens on, where the curve ends", true),
        (
            &[&[3.0, f64::INFINITY, 2.0]],
            "a: values that are not finite are left out, the first at 100 training tokens",
            false,
        ),
        (&[&[3.0, 2.5], &[3.0, nan]], "1 of the 2 seeds of a: no finite value from 100 training tokens on", true),
    ] {
        let figures = [
            validation::draw(&[curve("a", seeds)], &[], Progress::Tokens),
            training_loss::draw(&[curve("a", seeds)], Progress::Tokens),
            throughput::draw(&[curve("a", seeds)], Progress::Tokens),
        ];
        for figure in figures {
            assert_eq!(figure.alt.contains("finite"), !said.is_empty(), "{}", figure.alt);
            assert!(figure.alt.contains(said), "{}", figure.alt);
            assert_eq!(curve("a", seeds).ends_early(), ends, "{}", figure.alt);
        }
    }
    let whole = validation::draw(&[curve("a", &[&[3.0, 2.5]])], &[], Progress::Tokens);
    let cut = validation::draw(&[curve("a", &[&[3.0, 2.5, nan]])], &[], Progress::Tokens);
    assert!(cut.svg.matches("polyline").count() > whole.svg.matches("polyline").count(), "a cross marks the end");
}

#[test]
fn the_average_ends_as_it_went_and_not_at_the_last_single_step() {
    let flat: Vec<(f64, f64)> = (0..600).map(|i| (f64::from(i), if i == 599 { 9.0 } else { 2.0 })).collect();
    let smooth = smoothed(&flat, 10);
    assert!((smooth[599].1 - (2.0 + 7.0 / 11.0)).abs() < 1e-12, "{:?}", smooth[599]);
    let steep: Vec<(f64, f64)> = (0..600).map(|i| (f64::from(i), 600.0 - f64::from(i))).collect();
    assert_eq!(smoothed(&steep, 10)[..20], steep[..20], "a straight fall is not bent at its beginning");
}

#[test]
fn long_names_are_whole() {
    let long = "irregular past participle adjectives of verbs";
    let rows = [delta::Row { name: long.to_owned(), difference: 0.1, interval: None, decided: false }];
    let figure = delta::draw(&subject("a", 0), "b", &rows);
    assert!(
        figure.svg.contains("irregular past participle") && figure.svg.contains("adjectives of verbs"),
        "{}",
        figure.svg
    );
    let curve = |name: &str, look| Curve { subject: subject(name, look), seeds: vec![vec![(0.0, 2.0), (5.0, 1.0)]] };
    let name = "a-change-of-the-learning-rate-only";
    let figure = validation::draw(&[curve("baseline", 0), curve(name, 1)], &[], Progress::Tokens);
    assert!(figure.svg.contains(name), "{}", figure.svg);
}

#[test]
fn a_slice_that_nobody_has_takes_no_row() {
    let row = |name: &str, losses: Vec<Option<Estimate>>| slices::Row { name: name.to_owned(), share: 0.5, losses };
    let cut = |name: &str, rows: Vec<slices::Row>| slices::Cut { name: name.to_owned(), rows };
    let cuts = [
        cut("Kind", vec![row("known", vec![estimate(1.0, 0.1)]), row("empty", vec![None])]),
        cut("Source", vec![row("broken", vec![estimate(f64::NAN, 0.1)])]),
    ];
    let figure = slices::draw(&names()[..1], &cuts);
    assert!(figure.svg.contains("known"));
    for gone in ["empty", "Source", "broken", "NaN"] {
        assert!(!figure.svg.contains(gone) && !figure.alt.contains(gone), "{gone}: {}", figure.alt);
    }
}

#[test]
fn looks_differ_up_to_thirty_six() {
    let looks: Vec<String> = (0..36).map(|k| format!("{:?}", canvas::look(k))).collect();
    let mut different = looks.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 36);
}

#[test]
fn thinning_keeps_peaks() {
    let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
    points[5_003].1 = 9.0;
    let kept = thinned(&points, 600);
    assert!(kept.len() <= 600 && kept.iter().any(|p| p.1 > 8.9));
}

#[test]
fn title_and_words_stand_inside_the_drawing() {
    let named = Subject { name: "a < b & c".to_owned(), look: 0 };
    let spent = budget::Spent { subject: named, training_h: 1.0, other_h: 0.5, lost_h: 0.0, runs: 2 };
    let figure = budget::draw(&[spent], budget::Hours::Wall).described("what runs <cost>");
    assert!(figure.alt.contains("a < b & c"), "{}", figure.alt);
    let words = figure.alt.replace('&', "&amp;").replace('<', "&lt;");
    for part in [" role=\"img\">", "<title>what runs &lt;cost&gt;</title>", &format!("<desc>{words}</desc>")] {
        assert_eq!(figure.svg.matches(part).count(), 1, "{part} in\n{}", figure.svg);
    }
    resvg::usvg::Tree::from_str(&figure.svg, &resvg::usvg::Options::default()).unwrap();
}
