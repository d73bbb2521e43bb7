//! Processes that train together: each has the same model and job, computes on its share of every batch, and adds its
//! gradients to those of the others (data parallelism; Li et al. 2020, PyTorch Distributed). Rank 0 alone speaks to the
//! parent and writes files.
//!
//! Whatever does not depend on the share is the same on every rank: tokens, order, weights, moments, stops. [`Ranks::agreed`]
//! holds them against each other, and names the rank that differs. A process alone is a [`Ranks`] of one, of which every
//! function here gives its own part back.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use harness_core::contract::{self, Rank};
use harness_core::ranks::{self, Environment, Place, first_host};
use harness_core::{Digest, files};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::native::collectives::{Group, Meeting, Reducer, has_nccl, nccl_version};
use crate::watch::Watch;

/// How long ranks wait for each other: one may be writing a checkpoint, or reading one from a slow disk.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Where this process meets those that were started with it; nothing where it was started alone.
pub fn meeting(environment: Environment<'_>) -> Result<Option<Meeting>, Error> {
    let refuse = |problem: String| Error::Job {
        problem,
        hint: Some("start ranks by `harness run`, `srun` or torchrun, which set these variables together".to_owned()),
    };
    let number = |name: &str| ranks::number(environment, name).map_err(refuse);
    let Some(Place { rank, size, .. }) = Place::of(environment).map_err(refuse)? else { return Ok(None) };
    let host = environment("MASTER_ADDR").or_else(|| first_host(&environment("SLURM_STEP_NODELIST")?));
    let host = host.ok_or_else(|| refuse(format!("rank {rank} of {size} is not told `MASTER_ADDR`")))?;
    let port = match number("MASTER_PORT")? {
        Some(port) => u16::try_from(port).map_err(|_| refuse(format!("`MASTER_PORT={port}` is no port")))?,
        // Steps of one job share machines; others hardly ever have the same number below this.
        None => match (number("SLURM_JOB_ID")?, number("SLURM_STEP_ID")?) {
            (Some(job), Some(step)) => 20_000 + (u64::from(job) * 7 + u64::from(step)).rem_euclid(20_000) as u16,
            _ => return Err(refuse(format!("rank {rank} of {size} is not told `MASTER_PORT`"))),
        },
    };
    // torchrun may keep the store itself, for all attempts.
    let is_kept = environment("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|is| is == "True");
    let attempt = environment("TORCHELASTIC_RESTART_COUNT").unwrap_or_default();
    let job = number("HARNESS_JOB")?.unwrap_or(0);
    Ok(Some(Meeting {
        host,
        port,
        serves: rank == 0 && !is_kept,
        listening: number("HARNESS_LISTENING")?.map(|socket| socket as i32),
        prefix: format!("harness/{attempt}/{job}"),
        rank,
        size,
    }))
}

/// The GPU that this process may see, as `CUDA_VISIBLE_DEVICES` names it: one of those that its machine's ranks share, by its
/// number there. Nothing where there is nothing to choose.
pub fn visible_gpu(environment: Environment<'_>) -> Option<String> {
    let local = environment("LOCAL_RANK").or_else(|| environment("SLURM_LOCALID"))?;
    match environment("CUDA_VISIBLE_DEVICES") {
        None => Some(local),
        Some(list) => {
            let cards: Vec<&str> = list.split(',').map(str::trim).collect();
            let card = cards[local.parse::<usize>().ok()? % cards.len()];
            Some(card.to_owned())
        }
    }
}

/// The ranks of a job, seen by one of them.
pub struct Ranks {
    /// This one.
    pub rank: u32,
    /// How many there are.
    pub size: u32,
    /// None where there is one.
    group: Option<Group>,
    /// Name or address of the machine of rank 0, for the way there.
    host: String,
    /// Notices whether the others are there; none before [`Ranks::watch`].
    watch: Option<Arc<Watch>>,
}

impl Ranks {
    /// One that is alone.
    pub fn alone() -> Self {
        Ranks { rank: 0, size: 1, group: None, host: String::new(), watch: None }
    }

    /// Meets the others, and holds against rank 0 how many there are to be.
    pub fn join(meeting: &Meeting, patience: Duration) -> Result<Self, Error> {
        let (rank, size) = (meeting.rank, meeting.size);
        let group = Group::join(meeting, patience, TIMEOUT)?;
        group.set(&format!("size/{rank}"), size.to_string().as_bytes())?;
        let joined = Ranks { rank, size, group: Some(group), host: meeting.host.clone(), watch: None };
        // Rank 0 first: who is of another size must not wait for ranks that there will never be.
        for other in 0..size {
            let theirs = joined.take(&format!("size/{other}"))?;
            if theirs != size.to_string() {
                joined.leave()?;
                return Err(Error::Job {
                    problem: format!(
                        "rank {other} was started as one of {theirs} ranks, and rank {rank} as one of {size}"
                    ),
                    hint: Some("give all of them the same `WORLD_SIZE`".to_owned()),
                });
            }
        }
        Ok(joined)
    }

    /// From here on `on_lost` is called, in a thread of its own, where another rank is gone without having left. Gives what says how
    /// this one ends; nothing where it is alone. A rank that rank 0 cannot be reached from is not watched over, and says so.
    pub fn watch(&mut self, on_lost: impl Fn(&str) + Send + Sync + 'static) -> Result<Option<Arc<Watch>>, Error> {
        let on_lost = Box::new(on_lost);
        let watch = match self.rank {
            _ if self.group.is_none() => return Ok(None),
            0 => Watch::serve(self.size, on_lost).and_then(|(watch, port)| {
                self.post("watch", &port.to_string()).map_err(std::io::Error::other)?;
                Ok(watch)
            }),
            rank => {
                let port = self.take("watch")?.parse().unwrap_or(0);
                Watch::connect(&self.host, port, rank, on_lost)
            }
        };
        self.watch = watch
            .inspect_err(|e| {
                eprintln!("warning: rank {} does not notice at once where another is lost: {e}", self.rank)
            })
            .ok();
        Ok(self.watch.clone())
    }

    /// Leaves a text for the other ranks.
    pub fn post(&self, name: &str, text: &str) -> Result<(), Error> {
        self.group.as_ref().map_or(Ok(()), |group| group.set(name, text.as_bytes()))
    }

    /// A text that a rank has left; waits for it.
    pub fn take(&self, name: &str) -> Result<String, Error> {
        let group = self.group.as_ref().ok_or_else(|| Error::Internal(format!("nobody leaves `{name}`")))?;
        Ok(String::from_utf8_lossy(&group.get(name)?).into_owned())
    }

    /// Whether this one speaks to the parent and writes.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// What every rank has under `name`, in their order; waits for all. A name serves once.
    pub fn gather<T: Serialize + DeserializeOwned + Clone>(&self, name: &str, own: &T) -> Result<Vec<T>, Error> {
        let Some(group) = &self.group else { return Ok(vec![own.clone()]) };
        group.set(&format!("{name}/{}", self.rank), &serde_json::to_vec(own).expect("plain values are JSON"))?;
        let of = |rank| {
            let bytes = group.get(&format!("{name}/{rank}"))?;
            serde_json::from_slice(&bytes).map_err(|e| Error::Rank(format!("rank {rank} said `{name}` otherwise: {e}")))
        };
        (0..self.size).map(of).collect()
    }

    /// Refuses ranks of which one differs from rank 0 in one of these things, each a name and what it is.
    pub fn agreed(&self, name: &str, own: &[(String, String)]) -> Result<(), Error> {
        let all = self.gather(name, &own.to_vec())?;
        for (rank, theirs) in all.iter().enumerate() {
            let both = all[0].iter().zip(theirs);
            if let Some(((what, first), (_, other))) = both.into_iter().find(|(first, other)| first != other) {
                self.leave()?;
                return Err(Error::Job {
                    problem: format!("rank {rank} differs from rank 0 in {what}: {other}, not {first}"),
                    hint: Some(
                        "give every rank the same job, programs and data, on processors or GPUs of one kind".to_owned(),
                    ),
                });
            }
        }
        Ok(())
    }

    /// Connects all ranks, which compute on `device`, and says how. NCCL serves GPUs of their own only.
    pub fn connect(&self, device: Device, gpu_uuid_sha256: Option<Digest>) -> Result<Option<contract::Ranks>, Error> {
        let Some(group) = &self.group else { return Ok(None) };
        let hostname = files::read_to_string("/proc/sys/kernel/hostname".as_ref()).unwrap_or_default();
        let own = Rank {
            host_sha256: Digest::of(hostname.trim().as_bytes()),
            device: crate::device::name(device),
            gpu_uuid_sha256,
        };
        let each = self.gather("rank", &own)?;
        let is_shared = (1..each.len()).any(|i| each[i].gpu_uuid_sha256.is_some() && each[..i].contains(&each[i]));
        let nccl = device.is_cuda() && has_nccl() && !is_shared;
        let interface = std::env::var("GLOO_SOCKET_IFNAME").ok();
        group.connect(nccl, interface.as_deref(), &own_address(&self.host))?;
        Ok(Some(contract::Ranks {
            backend: if nccl { "nccl" } else { "gloo" }.to_owned(),
            nccl: if nccl { nccl_version() } else { None },
            each,
        }))
    }

    /// Puts into a tensor the sum of what all ranks have in it.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), Error> {
        self.group.as_ref().map_or(Ok(()), |group| group.sum(tensor))
    }

    /// Copies tensors of rank `from` into those of the others, which are of the same shapes.
    pub fn broadcast(&self, from: u32, tensors: &[Tensor]) -> Result<(), Error> {
        self.group.as_ref().map_or(Ok(()), |group| group.broadcast(from, tensors))
    }

    /// Fills in what other ranks have found, who each left the rest of these numbers 0; on the way through `device`, bit by bit.
    pub fn complete(&self, numbers: &mut [&mut Vec<f32>], device: Device) -> Result<(), Error> {
        if self.size == 1 {
            return Ok(());
        }
        // As integers, of which 0 is what changes nothing: a sum of floats loses the sign of its zeros.
        let bits: Vec<i32> =
            numbers.iter().flat_map(|part| part.iter()).map(|number| number.to_bits() as i32).collect();
        let sum = Tensor::from_slice(&bits).to_device(device);
        self.sum(&sum)?;
        let bits: Vec<i32> = Vec::try_from(sum.to_device(Device::Cpu)).expect("a vector of int32");
        let mut bits = bits.into_iter();
        for number in numbers.iter_mut().flat_map(|part| part.iter_mut()) {
            *number = f32::from_bits(bits.next().expect("as many as before") as u32);
        }
        Ok(())
    }

    /// How many ranks say so.
    pub fn count(&self, says_so: bool, device: Device) -> Result<f64, Error> {
        if self.size == 1 {
            return Ok(f64::from(u8::from(says_so)));
        }
        let count = Tensor::full([], f64::from(u8::from(says_so)), (Kind::Double, device));
        self.sum(&count)?;
        Ok(count.double_value(&[]))
    }

    /// Adds up the gradients of all ranks; nothing to add where this one is alone.
    pub fn reducer(&self, parameters: &[Tensor]) -> Result<Option<Reducer>, Error> {
        self.group.as_ref().map(|group| Reducer::new(group, parameters)).transpose()
    }

    /// Tells all ranks to stop, or hears that one did; between two steps they count who wants to.
    pub fn stop(&self, wants_to: bool) -> Result<bool, Error> {
        let Some(group) = &self.group else { return Ok(wants_to) };
        if wants_to {
            group.set("stop", b"1")?;
        }
        Ok(wants_to || group.has("stop")?)
    }

    /// Leaves; rank 0, whose store the others read, last.
    pub fn leave(&self) -> Result<(), Error> {
        let Some(group) = &self.group else { return Ok(()) };
        self.watch.iter().for_each(|watch| watch.leave());
        if !self.is_first() {
            return group.set(&format!("left/{}", self.rank), b"1");
        }
        (1..self.size).try_for_each(|rank| group.get(&format!("left/{rank}")).map(drop))
    }
}

/// The address by which this machine reaches a host, and is reached from there.
fn own_address(host: &str) -> String {
    let towards = || {
        let socket = UdpSocket::bind("0.0.0.0:0").or_else(|_| UdpSocket::bind("[::]:0"))?;
        // Sends nothing: it only chooses the way.
        socket.connect((host, 9))?;
        socket.local_addr()
    };
    towards().map_or_else(|_| host.to_owned(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn ranks_meet_where_they_are_told_to_or_on_the_first_host_of_a_step() {
        let told = [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "n7"), ("MASTER_PORT", "29500")];
        let found = meeting(&variables(&told)).unwrap().unwrap();
        assert_eq!(
            (found.host.as_str(), found.port, found.serves, found.prefix.as_str()),
            ("n7", 29500, true, "harness//0")
        );
        // torchrun keeps the store itself, for every attempt.
        let kept =
            [&told[..], &[("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "3")]].concat();
        let found = meeting(&variables(&kept)).unwrap().unwrap();
        assert_eq!((found.serves, found.prefix.as_str()), (false, "harness/3/0"));
        let step = [
            ("SLURM_PROCID", "1"),
            ("SLURM_NTASKS", "2"),
            ("SLURM_STEP_ID", "4"),
            ("SLURM_JOB_ID", "30000"),
            ("SLURM_STEP_NODELIST", "gpu[03-04,9],m3"),
        ];
        let found = meeting(&variables(&step)).unwrap().unwrap();
        assert_eq!((found.host.as_str(), found.port, found.serves), ("gpu03", 20_000 + 10_004, false));
        let lost = meeting(&variables(&told[..2])).unwrap_err();
        assert_eq!(lost.to_string(), "rank 0 of 2 is not told `MASTER_ADDR`");
        assert_eq!(meeting(&variables(&[])).unwrap(), None);
    }

    #[test]
    fn a_rank_sees_one_of_the_gpus_that_its_machine_has_for_ranks() {
        let seen = |set: &[(&str, &str)]| visible_gpu(&variables(set));
        assert_eq!(seen(&[("LOCAL_RANK", "3")]).as_deref(), Some("3"));
        assert_eq!(seen(&[("SLURM_LOCALID", "1"), ("CUDA_VISIBLE_DEVICES", "4,GPU-a")]).as_deref(), Some("GPU-a"));
        // Slurm gave each task its own; or several share one.
        assert_eq!(seen(&[("LOCAL_RANK", "3"), ("CUDA_VISIBLE_DEVICES", "6")]).as_deref(), Some("6"));
        assert_eq!(seen(&[]), None);
    }

    #[test]
    fn one_that_is_alone_gives_back_what_it_has() {
        let alone = Ranks::alone();
        let tensor = Tensor::from_slice(&[1.5f64, -0.0]);
        alone.sum(&tensor).unwrap();
        assert_eq!(tensor, Tensor::from_slice(&[1.5f64, -0.0]));
        assert_eq!(alone.gather("own", &7).unwrap(), [7]);
        assert!(alone.is_first() && !alone.stop(false).unwrap() && alone.stop(true).unwrap());
        assert_eq!(alone.count(true, Device::Cpu).unwrap(), 1.0);
        assert!(alone.reducer(&[tensor]).unwrap().is_none());
        alone.leave().unwrap();
    }
}
