//! What a larger run would lose, from a few smaller ones: loss = a + b x^-c for x in FLOPs, tokens or parameters (Hestness et
//! al. 2017, Deep Learning Scaling is Predictable, Empirically; Hoffmann et al. 2022, Training Compute-Optimal Large Language
//! Models).

use harness_core::random::Random;

use super::power::standard_normal;
use super::{mean, quantile};

/// A law of losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerLaw {
    /// What is left at any size, a.
    pub irreducible: f64,
    /// What is above it at [`PowerLaw::scale`]: b times the scale to the power of -c.
    pub reducible: f64,
    /// The exponent, c.
    pub exponent: f64,
    /// The geometric mean of the sizes that were measured.
    pub scale: f64,
}

impl PowerLaw {
    /// The loss at a size.
    pub fn at(&self, x: f64) -> f64 {
        self.irreducible + self.reducible * libm::pow(x / self.scale, -self.exponent)
    }
}

/// Why no law was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLaw {
    /// There are fewer than this number of sizes: one more than the law has free numbers.
    TooFew(usize),
    /// A size or a loss is not a finite number above 0, or a loss is not above the irreducible one that was given.
    NotPositive,
    /// The losses do not fall with size as any power within [`EXPONENTS`] does.
    NotFalling,
}

/// Exponents that are searched; those of language models lie between 0.03 and 0.5.
pub const EXPONENTS: [f64; 2] = [0.001, 3.0];

/// A law with what it leaves unexplained.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The law.
    pub law: PowerLaw,
    /// Standard deviation of a logarithm of a loss around that of the law.
    pub deviation: f64,
    /// Degrees of freedom of the deviation: points less the law's free numbers.
    pub df: usize,
    sizes: Vec<f64>,
    given: Option<f64>,
}

/// Fits `points` (size, loss) by least squares of the logarithms of the losses: all losses have the same relative error. The
/// irreducible loss is `given`, at least 0, or free, at least 0 too. For each exponent the other numbers are solved for, and the
/// exponent is searched (Golub and Pereyra 1973, SIAM Journal on Numerical Analysis 10:413).
pub fn fit(points: &[(f64, f64)], given: Option<f64>) -> Result<Fit, NoLaw> {
    let positive = |value: f64| value > 0.0 && value.is_finite();
    let below = given.unwrap_or(0.0);
    if points.iter().any(|&(x, loss)| !positive(x) || !positive(loss) || loss <= below)
        || !(0.0..f64::INFINITY).contains(&below)
    {
        return Err(NoLaw::NotPositive);
    }
    let (sizes, losses): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let free = if given.is_some() { 2 } else { 3 };
    let mut distinct = sizes.clone();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    if distinct.len() <= free {
        return Err(NoLaw::TooFew(free + 1));
    }
    let (law, squares) = best(&sizes, &losses, given);
    let [least, most] = EXPONENTS;
    if law.reducible <= 0.0 || law.exponent < 1.001 * least || law.exponent > most / 1.001 {
        return Err(NoLaw::NotFalling);
    }
    let df = points.len() - free;
    Ok(Fit { law, deviation: libm::sqrt(squares / df as f64), df, sizes, given })
}

impl Fit {
    /// The interval that holds the loss of one new run of size `x` with probability 1 - `level`, by a bootstrap: losses are drawn
    /// around the law with a deviation that is itself drawn from what the residuals leave open (chi-squared), the law is
    /// fitted again, and a new run is drawn around it (parametric: Efron and Tibshirani 1993, An Introduction to the Bootstrap,
    /// section 6.5). Few residuals cannot be drawn themselves: of one degree of freedom all would be alike.
    pub fn prediction_interval(&self, x: f64, level: f64, seed: u64) -> [f64; 2] {
        const SAMPLES: usize = 1_000;
        let mut random = Random::new(seed);
        let at: Vec<f64> = self.sizes.iter().map(|&size| self.law.at(size)).collect();
        let mut draw = || {
            let mut normal = || standard_normal(&mut random);
            let chi_squared: f64 = (0..self.df).map(|_| normal()).map(|z| z * z).sum();
            let deviation = self.deviation * libm::sqrt(self.df as f64 / chi_squared);
            let mut around = |loss: f64| loss * libm::exp(deviation * normal());
            let losses: Vec<f64> = at.iter().map(|&loss| around(loss)).collect();
            around(best(&self.sizes, &losses, self.given).0.at(x))
        };
        let predicted: Vec<f64> = (0..SAMPLES).map(|_| draw()).collect();
        [level / 2.0, 1.0 - level / 2.0].map(|q| quantile(&predicted, q))
    }
}

/// The law with the least sum of squares of logarithms, and that sum.
fn best(sizes: &[f64], losses: &[f64], given: Option<f64>) -> (PowerLaw, f64) {
    const GRID: u32 = 24;
    let scale = libm::exp(mean(&sizes.iter().map(|&x| libm::log(x)).collect::<Vec<_>>()));
    let relative: Vec<f64> = sizes.iter().map(|x| libm::log(x / scale)).collect();
    let [least, most] = EXPONENTS.map(libm::log);
    let at = |log_exponent: f64| {
        let exponent = libm::exp(log_exponent);
        let powers: Vec<f64> = relative.iter().map(|x| libm::exp(-exponent * x)).collect();
        let ([irreducible, reducible], squares) = linear(&powers, losses, given);
        (PowerLaw { irreducible, reducible, exponent, scale }, squares)
    };
    let grid = |i: u32| least + (most - least) * f64::from(i.min(GRID)) / f64::from(GRID);
    let lowest = (0..=GRID).min_by(|&a, &b| at(grid(a)).1.total_cmp(&at(grid(b)).1)).expect("the grid has points");
    let (mut low, mut high) = (grid(lowest.saturating_sub(1)), grid(lowest + 1));
    // Golden section (Kiefer 1953, Proceedings of the American Mathematical Society 4:502).
    let golden = 0.5 * (libm::sqrt(5.0) - 1.0);
    let inner = |low: f64, high: f64| [high - golden * (high - low), low + golden * (high - low)];
    let [mut left, mut right] = inner(low, high).map(|x| (x, at(x)));
    while high - low > 1e-6 {
        if left.1.1 <= right.1.1 {
            (high, right) = (right.0, left);
            let x = inner(low, high)[0];
            left = (x, at(x));
        } else {
            (low, left) = (left.0, right);
            let x = inner(low, high)[1];
            right = (x, at(x));
        }
    }
    if left.1.1 <= right.1.1 { left.1 } else { right.1 }
}

/// The numbers a, b at least 0 for which the logarithms of a + b u come nearest to those of the losses, by Gauss and Newton's steps
/// from the losses themselves; `a` may be given.
fn linear(powers: &[f64], losses: &[f64], given: Option<f64>) -> ([f64; 2], f64) {
    const STEPS: u32 = 3;
    let mut fitted = losses.to_vec();
    let mut numbers = [0.0; 2];
    for _ in 0..STEPS {
        // Weighted by 1 / fitted^2, and around fitted * (1 + ln(loss / fitted)).
        let [mut one, mut u, mut uu, mut y, mut uy] = [0.0; 5];
        for ((&power, &loss), &at) in powers.iter().zip(losses).zip(&fitted) {
            let (weight, target) = (1.0 / (at * at), at * (1.0 + libm::log(loss / at)));
            one += weight;
            u += weight * power;
            uu += weight * power * power;
            y += weight * target;
            uy += weight * power * target;
        }
        let slope = |a: f64| ((uy - a * u) / uu).max(0.0);
        let a = given.unwrap_or_else(|| ((uu * y - u * uy) / (one * uu - u * u)).max(0.0));
        let b = slope(a);
        numbers = if b > 0.0 || given.is_some() { [a, b] } else { [y / one, 0.0] };
        fitted.iter_mut().zip(powers).for_each(|(at, power)| *at = numbers[0] + numbers[1] * power);
    }
    let squares = |(loss, at): (&f64, &f64)| {
        let residual = libm::log(loss / at);
        residual * residual
    };
    (numbers, losses.iter().zip(&fitted).map(squares).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;

    const LADDER: [(f64, f64); 5] = [(1e15, 4.1), (3e15, 3.62), (1e16, 3.20), (3e16, 2.93), (1e17, 2.71)];

    #[test]
    fn the_law_agrees_with_scipy() {
        // scipy.optimize.least_squares(lambda p: log(p[0] + p[1] * (x / 1e16) ** -p[2]) - log(y), [1, 2, .2]).x, its cost, and the
        // loss at 1e18
        let found = fit(&LADDER, None).unwrap();
        let PowerLaw { irreducible, reducible, exponent, scale } = found.law;
        near(scale, 9.8e15, 0.02);
        near(irreducible, 2.089_896_28, 1e-5);
        near(reducible * libm::pow(scale / 1e16, exponent), 1.115_977_82, 1e-5);
        near(exponent, 0.256_546_56, 1e-5);
        near(found.law.at(1e18), 2.432_318_899_9, 1e-6);
        near(found.deviation * found.deviation, 1.353_448_140_4e-5 / 2.0, 1e-6);
        assert_eq!(found.df, 2);
        // the same with 1.7 for p[0]
        let found = fit(&LADDER, Some(1.7)).unwrap();
        near(found.law.exponent, 0.191_392_23, 1e-5);
        near(found.law.at(1e18), 2.333_673_950_7, 1e-6);
        near(found.deviation * found.deviation, 2.204_482_132_7e-4 / 3.0, 1e-6);
        assert_eq!(found.df, 3);
    }

    #[test]
    fn a_law_without_error_is_found_as_it_is() {
        let truth = PowerLaw { irreducible: 1.69, reducible: 1.1, exponent: 0.34, scale: 1e8 };
        let points = [1e7, 4e7, 1e8, 5e8].map(|x| (x, truth.at(x)));
        let found = fit(&points, None).unwrap();
        near(found.law.at(1e10), truth.at(1e10), 1e-6);
        near(found.law.exponent, 0.34, 1e-4);
        let [low, high] = found.prediction_interval(1e10, 0.05, 1);
        assert!(high - low < 1e-4, "{low} {high}");
    }

    #[test]
    fn what_bears_no_law_is_refused() {
        assert_eq!(fit(&LADDER[..3], None), Err(NoLaw::TooFew(4)));
        assert!(fit(&LADDER[..3], Some(1.7)).is_ok());
        assert_eq!(fit(&LADDER[..2], Some(1.7)), Err(NoLaw::TooFew(3)));
        let twice = [LADDER[0], LADDER[1], LADDER[1], LADDER[2], LADDER[2]];
        assert_eq!(fit(&twice, None), Err(NoLaw::TooFew(4)), "three sizes");
        let rising = LADDER.map(|(x, loss)| (x, 5.0 - loss));
        assert_eq!(fit(&rising, None), Err(NoLaw::NotFalling));
        assert_eq!(fit(&LADDER.map(|(x, _)| (x, 3.0)), None), Err(NoLaw::NotFalling));
        assert_eq!(fit(&LADDER, Some(2.75)), Err(NoLaw::NotPositive));
        for bad in [f64::NAN, f64::INFINITY, 0.0] {
            let mut points = LADDER;
            points[2].1 = bad;
            assert_eq!(fit(&points, None), Err(NoLaw::NotPositive));
            assert_eq!(fit(&LADDER.map(|(x, loss)| (x * bad, loss)), None), Err(NoLaw::NotPositive));
        }
        assert_eq!(fit(&LADDER, Some(f64::NAN)), Err(NoLaw::NotPositive));
    }
}
