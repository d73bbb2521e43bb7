//! The exponential moving average of the weights, which evaluations read where the config asks for it.

use tch::Tensor;

use crate::model::weights::Parameters;

/// The average so far.
pub struct Average {
    decay: f64,
    weights: Parameters,
}

impl Average {
    /// An average that begins with the weights as they are; none for a decay of 0.
    pub fn begin(decay: f64, parameters: &Parameters) -> Option<Self> {
        (decay > 0.0).then(|| Average { decay, weights: parameters.copy() })
    }

    /// Takes in the weights after `step` steps (from 1): a <- d a + (1 - d) w. Early on d is smaller than the decay,
    /// (1 + step) / (10 + step), as in TensorFlow's ExponentialMovingAverage with `num_updates`.
    pub fn update(&mut self, parameters: &Parameters, step: u64) {
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        tch::no_grad(|| {
            for (average, weight) in self.weights.tensors().iter().zip(parameters.tensors()) {
                let _in_place: Tensor = average.shallow_clone().lerp_(weight, 1.0 - decay);
            }
        });
    }

    /// The averaged weights.
    pub fn weights(&self) -> &Parameters {
        &self.weights
    }
}

#[cfg(test)]
mod tests {
    use harness_core::config::ModelConfig;
    use tch::Device;

    use super::*;

    /// Against the recurrence written out for one weight that is 1, 2, 3, ... after each step.
    #[test]
    fn the_average_follows_the_recurrence() {
        let config = ModelConfig { layers: 1, heads: 1, width: 4, context_length: 4, ..ModelConfig::default() };
        let parameters = Parameters::initialize(&config, 10, 1, Device::Cpu);
        let set = |value: f64| tch::no_grad(|| drop(parameters.tensors()[0].shallow_clone().fill_(value)));
        set(0.0);
        let mut average = Average::begin(0.9, &parameters).unwrap();
        let mut expected = 0.0;
        for step in 1..=200u64 {
            set(step as f64);
            average.update(&parameters, step);
            let decay = f64::min(0.9, (1.0 + step as f64) / (10.0 + step as f64));
            expected = decay * expected + (1.0 - decay) * step as f64;
            let found = average.weights().tensors()[0].max().double_value(&[]);
            assert!((found - expected).abs() < 1e-4 * expected, "step {step}: {found}, {expected}");
        }
        // In the long run an average of decay 0.9 is 9 steps behind a straight line.
        assert!((expected - 191.0).abs() < 1e-3);
        assert!(Average::begin(0.0, &parameters).is_none());
    }
}
