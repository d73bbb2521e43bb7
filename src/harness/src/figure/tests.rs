use super::*;

fn curve(name: &str, phase: f64) -> Curve {
    let point = |i: u32| {
        let x = f64::from(i);
        (x * 2048.0, 1.2 + 4.0 * libm::exp(-x / 40.0) + 0.1 * libm::sin(x * 1.7 + phase))
    };
    Curve { name: name.to_owned(), points: (1..=400).map(point).collect() }
}

fn all() -> Vec<Figure> {
    let curves = [curve("baseline", 0.0), curve("lr-warmup", 1.0)];
    let trace = |c: &Curve| optimisation::Trace {
        name: c.name.clone(),
        learning_rate: c.points.iter().map(|p| (p.0 / 2048.0, 1e-3 * libm::cos(p.0 / 1e6))).collect(),
        gradient_norm: c.points.iter().map(|p| (p.0 / 2048.0, p.1)).collect(),
        clip_norm: Some(1.5),
    };
    let score = |mean| Some(Estimate { mean, standard_error: 0.02 });
    let row = |name: &str, a, b| tasks::Row { name: name.to_owned(), chance: 0.5, scores: vec![score(a), b] };
    let names = ["baseline".to_owned(), "lr-warmup".to_owned()];
    let difference = |mean| Estimate { mean, standard_error: 0.02 };
    let side = |name: &str, by_power_of_two: &[u64]| lengths::Side {
        name: name.to_owned(),
        median_bytes: 30,
        by_power_of_two: by_power_of_two.to_vec(),
    };
    vec![
        lengths::draw(&[side("training", &[0, 0, 0, 7, 90, 30, 0, 1]), side("validation", &[0, 0, 0, 0, 3, 2])]),
        training_loss::draw(&curves),
        validation::draw(&curves, &[("unigram".to_owned(), 4.4)]),
        optimisation::draw(&curves.iter().map(trace).collect::<Vec<_>>()),
        tasks::draw(&names, &[row("agreement", 0.8, score(0.85)), row("anaphora", 0.6, None)]),
        delta::draw(
            "lr-warmup",
            "baseline",
            &[
                delta::Row { name: "agreement".to_owned(), difference: difference(0.05) },
                delta::Row { name: "anaphora".to_owned(), difference: difference(-0.01) },
            ],
        ),
    ]
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(all(), all());
}

#[test]
fn text_stays_text_in_the_font_of_the_paper() {
    for figure in all() {
        assert!(figure.svg.contains("font-family=\"TeX Gyre Termes\""), "{}", figure.alt);
        assert!(figure.svg.starts_with("<svg ") && figure.svg.trim_end().ends_with("</svg>"));
        assert!(!figure.alt.is_empty());
    }
}

#[test]
fn hostile_names_stay_text() {
    let name = "<script>&\"'\u{0}\u{202e}</svg>";
    let svg = validation::draw(&[Curve { name: name.to_owned(), points: vec![(0.0, 2.0), (5.0, 1.0)] }], &[]).svg;
    assert!(!svg.contains("<script>") && !svg.contains('\u{0}'));
    assert_eq!(svg.matches("</svg>").count(), 1);
}

#[test]
fn nothing_and_broken_values_still_draw() {
    assert!(training_loss::draw(&[]).svg.contains("</svg>"));
    let broken = Curve { name: "x".to_owned(), points: vec![(0.0, f64::NAN), (1.0, f64::INFINITY)] };
    assert!(training_loss::draw(std::slice::from_ref(&broken)).svg.contains("</svg>"));
    assert!(validation::draw(&[broken], &[]).svg.contains("</svg>"));
    assert!(optimisation::draw(&[]).svg.contains("</svg>"));
    let empty = lengths::Side { name: "x".to_owned(), median_bytes: 0, by_power_of_two: Vec::new() };
    assert!(lengths::draw(&[empty]).svg.contains("</svg>"));
    assert!(tasks::draw(&[], &[]).svg.contains("</svg>"));
    assert!(delta::draw("a", "b", &[]).svg.contains("</svg>"));
}

#[test]
fn thinning_keeps_peaks() {
    let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
    points[5_003].1 = 9.0;
    let kept = thinned(&points, 600);
    assert!(kept.len() <= 600 && kept.iter().any(|p| p.1 > 8.9));
}
