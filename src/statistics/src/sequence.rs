//! Quasi-random points: spread evenly over a search space, each a pure function of (seed, index), so that any trial can be
//! computed alone, by any process and by an auditor.

use harness_core::random::{Purpose, Random, mix, seed};

/// Dimensions that a point can have.
pub const DIMENSIONS: usize = SOBOL.len() + 1;

/// A coordinate, counted from 0, of point `index` of Sobol's sequence (Sobol 1967, USSR Computational Mathematics and
/// Mathematical Physics 7:86) in the order of Antonov and Saleev (1979, same journal 19:252), in `[0, 1)`.
pub fn sobol(index: u32, dimension: usize) -> f64 {
    fraction(sobol_bits(index, dimension))
}

/// The same after a nested uniform scramble (Owen 1995, Randomly permuted (t,m,s)-nets and (t,s)-sequences): each bit is turned
/// or not by a random bit that depends on the seed, the dimension and all bits above it. Every point is uniform over
/// the cube, and together they keep the net's even spread.
pub fn scrambled_sobol(search_seed: u64, index: u32, dimension: usize) -> f64 {
    let (bits, key) = (sobol_bits(index, dimension), seed(search_seed, dimension as u64, Purpose::Search));
    // The node of the binary tree that the bits above lead to; the root is 1.
    let turned = |b: u32| (mix(key ^ (1 << b | u64::from(bits) >> (BITS - b))) >> 63) as u32;
    fraction((0..BITS).fold(bits, |out, b| out ^ (turned(b) << (BITS - 1 - b))))
}

/// A coordinate, counted from 0, of point `index` of Halton's sequence (Halton 1960, Numerische Mathematik 2:84): the digits of
/// the index in the base of the dimension's prime, behind the point and in reverse.
pub fn halton(index: u32, dimension: usize) -> f64 {
    let base = u64::from(PRIMES[dimension]);
    let (mut left, mut digits, mut scale) = (u64::from(index), 0, 1);
    while left > 0 {
        digits = digits * base + left % base;
        scale *= base;
        left /= base;
    }
    digits as f64 / scale as f64
}

/// The same after a shift of each dimension around the circle (Cranley and Patterson 1976, SIAM Journal on Numerical Analysis
/// 13:904). Sobol's points are spread more evenly in many dimensions.
pub fn shifted_halton(search_seed: u64, index: u32, dimension: usize) -> f64 {
    let shift = Random::new(seed(search_seed, dimension as u64, Purpose::Search)).uniform();
    let sum = halton(index, dimension) + shift;
    if sum < 1.0 { sum } else { sum - 1.0 }
}

const BITS: u32 = u32::BITS;

fn fraction(bits: u32) -> f64 {
    f64::from(bits) / libm::exp2(f64::from(BITS))
}

fn sobol_bits(index: u32, dimension: usize) -> u32 {
    let directions = directions(dimension);
    let gray = index ^ (index >> 1);
    (0..BITS as usize).filter(|&b| gray >> b & 1 == 1).fold(0, |bits, b| bits ^ directions[b])
}

/// Direction numbers: the first ones of a dimension are given, the others follow from its polynomial.
fn directions(dimension: usize) -> [u32; BITS as usize] {
    let mut v = [0; BITS as usize];
    let Some(dimension) = dimension.checked_sub(1) else {
        (0..BITS).for_each(|b| v[b as usize] = 1 << (BITS - 1 - b));
        return v;
    };
    let (polynomial, initial) = SOBOL[dimension];
    let degree = initial.len();
    for b in 0..BITS as usize {
        v[b] = match initial.get(b) {
            Some(&m) => m << (BITS as usize - 1 - b),
            None => (1..degree)
                .filter(|&i| polynomial >> (degree - i) & 1 == 1)
                .fold(v[b - degree] ^ (v[b - degree] >> degree), |bits, i| bits ^ v[b - i]),
        };
    }
    v
}

/// For each dimension but the first its primitive polynomial, highest power first as bits, and its first direction numbers:
/// those of Joe and Kuo (2008, SIAM Journal on Scientific Computing 30:2635), new-joe-kuo-6.
const SOBOL: [(u32, &[u32]); 20] = [
    (0b11, &[1]),
    (0b111, &[1, 3]),
    (0b1011, &[1, 3, 1]),
    (0b1101, &[1, 1, 1]),
    (0b10011, &[1, 1, 3, 3]),
    (0b11001, &[1, 3, 5, 13]),
    (0b100101, &[1, 1, 5, 5, 17]),
    (0b101001, &[1, 1, 5, 5, 5]),
    (0b101111, &[1, 1, 7, 11, 19]),
    (0b110111, &[1, 1, 5, 1, 1]),
    (0b111011, &[1, 1, 1, 3, 11]),
    (0b111101, &[1, 3, 5, 5, 31]),
    (0b1000011, &[1, 3, 3, 9, 7, 49]),
    (0b1011011, &[1, 1, 1, 15, 21, 21]),
    (0b1100001, &[1, 3, 1, 13, 27, 49]),
    (0b1100111, &[1, 1, 1, 15, 7, 5]),
    (0b1101101, &[1, 3, 1, 15, 13, 25]),
    (0b1110011, &[1, 1, 5, 5, 19, 61]),
    (0b10000011, &[1, 3, 7, 11, 23, 15, 103]),
    (0b10001001, &[1, 3, 7, 13, 13, 15, 69]),
];

const PRIMES: [u32; DIMENSIONS] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sobol_agrees_with_scipy() {
        // scipy.stats.qmc.Sobol(21, scramble=False).random(1024)
        for (index, expected) in [
            (0, [0.0; 6]),
            (1, [0.5; 6]),
            (2, [0.75, 0.25, 0.75, 0.75, 0.25, 0.25]),
            (3, [0.25, 0.75, 0.25, 0.25, 0.75, 0.75]),
            (7, [0.125, 0.625, 0.375, 0.625, 0.125, 0.875]),
            (100, [0.4140625, 0.2578125, 0.7421875, 0.4609375, 0.4921875, 0.7578125]),
            (1000, [0.2197265625, 0.0966796875, 0.9072265625, 0.0849609375, 0.3701171875, 0.5224609375]),
        ] {
            assert_eq!([0, 1, 5, 10, 15, 20].map(|dimension| sobol(index, dimension)), expected, "{index}");
        }
    }

    #[test]
    fn halton_agrees_with_scipy() {
        // scipy.stats.qmc.Halton(16, scramble=False).random(1001)
        for (index, expected) in [
            (0, [0.0; 4]),
            (1, [0.5, 0.3333333333333333, 0.09090909090909091, 0.018867924528301886]),
            (2, [0.25, 0.6666666666666666, 0.18181818181818182, 0.03773584905660377]),
            (7, [0.875, 0.5555555555555556, 0.6363636363636364, 0.1320754716981132]),
            (100, [0.1484375, 0.4115226337448559, 0.1652892561983471, 0.8871484514061942]),
            (1000, [0.0927734375, 0.3475080018289895, 0.9316303531179565, 0.8743325026699892]),
        ] {
            let found = [0, 1, 4, 15].map(|dimension| halton(index, dimension));
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{index}: {found:?}");
        }
    }

    /// Points of the first 2^k in each of 2^k equal parts.
    fn one_in_each(k: u32, point: impl Fn(u32) -> f64) -> bool {
        let mut parts: Vec<u32> = (0..1 << k).map(|index| (point(index) * f64::from(1 << k)) as u32).collect();
        parts.sort_unstable();
        parts.into_iter().eq(0..1 << k)
    }

    #[test]
    fn the_scramble_keeps_the_net() {
        for seed in [0, 1, 99] {
            for dimension in 0..DIMENSIONS {
                assert!(one_in_each(6, |index| scrambled_sobol(seed, index, dimension)), "{seed} {dimension}");
            }
            // The first two dimensions fill every rectangle of area 1/64.
            for side in 0..=6 {
                let cell = |index| {
                    let part =
                        |dimension, k: u32| libm::floor(scrambled_sobol(seed, index, dimension) * libm::exp2(k.into()));
                    (part(0, side) * libm::exp2((6 - side).into()) + part(1, 6 - side)) / 64.0
                };
                assert!(one_in_each(6, cell), "{seed}: {side}");
            }
        }
    }

    #[test]
    fn seeds_and_dimensions_are_scrambled_apart() {
        for point in [scrambled_sobol, shifted_halton] {
            let seeds = 400;
            let mean = (0..seeds).map(|seed| point(seed, 5, 3)).sum::<f64>() / seeds as f64;
            assert!((mean - 0.5).abs() < 0.05, "{mean}");
            assert_ne!(point(1, 0, 0), point(1, 0, 1));
            assert!((0..2000).all(|index| (0.0..1.0).contains(&point(7, index, 2))));
        }
        assert!((0..100).all(|index| {
            let apart = shifted_halton(3, index, 1) - shifted_halton(3, 0, 1) - halton(index, 1);
            (apart - libm::rint(apart)).abs() < 1e-12
        }));
    }
}
