//! Seeds that nobody chooses: seed k of a purpose is the same number for every experiment of a project, so that a
//! comparison is a randomised block design, and who runs an experiment cannot pick the seeds that suit.

use crate::Digest;

/// Seed `index` (from 0) of a purpose (`confirm`, say) in the project of this id: the first four bytes, big-endian, of
/// SHA-256 over `id`, purpose and index, each on a line.
pub fn derived(project_id: &str, purpose: &str, index: u64) -> u64 {
    let digest = Digest::of(format!("{project_id}\n{purpose}\n{index}\n").as_bytes());
    digest.as_bytes().iter().take(4).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

/// The first `count` seeds of a purpose.
pub fn first(project_id: &str, purpose: &str, count: u64) -> Vec<u64> {
    (0..count).map(|index| derived(project_id, purpose, index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'abc\nconfirm\n0\n' | sha256sum | head -c 8`
    #[test]
    fn a_seed_is_the_beginning_of_a_digest_anyone_can_compute() {
        let digest = Digest::of(b"abc\nconfirm\n0\n").to_string();
        assert_eq!(format!("{:08x}", derived("abc", "confirm", 0)), digest[..8]);
    }

    #[test]
    fn purposes_and_projects_share_no_seed() {
        let mut seeds: Vec<u64> = ["tune", "confirm", "final"].iter().flat_map(|p| first("abc", p, 50)).collect();
        seeds.extend(first("abd", "confirm", 50));
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 200);
    }
}
