//! Where the model's weights come from: [`Parameters`] holds the float32 masters by name, [`Create`] makes them,
//! and [`Cast`] hands them to the model in the data type of the matrix products.
//!
//! The casts are part of the autograd graph and are made once per optimizer step, not once per pass: gradients
//! flow back through them and add up in float32, while the products read bfloat16 (Micikevicius et al. 2018, Mixed
//! Precision Training, section 3.1).

use std::collections::BTreeMap;

use harness_core::config::ModelConfig;
use harness_core::random::{self, Purpose};
use tch::{Device, Kind, Tensor};

use super::Transformer;

/// The value a weight begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All the same.
    Constant(f64),
    /// Two weights of a mixture.
    Pair(f64, f64),
}

/// Gives the model its weights. Asking for a name again gives the same weight.
pub trait Weights {
    /// A weight in the data type of the matrix products.
    fn get(&mut self, name: &str, shape: &[i64], initial: Initial) -> Tensor;
    /// A weight in float32, for tables that are looked up rather than multiplied.
    fn float32(&mut self, name: &str, shape: &[i64], initial: Initial) -> Tensor;
    /// The data type of the matrix products.
    fn compute(&self) -> Kind;
}

/// The float32 master weights of a model, in the order in which the model names them.
pub struct Parameters {
    names: Vec<String>,
    tensors: Vec<Tensor>,
    index: BTreeMap<String, usize>,
}

impl Parameters {
    /// Fresh weights: a pure function of the config and the seed, the same on every device.
    pub fn initialize(config: &ModelConfig, vocabulary_size: u32, seed: u64, device: Device) -> Self {
        tch::manual_seed(random::seed(seed, 0, Purpose::Initialization) as i64);
        let mut create = Create::new(device);
        let _model = Transformer::new(config, vocabulary_size, &mut create);
        create.parameters
    }

    /// The same weights in tensors of their own, outside of autograd.
    pub fn copy(&self) -> Self {
        let tensors = self.tensors.iter().map(|tensor| tensor.detach().copy()).collect();
        Parameters { names: self.names.clone(), tensors, index: self.index.clone() }
    }

    /// The names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Names with tensors, in order.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().map(String::as_str).zip(&self.tensors)
    }

    /// Number of trainable values.
    pub fn count(&self) -> u64 {
        self.tensors.iter().map(|t| t.numel() as u64).sum()
    }

    /// The model over these weights, with products in `compute`. In training, make it anew after each update.
    pub fn model(&self, config: &ModelConfig, vocabulary_size: u32, compute: Kind) -> Transformer {
        Transformer::new(config, vocabulary_size, &mut self.cast(compute))
    }

    /// These weights, for products in `compute`.
    pub fn cast(&self, compute: Kind) -> impl Weights {
        Cast { parameters: self, compute }
    }

    fn find(&self, name: &str, shape: &[i64]) -> Option<&Tensor> {
        let tensor = &self.tensors[*self.index.get(name)?];
        assert_eq!(tensor.size(), shape, "the model asks for `{name}` with two shapes");
        Some(tensor)
    }
}

/// Makes each weight when it is first asked for.
pub struct Create {
    parameters: Parameters,
    device: Device,
}

impl Create {
    /// Nothing made yet.
    pub fn new(device: Device) -> Self {
        Create { parameters: Parameters { names: Vec::new(), tensors: Vec::new(), index: BTreeMap::new() }, device }
    }
}

impl Weights for Create {
    fn get(&mut self, name: &str, shape: &[i64], initial: Initial) -> Tensor {
        if let Some(tensor) = self.parameters.find(name, shape) {
            return tensor.shallow_clone();
        }
        // Drawn on the CPU, so that every device begins with the same bits.
        let float = (Kind::Float, Device::Cpu);
        let value = match initial {
            Initial::Normal(deviation) => Tensor::randn(shape, float) * deviation,
            Initial::Zeros => Tensor::zeros(shape, float),
            Initial::Ones => Tensor::ones(shape, float),
            Initial::Constant(value) => Tensor::full(shape, value, float),
            Initial::Pair(first, second) => Tensor::from_slice(&[first as f32, second as f32]),
        };
        let tensor = value.to_device(self.device).set_requires_grad(true);
        let parameters = &mut self.parameters;
        parameters.index.insert(name.to_owned(), parameters.names.len());
        parameters.names.push(name.to_owned());
        parameters.tensors.push(tensor.shallow_clone());
        tensor
    }

    fn float32(&mut self, name: &str, shape: &[i64], initial: Initial) -> Tensor {
        self.get(name, shape, initial)
    }

    fn compute(&self) -> Kind {
        Kind::Float
    }
}

struct Cast<'a> {
    parameters: &'a Parameters,
    compute: Kind,
}

impl Weights for Cast<'_> {
    fn get(&mut self, name: &str, shape: &[i64], initial: Initial) -> Tensor {
        self.float32(name, shape, initial).to_kind(self.compute)
    }

    fn float32(&mut self, name: &str, shape: &[i64], _initial: Initial) -> Tensor {
        let found = self.parameters.find(name, shape);
        found.unwrap_or_else(|| panic!("the model asks for `{name}`, which it did not create")).shallow_clone()
    }

    fn compute(&self) -> Kind {
        self.compute
    }
}
