//! The normal, Student t and binomial distributions: from a statistic to a probability and back. Everything rests on
//! `libm` and on one continued fraction, so that a p-value is the same bits on every machine.

use std::f64::consts::{LN_2, SQRT_2};

/// Standard normal distribution function: erfc(-z / sqrt 2) / 2 (Abramowitz and Stegun 1964, 26.2.29).
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z / SQRT_2)
}

/// The z below which a share `p` of the standard normal distribution lies; `p` strictly between 0 and 1.
pub fn normal_quantile(p: f64) -> f64 {
    // In the upper tail 1 - p loses no digits that p had, and the lower tail is where erfc is exact.
    if p > 0.5 { -invert(1.0 - p, &normal_cdf) } else { invert(p, &normal_cdf) }
}

/// Distribution function of Student's t with `df` > 0 degrees of freedom, through the incomplete beta function
/// (Abramowitz and Stegun 1964, 26.7.1).
pub fn t_cdf(t: f64, df: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(df / 2.0, 0.5, df / (df + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// Two-sided p-value of a t statistic.
pub fn t_two_sided(t: f64, df: f64) -> f64 {
    incomplete_beta(df / 2.0, 0.5, df / (df + t * t)).min(1.0)
}

/// The t below which a share `p` of Student's distribution lies; `p` strictly between 0 and 1.
pub fn t_quantile(p: f64, df: f64) -> f64 {
    if p > 0.5 { -invert(1.0 - p, &|t| t_cdf(t, df)) } else { invert(p, &|t| t_cdf(t, df)) }
}

/// P(X >= `successes`) for X binomial with `trials` and `p`, through the incomplete beta function (DLMF 8.17.5).
pub fn binomial_at_least(successes: u64, trials: u64, p: f64) -> f64 {
    match successes {
        0 => 1.0,
        k if k > trials => 0.0,
        k => incomplete_beta(k as f64, (trials - k) as f64 + 1.0, p),
    }
}

/// Probability of exactly `successes` of `trials`.
pub fn binomial_mass(successes: u64, trials: u64, p: f64) -> f64 {
    let (k, n) = (successes as f64, trials as f64);
    if p <= 0.0 || p >= 1.0 {
        return if (p <= 0.0 && successes == 0) || (p >= 1.0 && successes == trials) { 1.0 } else { 0.0 };
    }
    let ln_choose = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    libm::exp(ln_choose + k * libm::log(p) + (n - k) * libm::log1p(-p))
}

/// The x below which a share `p` of the chi-squared distribution with `df` degrees of freedom lies; `p` strictly between 0
/// and 1.
pub fn chi_squared_quantile(p: f64, df: f64) -> f64 {
    let mut high = df.max(1.0);
    while incomplete_gamma(df / 2.0, high / 2.0) < p {
        high *= 2.0;
    }
    bisect(0.0, high, &|x| incomplete_gamma(df / 2.0, x / 2.0) - p)
}

/// P(X > `x`) for X chi-squared with `df` degrees of freedom.
pub fn chi_squared_at_least(x: f64, df: f64) -> f64 {
    1.0 - incomplete_gamma(df / 2.0, x / 2.0)
}

/// Regularized lower incomplete gamma function P(a, x): the series of DLMF 8.11.4, whose terms are all positive.
fn incomplete_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let mut term = libm::exp(a * libm::log(x) - x - libm::lgamma(a + 1.0));
    let (mut sum, mut n) = (term, 0.0);
    while term > 1e-17 * sum || n < x - a {
        n += 1.0;
        term *= x / (a + n);
        sum += term;
    }
    sum.min(1.0)
}

/// P(F > `ratio`) for the ratio of two variances with the degrees of freedom given (Abramowitz and Stegun 1964, 26.6.2).
pub fn f_at_least(ratio: f64, numerator_df: f64, denominator_df: f64) -> f64 {
    incomplete_beta(denominator_df / 2.0, numerator_df / 2.0, denominator_df / (denominator_df + numerator_df * ratio))
}

/// Density of s = sqrt(chi-squared / df), what a sample standard deviation divided by the true one follows.
pub fn deviation_density(s: f64, df: f64) -> f64 {
    let half = df / 2.0;
    let ln = LN_2 + half * libm::log(half) - libm::lgamma(half);
    libm::exp(ln + (df - 1.0) * libm::log(s.max(f64::MIN_POSITIVE)) - half * s * s)
}

/// Regularized incomplete beta function I_x(a, b): the continued fraction of DLMF 8.17.22, evaluated from the front
/// by Lentz's method (Lentz 1976, Applied Optics 15:668) in Thompson and Barnett's form (1986, J. Comput. Phys. 64:490).
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    // The fraction converges fast below the mean; above it, the symmetry I_x(a, b) = 1 - I_{1-x}(b, a) helps.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let ln_beta = libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    let front = libm::exp(a * libm::log(x) + b * libm::log1p(-x) - ln_beta) / a;
    (front / beta_fraction(a, b, x)).clamp(0.0, 1.0)
}

/// 1 + d1 / (1 + d2 / (1 + ...)) with the coefficients of DLMF 8.17.23.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TERMS: u32 = 10_000;
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut value, mut ratio, mut inverse) = (1.0, 1.0, 0.0);
    for k in 1..=TERMS {
        let m = f64::from(k / 2);
        let d = if k % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        inverse = 1.0 / away_from_zero(1.0 + d * inverse);
        ratio = away_from_zero(1.0 + d / ratio);
        value *= ratio * inverse;
        if (ratio * inverse - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

/// The point at or below 0 where a distribution symmetric about 0 reaches `p` <= 1/2, by bisection.
fn invert(p: f64, cdf: &dyn Fn(f64) -> f64) -> f64 {
    let mut low = -1.0;
    while cdf(low) > p && low > -1e300 {
        low *= 2.0;
    }
    bisect(low, 0.0, &|x| cdf(x) - p)
}

/// Where a rising function crosses zero between `low` and `high`, to the last bit or nearly so.
pub fn bisect(mut low: f64, mut high: f64, rising: &dyn Fn(f64) -> f64) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high || (high - low) < 1e-14 * middle.abs() {
            break;
        }
        if rising(middle) < 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The same in few steps, for a function that costs much: false position, in the Illinois form (Dowell and Jarratt 1971, BIT
/// 11:168). The function is at most 0 at `low` and at least 0 at `high`.
pub fn illinois(low: f64, high: f64, rising: &dyn Fn(f64) -> f64) -> f64 {
    let mut ends = [(low, rising(low)), (high, rising(high))];
    let (mut at, mut moved) = (low, None);
    for _ in 0..100 {
        let [(low, below), (high, above)] = ends;
        let next = if above > below { (low * above - high * below) / (above - below) } else { low };
        let (before, value) = (at, rising(next));
        at = next;
        if value == 0.0 || (at - before).abs() < 1e-12 * at.abs() {
            break;
        }
        let end = usize::from(value > 0.0);
        ends[end] = (at, value);
        if moved == Some(end) {
            ends[1 - end].1 *= 0.5;
        }
        moved = Some(end);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;

    #[test]
    fn the_normal_distribution_agrees_with_scipy() {
        // scipy.stats.norm.cdf(z) and scipy.stats.norm.ppf(p), scipy 1.17.1
        for (z, expected) in [
            (-8.0, 6.220_960_574_271_74e-16),
            (-1.96, 0.024_997_895_148_220_435),
            (0.5, 0.691_462_461_274_013_1),
            (3.0, 0.998_650_101_968_369_9),
        ] {
            near(normal_cdf(z), expected, 1e-13);
        }
        for (p, expected) in [
            (1e-10, -6.361_340_902_404_056),
            (0.001, -3.090_232_306_167_813),
            (0.025, -1.959_963_984_540_054_5),
            (0.8, 0.841_621_233_572_914_3),
            (0.9999, 3.719_016_485_455_709),
        ] {
            near(normal_quantile(p), expected, 1e-12);
        }
    }

    #[test]
    fn students_t_agrees_with_scipy() {
        // scipy.stats.t.cdf(t, df) and scipy.stats.t.ppf(p, df); for df = 1000, where scipy keeps nine digits only,
        // mpmath.betainc(500, .5, 0, 1000/1036, regularized=True) / 2
        for (t, df, expected) in [
            (-2.0, 1.0, 0.147_583_617_650_433_26),
            (0.5, 2.5, 0.671_151_040_065_142_6),
            (-4.3, 2.0, 0.025_028_577_058_545_796),
            (1.7, 30.0, 0.950_261_062_205_741_6),
            (-6.0, 1000.0, 1.377_684_586_688_734_6e-9),
            (-40.0, 3.3, 7.529_443_640_899_681e-6),
        ] {
            near(t_cdf(t, df), expected, 1e-11);
        }
        for (p, df, expected) in [
            (0.975, 1.0, 12.706_204_736_174_694),
            (0.975, 2.0, 4.302_652_729_749_462),
            (0.975, 3.7, 2.867_520_707_191_189_5),
            (0.005, 9.0, -3.249_835_541_592_126_3),
            (0.025, 99.0, -1.984_216_951_586_417_6),
        ] {
            near(t_quantile(p, df), expected, 1e-11);
        }
    }

    #[test]
    fn the_incomplete_beta_function_agrees_with_scipy() {
        // scipy.special.betainc(a, b, x)
        for (a, b, x, expected) in [
            (0.5, 0.5, 0.3, 0.369_010_119_565_545_36),
            (2.0, 3.0, 0.9, 0.9963),
            (50.0, 0.5, 0.98, 0.156_243_507_866_817_9),
            (500.0, 501.0, 0.5, 0.512_612_509_089_180_2),
            (5000.0, 5200.0, 0.48, 0.019_676_003_601_151_345),
        ] {
            near(incomplete_beta(a, b, x), expected, 1e-10);
        }
    }

    #[test]
    fn chi_squared_and_f_agree_with_scipy() {
        // scipy.stats.chi2.ppf(p, df) and scipy.stats.f.sf(x, a, b)
        for (p, df, expected) in [
            (0.025, 1.0, 0.000_982_069_117_175_255_5),
            (0.975, 2.0, 7.377_758_908_227_871),
            (0.025, 7.5, 1.930_588_620_610_999_2),
            (0.975, 200.0, 241.057_895_506_310_93),
        ] {
            near(chi_squared_quantile(p, df), expected, 1e-10);
        }
        for (ratio, a, b, expected) in [
            (9.0, 1.0, 1.0, 0.204_832_764_699_133_45),
            (19.0, 2.0, 2.0, 0.05),
            (3.0, 4.0, 2.0, 0.265_306_122_448_979_6),
            (9.6, 4.0, 4.0, 0.025_020_654_634_362_54),
        ] {
            near(f_at_least(ratio, a, b), expected, 1e-10);
        }
    }

    #[test]
    fn the_binomial_distribution_agrees_with_scipy() {
        // scipy.stats.binom.sf(k - 1, n, p) and scipy.stats.binom.pmf(k, n, p)
        for (k, n, p, at_least, exactly) in [
            (3, 12, 0.5, 0.980_712_890_625, 0.053_710_937_5),
            (60, 100, 0.5, 0.028_443_966_820_490_444, 0.010_843_866_711_637_978),
            (700, 1000, 0.68, 0.092_565_664_387_221_91, 0.010_861_560_737_062_457),
        ] {
            near(binomial_at_least(k, n, p), at_least, 1e-11);
            near(binomial_mass(k, n, p), exactly, 1e-11);
        }
    }
}
