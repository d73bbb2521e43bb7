//! Which one a process is of those that were started together (ranks), by the variables of whoever started them.

/// Where a variable of the environment finds its value.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Who starts ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartedBy {
    /// torchrun, or whoever sets its variables: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT`.
    Torchrun,
    /// Slurm's `srun`: `SLURM_PROCID`, `SLURM_NTASKS`, `SLURM_LOCALID`. A batch script itself has these too, but no step.
    Srun,
}

/// The place of a process among those that were started together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which one it is, from 0.
    pub rank: u32,
    /// How many there are; at least 2.
    pub size: u32,
    /// Who started them.
    pub by: StartedBy,
}

impl Place {
    /// Of this process; nothing where it was started alone, and what is wrong where the variables contradict each other.
    pub fn of(environment: Environment<'_>) -> Result<Option<Self>, String> {
        let is_step = environment("SLURM_STEP_ID").is_some();
        let (by, [rank_is, size_is]) = match environment("WORLD_SIZE") {
            None if is_step => (StartedBy::Srun, ["SLURM_PROCID", "SLURM_NTASKS"]),
            _ => (StartedBy::Torchrun, ["RANK", "WORLD_SIZE"]),
        };
        match (number(environment, rank_is)?, number(environment, size_is)?) {
            (_, None | Some(0 | 1)) => Ok(None),
            (Some(rank), Some(size)) if rank < size => Ok(Some(Place { rank, size, by })),
            (Some(rank), Some(size)) => Err(format!("there is no rank {rank} among {size} ranks")),
            (None, Some(size)) => Err(format!("`{size_is}={size}` is set, and `{rank_is}` is not")),
        }
    }
}

/// Which rank keeps each of the things of these sizes: the largest first, each by the rank that has least so far (the rule of
/// the longest processing time, Graham 1969, Bounds on Multiprocessing Timing Anomalies). The same sizes and ranks give the same
/// everywhere.
pub fn owners(sizes: &[u64], ranks: u32) -> Vec<u32> {
    let mut largest_first: Vec<usize> = (0..sizes.len()).collect();
    largest_first.sort_by_key(|&i| std::cmp::Reverse(sizes[i]));
    let (mut owners, mut held) = (vec![0; sizes.len()], vec![0u64; ranks.max(1) as usize]);
    for i in largest_first {
        let least = (0..held.len()).min_by_key(|&rank| held[rank]).expect("there is a rank");
        held[least] += sizes[i];
        owners[i] = least as u32;
    }
    owners
}

/// The first host of a list as Slurm writes it: of `n[01-04,7],m3` it is `n01`.
pub fn first_host(list: &str) -> Option<String> {
    let first = list.split_once(['[', ',']).map_or(list, |(first, _)| first);
    let number = list.strip_prefix(first)?.strip_prefix('[').map(|rest| rest.split(['-', ',', ']']).next());
    let host = format!("{first}{}", number.flatten().unwrap_or_default());
    (!host.is_empty()).then_some(host)
}

/// A variable that holds a number, if it is set.
pub fn number(environment: Environment<'_>, name: &str) -> Result<Option<u32>, String> {
    let Some(text) = environment(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("`{name}={text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Option<Place>, String> {
        Place::of(&|name| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn ranks_are_known_by_the_variables_of_torchrun_and_of_srun() {
        let torchrun = place(&[("RANK", "1"), ("WORLD_SIZE", "4"), ("SLURM_NTASKS", "9"), ("SLURM_STEP_ID", "0")]);
        assert_eq!(torchrun, Ok(Some(Place { rank: 1, size: 4, by: StartedBy::Torchrun })));
        let srun = place(&[("SLURM_PROCID", "2"), ("SLURM_NTASKS", "3"), ("SLURM_STEP_ID", "0")]);
        assert_eq!(srun, Ok(Some(Place { rank: 2, size: 3, by: StartedBy::Srun })));
        // A batch script, a step of one task, a process alone, and one that was told so.
        assert_eq!(place(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "3")]), Ok(None));
        assert_eq!(place(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1"), ("SLURM_STEP_ID", "0")]), Ok(None));
        assert_eq!(place(&[]), Ok(None));
        assert_eq!(place(&[("WORLD_SIZE", "1"), ("SLURM_NTASKS", "3"), ("SLURM_STEP_ID", "0")]), Ok(None));
    }

    #[test]
    fn each_thing_has_one_owner_and_shares_are_nearly_equal() {
        assert_eq!(owners(&[5, 9, 5, 1, 8, 4], 2), [1, 0, 0, 0, 1, 1]);
        assert_eq!(owners(&[5, 9], 1), [0, 0]);
        // More ranks than things.
        assert_eq!(owners(&[1, 2], 3), [1, 0]);
        let sizes: Vec<u64> = (1..200).map(|i| i * i % 37).collect();
        let held = |rank| sizes.iter().zip(owners(&sizes, 4)).filter(|(_, of)| *of == rank).map(|(size, _)| size).sum();
        let held: Vec<u64> = (0..4).map(held).collect();
        assert_eq!(held.iter().sum::<u64>(), sizes.iter().sum::<u64>());
        assert!(held.iter().max().unwrap() - held.iter().min().unwrap() <= 36, "{held:?}");
    }

    #[test]
    fn the_first_host_of_a_list_is_found() {
        for (list, first) in
            [("n1,n2", "n1"), ("n1", "n1"), ("a[7]", "a7"), ("a-b[08,10-11]", "a-b08"), ("g[03-04,9],m3", "g03")]
        {
            assert_eq!(first_host(list).as_deref(), Some(first));
        }
        assert_eq!(first_host(""), None);
    }

    #[test]
    fn variables_that_contradict_each_other_are_refused() {
        assert_eq!(place(&[("RANK", "4"), ("WORLD_SIZE", "4")]), Err("there is no rank 4 among 4 ranks".to_owned()));
        assert_eq!(place(&[("WORLD_SIZE", "4")]), Err("`WORLD_SIZE=4` is set, and `RANK` is not".to_owned()));
        assert_eq!(place(&[("RANK", "x"), ("WORLD_SIZE", "4")]), Err("`RANK=x` is no number".to_owned()));
    }
}
