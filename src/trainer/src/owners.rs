//! Which rank keeps the optimizer's state of which parameter, and updates it (ZeRO, stage 1: Rajbhandari et al. 2020, ZeRO:
//! Memory Optimizations Toward Training Trillion Parameter Models). Gradients are whole on every rank, so that each update has
//! the bits that it has where every rank makes all of them.

use harness_core::contract::Job;
use harness_core::ranks::owners;
use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::model::weights::Parameters;
use crate::ranks::Ranks;

/// The owner of each parameter.
pub struct Owners {
    /// By the parameter's place; none where every rank keeps all.
    of: Option<Vec<u32>>,
}

impl Owners {
    /// Of the parameters of a job. Nothing is shared out where it does not ask for it.
    pub fn choose(job: &Job, parameters: &Parameters, ranks: &Ranks) -> Self {
        let sizes = || parameters.specs().iter().map(|tensor| job.optimizer.moments(tensor)).collect::<Vec<_>>();
        let is_shared = job.training.shard_optimizer && ranks.size > 1;
        Owners { of: is_shared.then(|| owners(&sizes(), ranks.size)) }
    }

    /// Places of the parameters that a rank updates.
    pub fn places(&self, parameters: &Parameters, rank: u32) -> Vec<usize> {
        let all = 0..parameters.tensors().len();
        all.filter(|&place| self.of.as_ref().is_none_or(|of| of[place] == rank)).collect()
    }

    /// Gives every rank the weights that the others have updated.
    pub fn exchange(&self, ranks: &Ranks, parameters: &Parameters) -> Result<(), Error> {
        if self.of.is_none() {
            return Ok(());
        }
        (0..ranks.size).try_for_each(|rank| {
            let updated = parameters.at(&self.places(parameters, rank));
            ranks.broadcast(rank, &updated)
        })
    }

    /// The state of all parameters from that of those that this rank keeps. Rank 0 alone, which writes it down, gets it, in host
    /// memory what is another's; on the way there is one tensor at a time of it on a device. A `name` serves once.
    pub fn whole(
        &self,
        ranks: &Ranks,
        name: &str,
        own: Vec<(String, Tensor)>,
        device: Device,
    ) -> Result<Vec<(String, Tensor)>, Error> {
        if self.of.is_none() {
            return Ok(own);
        }
        let shapes: Vec<(String, Vec<i64>)> = own.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect();
        let mut whole = Vec::new();
        for (rank, shapes) in (0..).zip(ranks.gather(name, &shapes)?) {
            for (i, (name, shape)) in shapes.into_iter().enumerate() {
                let tensor = match rank == ranks.rank {
                    true => own[i].1.shallow_clone(),
                    false => Tensor::empty(shape.as_slice(), (Kind::Float, device)),
                };
                ranks.broadcast(rank, std::slice::from_ref(&tensor))?;
                if ranks.is_first() {
                    whole.push((name, tensor.to_device(Device::Cpu)));
                }
            }
        }
        Ok(whole)
    }
}
