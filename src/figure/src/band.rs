//! Several seeds as one curve: the mean, and the range from the lowest to the highest seed. The range, because with the
//! three or five seeds of a student's project a standard deviation says no more and hides which values occurred.

use super::{Curve, smoothed, thinned, window};

/// A mean with its range; the range is empty with one seed. All three have the same places.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Band {
    pub mean: Vec<(f64, f64)>,
    pub low: Vec<(f64, f64)>,
    pub high: Vec<(f64, f64)>,
}

/// Mean and range of a curve at the places of its first seed, as far as all seeds reach.
pub(super) fn band(seeds: &[Vec<(f64, f64)>]) -> Band {
    let finite = |seed: &Vec<(f64, f64)>| -> Vec<(f64, f64)> {
        seed.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite()).collect()
    };
    let seeds: Vec<Vec<(f64, f64)>> = seeds.iter().map(finite).filter(|seed| !seed.is_empty()).collect();
    let Some((first, others)) = seeds.split_first() else { return Band::default() };
    if others.is_empty() {
        return Band { mean: first.clone(), ..Band::default() };
    }
    let mut band = Band::default();
    for &(x, _) in first {
        let values: Option<Vec<f64>> = seeds.iter().map(|seed| at(seed, x)).collect();
        let Some(values) = values else { continue };
        let fold = |of: fn(f64, f64) -> f64| values.iter().copied().reduce(of).unwrap_or(f64::NAN);
        band.mean.push((x, values.iter().sum::<f64>() / values.len() as f64));
        band.low.push((x, fold(f64::min)));
        band.high.push((x, fold(f64::max)));
    }
    band
}

/// The band of single steps, each seed smoothed first and thinned to about `most` points.
pub(super) fn smooth_band(curve: &Curve, most: usize) -> Band {
    let smooth: Vec<Vec<(f64, f64)>> = curve.seeds.iter().map(|s| smoothed(s, window(s.len()))).collect();
    match smooth.as_slice() {
        [one] => band(&[thinned(one, most)]),
        several => {
            let band = band(several);
            // All three at the same places, or the band would not close.
            let every = band.mean.len().div_ceil(most.max(1)).max(1);
            let last = band.mean.len().saturating_sub(1);
            let kept = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                let chosen = points.iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last);
                chosen.map(|(_, p)| *p).collect()
            };
            Band { mean: kept(&band.mean), low: kept(&band.low), high: kept(&band.high) }
        }
    }
}

/// The value at `x` on the straight lines between points; `None` beyond the ends.
fn at(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let next = points.partition_point(|p| p.0 < x);
    let right = points.get(next)?;
    if right.0 == x {
        return Some(right.1);
    }
    let left = points[..next].last()?;
    let share = (x - left.0) / (right.0 - left.0);
    Some(left.1 + share * (right.1 - left.1))
}

/// The same with places divided by `factor`.
pub(super) fn scaled(points: &[(f64, f64)], factor: f64) -> Vec<(f64, f64)> {
    points.iter().map(|p| (p.0 / factor, p.1)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_at_other_places_are_read_between_their_points() {
        let seeds = [vec![(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (9.0, 9.0)], vec![(0.0, 3.0), (2.0, 1.0)]];
        let band = band(&seeds);
        assert_eq!(band.mean, [(0.0, 2.0), (1.0, 2.0), (2.0, 2.0)]);
        assert_eq!((band.low[2], band.high[2]), ((2.0, 1.0), (2.0, 3.0)));
    }

    proptest! {
        #[test]
        fn the_mean_lies_in_the_band(seeds in prop::collection::vec(prop::collection::vec(-9.0f64..9.0, 5), 2..5)) {
            let seeds: Vec<Vec<(f64, f64)>> =
                seeds.iter().map(|s| s.iter().enumerate().map(|(i, y)| (i as f64, *y)).collect()).collect();
            let band = band(&seeds);
            prop_assert_eq!(band.mean.len(), 5);
            for ((low, mean), high) in band.low.iter().zip(&band.mean).zip(&band.high) {
                prop_assert!(low.1 <= mean.1 + 1e-9 && mean.1 <= high.1 + 1e-9);
            }
        }
    }
}
