//! Bins for counts that reach over orders of magnitude: powers of two for places and lengths, decades for frequencies.

/// The bin of `count` (from 1) among 1, 2, 3-4, 5-8, 9-16, ...: the smallest power of two that is not below it.
pub(super) fn power_of_two(count: u64) -> usize {
    count.max(1).next_power_of_two().trailing_zeros() as usize
}

/// The name of such a bin: `1`, `2`, `3-4`, `5-8`.
pub(super) fn power_of_two_name(bin: usize) -> String {
    match bin {
        0 => "1".to_owned(),
        1 => "2".to_owned(),
        bin => format!("{}-{}", (1u64 << (bin - 1)) + 1, 1u64 << bin),
    }
}

/// The bin of `count` among 0, 1-9, 10-99, 100-999, ...
pub(super) fn decade(count: u64) -> usize {
    count.checked_ilog10().map_or(0, |power| power as usize + 1)
}

/// The name of such a bin.
pub(super) fn decade_name(bin: usize) -> String {
    match bin {
        0 => "0".to_owned(),
        bin => format!("{}-{}", 10u64.pow(bin as u32 - 1), 10u64.saturating_pow(bin as u32).wrapping_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_lies_in_the_bin_that_names_it() {
        let holds = |name: String, count: u64| {
            let (low, high) = name.split_once('-').unwrap_or((&name, &name));
            (low.parse::<u64>().unwrap()..=high.parse().unwrap()).contains(&count)
        };
        for count in (0..2_000).chain([9_999, 10_000, 65_536, 65_537, u64::from(u32::MAX)]) {
            assert!(holds(decade_name(decade(count)), count), "{count}");
            assert!(count == 0 || holds(power_of_two_name(power_of_two(count)), count), "{count}");
        }
    }
}
