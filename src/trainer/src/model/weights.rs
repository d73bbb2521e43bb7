//! Where the model's weights come from: [`Parameters`] holds the float32 masters, made by the list of `ModelConfig::tensors`,
//! and [`Weights`] hands them to the model by name, in the data type of the matrix products.
//!
//! The casts are part of the autograd graph and are made once per optimizer step, not once per pass: gradients
//! flow back through them and add up in float32, while the products read bfloat16 (Micikevicius et al. 2018, Mixed
//! Precision Training, section 3.1).

use harness_core::config::{Init, ModelConfig, TensorSpec};
use harness_core::random::{self, Purpose};
use tch::{Device, Kind, Tensor};

use super::Transformer;

/// The float32 master weights of a model, in the order of the list.
pub struct Parameters {
    specs: Vec<TensorSpec>,
    tensors: Vec<Tensor>,
}

impl Parameters {
    /// Fresh weights: a pure function of the config and the seed, the same on every device.
    pub fn initialize(config: &ModelConfig, vocabulary_size: u32, seed: u64, device: Device) -> Self {
        tch::manual_seed(random::seed(seed, 0, Purpose::Initialization) as i64);
        // Drawn on the CPU, so that every device begins with the same bits.
        let float = (Kind::Float, Device::Cpu);
        let begin = |spec: &TensorSpec| {
            let shape: Vec<i64> = spec.shape.iter().map(|&side| side as i64).collect();
            let value = match spec.init {
                Init::Normal(std) => Tensor::randn(shape, float) * std,
                Init::Constant(value) => Tensor::full(shape, value, float),
                Init::Pair(first, second) => Tensor::from_slice(&[first as f32, second as f32]),
            };
            value.to_device(device).set_requires_grad(true)
        };
        let specs = config.tensors(vocabulary_size);
        Parameters { tensors: specs.iter().map(begin).collect(), specs }
    }

    /// The same weights in tensors of their own, outside of autograd.
    pub fn copy(&self) -> Self {
        let tensors = self.tensors.iter().map(|tensor| tensor.detach().copy()).collect();
        Parameters { specs: self.specs.clone(), tensors }
    }

    /// What each tensor is, in order.
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
    }

    /// The tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Those at some places, sharing their memory.
    pub fn at(&self, places: &[usize]) -> Vec<Tensor> {
        places.iter().map(|&place| self.tensors[place].shallow_clone()).collect()
    }

    /// Names with tensors, in order.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.specs.iter().map(|spec| spec.name.as_str()).zip(&self.tensors)
    }

    /// Number of trainable values.
    pub fn count(&self) -> u64 {
        self.tensors.iter().map(|t| t.numel() as u64).sum()
    }

    /// The model over these weights, with products in `compute`. In training, make it anew after each update.
    pub fn model(&self, config: &ModelConfig, compute: Kind) -> Transformer {
        Transformer::new(config, &self.cast(compute))
    }

    /// These weights, for products in `compute`.
    pub fn cast(&self, compute: Kind) -> Weights<'_> {
        Weights { parameters: self, compute }
    }
}

/// The weights of a model by name. Which there are, the list says; what depends on the config in another way than by
/// having a weight or not, the model asks the config.
pub struct Weights<'a> {
    parameters: &'a Parameters,
    compute: Kind,
}

impl Weights<'_> {
    /// A weight in the data type of the matrix products.
    pub fn get(&self, name: &str) -> Tensor {
        self.float32(name).to_kind(self.compute)
    }

    /// The same, if the list has it.
    pub fn find(&self, name: &str) -> Option<Tensor> {
        self.find_float32(name).map(|tensor| tensor.to_kind(self.compute))
    }

    /// A weight, if the list has it, for a function of [`native`](crate::native): in float32 where it has a kernel that wants it
    /// so.
    pub fn find_for(&self, name: &str, wants_float32: impl Fn(Device, Kind) -> bool) -> Option<Tensor> {
        let master = self.find_float32(name)?;
        Some(if wants_float32(master.device(), self.compute) { master } else { master.to_kind(self.compute) })
    }

    /// A weight in float32, for tables that are looked up rather than multiplied.
    pub fn float32(&self, name: &str) -> Tensor {
        self.find_float32(name).unwrap_or_else(|| panic!("the model asks for `{name}`, which is not on its list"))
    }

    /// The same, if the list has it.
    pub fn find_float32(&self, name: &str) -> Option<Tensor> {
        self.parameters.named().find(|(listed, _)| *listed == name).map(|(_, tensor)| tensor.shallow_clone())
    }

    /// The data type of the matrix products.
    pub fn compute(&self) -> Kind {
        self.compute
    }
}
