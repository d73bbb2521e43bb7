//! How the model knows where a token stands: a vector added to the token's ([`Positions::add_to`]), or something
//! that attention sees ([`InAttention`]), or nothing.

use harness_core::config::{ModelConfig, Positions as Form};
use tch::{Device, Kind, Tensor};

use super::mask::{self, Packing};
use super::weights::Weights;

/// The longest wavelength of sinusoidal and rotary positions, over 2 pi (Vaswani et al. 2017, section 3.5).
const BASE: f64 = 10_000.0;

/// The positions of a model.
pub struct Positions {
    form: Form,
    learned: Option<Tensor>, // (context, C), float32
    heads: i64,
    head_width: i64,
    /// Positions that one attends to; 0 means all.
    window: i64,
    /// Attention cannot do with the word `causal` and needs the mask written out.
    written_out: bool,
}

/// What attention has to know of positions, for the sequences of one pass.
pub struct InAttention {
    /// Cosines and sines of the angles by which queries and keys are turned, each (T, D) or (B, 1, T, D).
    turn: Option<(Tensor, Tensor)>,
    /// What is added to the scores, minus infinity for what is not seen: (T, T), (H, T, T) or (B, 1 or H, T, T).
    mask: Option<Tensor>,
}

impl Positions {
    /// The form that the config names, with its table if it has one.
    pub fn new(config: &ModelConfig, weights: &Weights<'_>) -> Self {
        Positions {
            form: config.positions,
            learned: weights.find_float32("position_embedding"),
            heads: i64::from(config.heads),
            head_width: i64::from(config.width / config.heads),
            window: i64::from(config.attention_window),
            written_out: config.attention_soft_cap > 0.0,
        }
    }

    /// Adds the vectors of the positions to embedded tokens, (B, T, C).
    pub fn add_to(&self, tokens: Tensor, packing: Option<&Packing>) -> Tensor {
        let (_, t, c) = tokens.size3().expect("embedded tokens are (B, T, C)");
        let restarted = packing.and_then(Packing::places); // (B, T)
        match (self.form, &self.learned) {
            (Form::Learned, Some(table)) => match restarted {
                Some(places) => tokens + Tensor::embedding(table, places, -1, false, false), // (B, T, C)
                None => tokens + table.narrow(0, 0, t),                                      // (T, C)
            },
            (Form::Sinusoidal, _) => {
                let angles = angles(&places(t, restarted, tokens.device()), c); // (.., T, C / 2)
                // Sines in even channels, cosines in odd ones; tokens are scaled to be heard beside them.
                let waves = Tensor::stack(&[angles.sin(), angles.cos()], -1).flatten(-2, -1); // (.., T, C)
                tokens * (c as f64).sqrt() + waves
            }
            _ => tokens,
        }
    }

    /// What attention has to know for sequences of `t` tokens.
    pub fn in_attention(&self, t: i64, packing: Option<&Packing>, compute: Kind, device: Device) -> InAttention {
        let turn = (self.form == Form::Rotary).then(|| {
            let restarted = packing.and_then(Packing::places).map(|places| places.unsqueeze(1)); // (B, 1, T)
            let angles = angles(&places(t, restarted.as_ref(), device), self.head_width); // (.., T, D / 2)
            let angles = Tensor::cat(&[&angles, &angles], -1); // (.., T, D)
            (angles.cos().to_kind(compute), angles.sin().to_kind(compute))
        });
        let windowed = self.window > 0 && self.window < t;
        let plainly_causal = self.form != Form::Alibi && !windowed && packing.is_none() && !self.written_out;
        let mask = (!plainly_causal).then(|| {
            let distance = mask::distance(t, packing, device); // (.., T, T)
            let hidden = mask::hidden(&distance, self.window, packing); // (.., T, T)
            let bias = match self.form {
                Form::Alibi => alibi(self.heads, &distance), // (.., H, T, T)
                _ => Tensor::zeros([t, t], (Kind::Float, device)),
            };
            bias.masked_fill(&hidden, f64::NEG_INFINITY).to_kind(compute)
        });
        InAttention { turn, mask }
    }
}

/// Where each token stands: counted from the beginning of the sequence, (T), or as restarted.
fn places(t: i64, restarted: Option<&Tensor>, device: Device) -> Tensor {
    restarted.map_or_else(|| Tensor::arange(t, (Kind::Float, device)), |places| places.to_kind(Kind::Float))
}

impl InAttention {
    /// Turns queries or keys (B, H, T, D) by the angles of their positions (Su et al. 2021, equation 34): channel i
    /// of the first half and channel i of the second are the two coordinates.
    pub fn turn(&self, x: Tensor) -> Tensor {
        let Some((cos, sin)) = &self.turn else { return x };
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[-&halves[1], halves[0].shallow_clone()], -1); // (B, H, T, D)
        x * cos + turned * sin
    }

    /// What is added to the scores, if anything; without it attention is plainly causal.
    pub fn mask(&self) -> Option<&Tensor> {
        self.mask.as_ref()
    }
}

/// Position times frequency, (.., T, channels / 2): the frequencies fall geometrically from 1 to nearly 1 / [`BASE`].
fn angles(places: &Tensor, channels: i64) -> Tensor {
    let float = (Kind::Float, places.device());
    let exponents = Tensor::arange(channels / 2, float) * (-2.0 / channels as f64 * libm::log(BASE));
    places.unsqueeze(-1) * exponents.exp() // (.., T, channels / 2)
}

/// Press et al. 2022, section 3: each head subtracts its slope times the distance; the slopes of H heads are
/// 2^(-8 h / H) for h = 1..H. Distances (T, T) or (B, 1, T, T) to (.., H, T, T), of which the half that looks back is
/// used.
fn alibi(heads: i64, distance: &Tensor) -> Tensor {
    let float = (Kind::Float, distance.device());
    let slopes = ((Tensor::arange(heads, float) + 1.0) * (-8.0 / heads as f64 * libm::log(2.0))).exp(); // (H)
    slopes.view([heads, 1, 1]) * -distance // (.., H, T, T)
}
