//! All changes of one baseline tested together: the baseline's luck with its seeds is in every difference.

use harness_statistics::design;
use harness_statistics::distribution::f_at_least;
use harness_statistics::dunnett::Dunnett;
use harness_statistics::hypothesis::{FARTHEST_VARIANCES, TTest, blocks as paired, t_test};
use harness_statistics::{mean, variance};
use serde::Serialize;

/// How a family was tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// One variance over the experiments within shared seeds, with Dunnett's correction. Changes that vary far more are not
    /// among them, and are tested alone.
    DunnettInBlocks,
    /// The differences of one change within shared seeds alone, with Bonferroni's correction: they vary far more than
    /// those of the other changes.
    OwnBlocks,
}

impl Test {
    /// For a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Test::DunnettInBlocks => "Dunnett's test, one variance within seeds over the changes of the baseline",
            Test::OwnBlocks => {
                "a t test within seeds of this change alone, Bonferroni over all changes of the baseline, because its \
                 differences vary far more than theirs"
            }
        }
    }
}

/// The test of change `at` against the baseline, with an adjusted p-value and an interval that holds together with those of
/// the family at `1 - level`. `values[0]` are the baseline's, the others' those of each change, all in the order of the seeds
/// that they share. `declared` is how many changes of this baseline were proposed, those without runs too. `None` where
/// nothing can be tested: fewer than two seeds, a value that is not finite, or no spread.
pub fn test(values: &[Vec<f64>], at: usize, declared: usize, level: f64) -> Option<(Test, TTest)> {
    let seeds = values[0].len();
    let declared = declared.max(values.len() - 1);
    design::blocks(values)?;
    let spread = |change: &Vec<f64>| {
        variance(&change.iter().zip(&values[0]).map(|(value, baseline)| value - baseline).collect::<Vec<_>>())
    };
    let spreads: Vec<f64> = values[1..].iter().map(spread).collect();
    // One that varies far more, as where a seed diverges, would be called too often under the variance of all, and would keep
    // every other change from being found. One that varies less loses power only.
    let is_far = |change: usize| {
        let others: Vec<f64> =
            (1..values.len()).filter(|&other| other != change).map(|other| spreads[other - 1]).collect();
        let ratio = spreads[change - 1] / mean(&others);
        let df = seeds as f64 - 1.0;
        !others.is_empty() && ratio > FARTHEST_VARIANCES && f_at_least(ratio, df, df * others.len() as f64) <= 0.01
    };
    if is_far(at) {
        let alone = paired(&values[0], &values[at])?;
        let test = t_test(alone.difference, alone.standard_error, alone.df, level / declared as f64);
        return Some((Test::OwnBlocks, TTest { p_value: (test.p_value * declared as f64).min(1.0), ..test }));
    }
    let together: Vec<usize> = (0..values.len()).filter(|&change| change == 0 || !is_far(change)).collect();
    let design = design::blocks(&together.iter().map(|&change| values[change].clone()).collect::<Vec<_>>())?;
    let at = together.iter().position(|&change| change == at)?;
    let law = Dunnett::new(seeds, &vec![seeds; declared], design.df);
    Some((Test::DunnettInBlocks, law.test(&design, at, law.critical_value(level))))
}
