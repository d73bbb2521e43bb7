//! Error rates of the verdicts of `harness compare` itself, on the rows of real run folders replaced by simulated ones:
//! a planted null is called a difference as often as stated, a planted difference of the size that the comparison calls
//! detectable is found as often as stated, both within Monte Carlo error. Streams are fixed, so the counts are too.

use crate::common::{Project, TINY};
use harness_analyse::compare::{Asked, Comparison, Effect};
use harness_analyse::{RunAnalysis, Side, compare};
use harness_core::files;
use harness_core::names::Project as Folders;
use harness_core::random::Random;
use harness_core::scores::{ChoiceScore, WindowLoss, read_csv, to_csv};
use harness_record::SealedRun;
use harness_statistics::power::{POWER, detectable_over_clusters, detectable_over_seeds, mcnemar_power};

const LEVEL: f64 = 0.05;
const BITS: &str = "validation.bits_per_byte";

/// One run of a side, whose last evaluation can be replaced.
struct Simulated {
    run: SealedRun,
    windows: Vec<WindowLoss>,
}

impl Simulated {
    fn open(project: &Project, experiment: &str) -> Vec<Self> {
        let folders = Folders::at(project.path(""));
        let runs = Side::open(&folders, experiment).unwrap().runs;
        let simulated = |analysis: RunAnalysis| {
            let run = analysis.run;
            let windows = read_csv(&run.path(&last(&run, "validation.csv"))).unwrap();
            Simulated { run, windows }
        };
        runs.into_iter().map(simulated).collect()
    }

    /// Replaces the loss of each window: `loss` gives the nats per token of a document.
    fn lose(&self, mut loss: impl FnMut(u64) -> f64) {
        let rows =
            self.windows.iter().map(|w| WindowLoss { loss_nats: w.tokens as f64 * loss(w.document), ..w.clone() });
        files::write(&self.run.path(&last(&self.run, "validation.csv")), &to_csv(rows)).unwrap();
    }

    /// Replaces the answers to a task.
    fn answer(&self, task: &str, right: &[bool]) {
        let path = self.run.path(&last(&self.run, &format!("{task}.csv")));
        let mut rows: Vec<ChoiceScore> = read_csv(&path).unwrap();
        rows.iter_mut().for_each(|row| {
            row.log_probability_nats = Some(if row.gold == right[row.item as usize] { -1.0 } else { -2.0 });
        });
        files::write(&path, &to_csv(rows)).unwrap();
    }
}

fn last(run: &SealedRun, name: &str) -> String {
    let files = &run.record.evaluations.last().unwrap().files;
    files.iter().find(|f| f.path.ends_with(&format!("/{name}"))).unwrap().path.clone()
}

fn compared(first: &[Simulated], second: &[Simulated]) -> Comparison {
    let side = |runs: &[Simulated]| Side {
        name: "side".to_owned(),
        runs: runs.iter().map(|simulated| RunAnalysis::of(simulated.run.clone()).unwrap()).collect(),
        left_out: Vec::new(),
        notes: Vec::new(),
        opened: None,
    };
    compare(&side(first), &side(second), &Asked::default()).unwrap()
}

fn effect<'a>(comparison: &'a Comparison, metric: &str) -> &'a Effect {
    comparison.effects.iter().find(|effect| effect.metric == metric).unwrap()
}

fn is_called(effect: &Effect) -> bool {
    effect.verdict.is_decided()
}

/// Holds a share of `simulations` against a probability, at three standard errors.
#[track_caller]
fn near(called: usize, simulations: usize, expected: f64) {
    let found = called as f64 / simulations as f64;
    let reach = 3.0 * (expected * (1.0 - expected) / simulations as f64).sqrt();
    assert!((found - expected).abs() < reach, "{found} is not {expected} ± {reach}");
}

fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0
}

/// Two experiments that differ in nothing but their name, with `seeds` runs each and the tasks of `tasks`.
fn project(seeds: u64, tasks: &str) -> Project {
    let project = Project::new();
    let config = TINY
        .replace("tasks = [\"grammar-agreement\"]", tasks)
        .replace("validation_at = { every = 5 }", "validation_at = \"last\"\ntoken_losses_at = \"none\"");
    project.write("experiments/tiny/experiment.toml", &config);
    project.write("experiments/change/experiment.toml", &config.replace("Tiny", "Change"));
    project.commit("Propose a change");
    for seed in 1..=seeds {
        project.harness(&["run", "tiny", "--seed", &seed.to_string()]).expect(0);
        project.harness(&["run", "change", "--seed", &(seed + seeds).to_string()]).expect(0);
    }
    project
}

#[test]
fn over_documents() {
    let project = project(1, "tasks = []");
    let (first, second) = (Simulated::open(&project, "tiny"), Simulated::open(&project, "change"));
    let tokens: Vec<f64> = first[0].run.corpus.validation_documents.iter().map(|d| d.tokens as f64).collect();
    let mut random = Random::new(51);
    let mut calls = |simulations: usize, effect_nats: f64| {
        let one = |_: &usize| {
            // Documents are hard or easy for both models, and a little harder or easier for one of them.
            let hard: Vec<f64> = tokens.iter().map(|_| 3.0 + 0.5 * normal(&mut random)).collect();
            let change: Vec<f64> = tokens.iter().map(|_| effect_nats + 0.1 * normal(&mut random)).collect();
            first[0].lose(|document| hard[document as usize]);
            second[0].lose(|document| hard[document as usize] + change[document as usize]);
            is_called(effect(&compared(&first, &second), BITS))
        };
        (0..simulations).filter(one).count()
    };
    // The cautions for few and skewed documents keep the rate below the level.
    let null = calls(400, 0.0);
    assert!((4..=28).contains(&null), "{null} of 400");
    let weight: f64 = tokens.iter().sum();
    let error = 0.1 * tokens.iter().map(|n| n * n).sum::<f64>().sqrt() / weight;
    near(calls(150, -detectable_over_clusters(tokens.len(), LEVEL).unwrap() * error), 150, POWER);
}

#[test]
fn over_items() {
    const ITEMS: usize = 60;
    const DISCORDANT: f64 = 0.3;
    let project = project(1, "tasks = [\"grammar-agreement\"]\nitems_per_task = 60");
    let (first, second) = (Simulated::open(&project, "tiny"), Simulated::open(&project, "change"));
    let task = &first[0].run.open.tasks[0];
    assert_eq!(task.items as usize, ITEMS);
    let mut random = Random::new(52);
    let mut calls = |simulations: usize, difference: f64| {
        let one = |_: &usize| {
            let mut answers = |_| match random.uniform() {
                u if u < (DISCORDANT - difference) / 2.0 => (true, false),
                u if u < DISCORDANT => (false, true),
                u => (u < 0.7, u < 0.7),
            };
            let (left, right): (Vec<bool>, Vec<bool>) = (0..ITEMS).map(&mut answers).unzip();
            first[0].answer(&task.id, &left);
            second[0].answer(&task.id, &right);
            let comparison = compared(&first, &second);
            let found = effect(&comparison, &format!("tasks.{}.accuracy", task.id));
            found.p_value.unwrap() <= LEVEL
        };
        (0..simulations).filter(one).count()
    };
    // Counts are whole, so the exact test keeps below 5 %; how far is known.
    near(calls(120, 0.0), 120, mcnemar_power(ITEMS as u64, DISCORDANT, 0.0));
    near(calls(60, 0.2), 60, mcnemar_power(ITEMS as u64, DISCORDANT, 0.2));
}

#[test]
fn over_seeds() {
    const SEEDS: usize = 4;
    let project = project(SEEDS as u64, "tasks = []");
    let (first, second) = (Simulated::open(&project, "tiny"), Simulated::open(&project, "change"));
    assert_eq!((first.len(), second.len()), (SEEDS, SEEDS));
    let mut random = Random::new(53);
    let mut calls = |simulations: usize, effect_nats: f64| {
        let one = |_: &usize| {
            for (side, shift) in [(&first, 0.0), (&second, effect_nats)] {
                for run in side {
                    let luck = 0.01 * normal(&mut random);
                    run.lose(|document| 3.0 + 0.01 * document as f64 + shift + luck);
                }
            }
            is_called(effect(&compared(&first, &second), BITS))
        };
        (0..simulations).filter(one).count()
    };
    near(calls(300, 0.0), 300, LEVEL);
    near(calls(150, -0.01 * detectable_over_seeds(SEEDS, SEEDS, LEVEL).unwrap()), 150, POWER);
}
