//! An interval of a difference over seeds and, within them, documents or items: both are samples, and every run has a value
//! for every unit, so the two are crossed.

use super::cluster::{degrees_of_freedom, reduced_squares};
use super::distribution::t_quantile;
use super::hypothesis::{LEVEL, SeedTest, TTest};

/// How much each unit moves the value of each run.
#[derive(Clone, Debug)]
pub struct Influences {
    /// Reference, then other: for each run what each unit adds to its value, around the run's own mean, so that they add up to
    /// 0 within a stratum.
    pub runs: [Vec<Vec<f64>>; 2],
    /// The share of each unit in the weight of its stratum: a task of a group, or the text.
    pub shares: Vec<f64>,
    /// Units of each stratum, in order.
    pub strata: Vec<usize>,
}

/// The 95 % interval over seeds and units around the `test` over seeds. What the units add to the variance is what the means
/// over seeds vary over them, less what is the noise of single runs, which the test over seeds holds already (variance
/// components of a crossed design: Searle, Casella and McCulloch 1992, Variance Components, chapter 4). The reaches of the two
/// parts are put together as squares (Graybill and Wang 1980, JASA 75:869), so the interval is never narrower than that over
/// seeds alone.
pub fn interval_over_seeds_and_units(test: &TTest, kind: SeedTest, influences: &Influences) -> [f64; 2] {
    let Influences { runs, shares, strata } = influences;
    let means = runs.each_ref().map(|runs| mean_over_runs(runs));
    let apart: Vec<f64> = means[1].iter().zip(&means[0]).map(|(other, reference)| other - reference).collect();
    let noise = |runs: &[Vec<f64>], mean: &[f64]| {
        let around = |run: &Vec<f64>| {
            let residuals: Vec<f64> = run.iter().zip(mean).map(|(value, mean)| value - mean).collect();
            reduced_squares(&residuals, shares)
        };
        runs.iter().map(around).sum::<f64>() / (runs.len() as f64 * (runs.len() as f64 - 1.0))
    };
    let of_runs = if kind == SeedTest::Blocks {
        let pairs = runs[0].iter().zip(&runs[1]);
        let paired: Vec<Vec<f64>> = pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| b - a).collect()).collect();
        noise(&paired, &apart)
    } else {
        noise(&runs[0], &means[0]) + noise(&runs[1], &means[1])
    };
    let (mut of_units, mut spread, mut first) = (0.0, 0.0, 0);
    for &units in strata {
        let these = first..first + units;
        let part = reduced_squares(&apart[these.clone()], &shares[these.clone()]);
        of_units += part;
        spread += part * part / degrees_of_freedom(&shares[these]);
        first += units;
    }
    // Satterthwaite's degrees of freedom where there are several strata.
    let df = if spread > 0.0 { of_units * of_units / spread } else { 1.0 };
    let over_seeds = test.high - test.difference;
    let over_units = t_quantile(1.0 - LEVEL / 2.0, df);
    let reach = libm::sqrt(over_seeds * over_seeds + over_units * over_units * (of_units - of_runs).max(0.0));
    [test.difference - reach, test.difference + reach]
}

fn mean_over_runs(runs: &[Vec<f64>]) -> Vec<f64> {
    let mut mean = vec![0.0; runs[0].len()];
    for run in runs {
        mean.iter_mut().zip(run).for_each(|(sum, value)| *sum += value / runs.len() as f64);
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypothesis::over_seeds;
    use crate::near;

    #[test]
    fn runs_that_agree_on_every_unit_leave_the_spread_of_the_units() {
        // Both runs of a side have the same influences, so all of what the units vary counts beside the seeds.
        let units = [0.2, -0.1, 0.05, -0.15, 0.1, -0.1].map(|v| v / 6.0);
        let (zero, some) = (vec![0.0; 6], units.to_vec());
        let influences = Influences {
            runs: [vec![zero.clone(), zero], vec![some.clone(), some]],
            shares: vec![1.0 / 6.0; 6],
            strata: vec![6],
        };
        let (kind, test) = over_seeds(&[1.0, 1.01], &[1.1, 1.12], false).unwrap();
        let [low, high] = interval_over_seeds_and_units(&test, kind, &influences);
        let squares = units.iter().map(|v| v * v).sum::<f64>() * 6.0 / 5.0;
        let over_units = t_quantile(0.975, 5.0) * libm::sqrt(squares);
        let reach = libm::sqrt(libm::pow(test.high - test.difference, 2.0) + over_units * over_units);
        near(high, test.difference + reach, 1e-12);
        near(low, test.difference - reach, 1e-12);
    }

    #[test]
    fn units_that_are_all_alike_add_nothing() {
        let zeros = vec![vec![0.0; 8]; 3];
        let influences = Influences { runs: [zeros.clone(), zeros], shares: vec![0.125; 8], strata: vec![8] };
        let (kind, test) = over_seeds(&[1.0, 1.01, 1.03], &[1.1, 1.12, 1.09], true).unwrap();
        assert_eq!(interval_over_seeds_and_units(&test, kind, &influences), [test.low, test.high]);
    }
}
