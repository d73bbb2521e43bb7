//! What a forward pass shows of its inside: the pieces of the model hand over what they have at hand, and while
//! somebody [watches](watch) it is turned into a few numbers a place. Otherwise nothing is computed.
//!
//! The watch is kept by thread, not passed along, so that the pieces, which are there to be exchanged, need no
//! parameter for it. Numbers stay on the device until the pass is over: reading each would wait for the device.

use std::cell::RefCell;

use harness_core::scores::ActivationStatistics;
use tch::{Device, Kind, Tensor};

use crate::model::soft_capped;

/// A unit is silent if it never exceeds this share of its layer's root mean square.
const SILENT: f64 = 0.01;

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Watch {
    block: Option<usize>,
    places: Vec<Place>,
}

/// One place, with its numbers as tensors of shape ().
struct Place {
    name: String,
    numbers: [Option<Tensor>; 5],
}

const RMS: usize = 0;
const MAXIMUM: usize = 1;
const DEAD_SHARE: usize = 2;
const ENTROPY: usize = 3;
const LOGIT_SCALE: usize = 4;

/// Runs `body` and gives the statistics of each place that it passed, in the order of the computation.
pub fn watch(step: u64, body: impl FnOnce()) -> Vec<ActivationStatistics> {
    WATCH.with(|watch| *watch.borrow_mut() = Some(Watch::default()));
    tch::no_grad(body);
    let places = WATCH.with(|watch| watch.borrow_mut().take()).unwrap_or_default().places;
    let found: Vec<&Tensor> = places.iter().flat_map(|place| place.numbers.iter().flatten()).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let values = Tensor::stack(&found, 0).to_device(Device::Cpu);
    let mut values = Vec::<f64>::try_from(values).expect("a vector of float64").into_iter();
    let rows = places.iter().map(|place| {
        let mut number = |at: usize| place.numbers[at].as_ref().and_then(|_| values.next());
        ActivationStatistics {
            step,
            place: place.name.clone(),
            rms: number(RMS).unwrap_or(f64::NAN),
            maximum: number(MAXIMUM).unwrap_or(f64::NAN),
            dead_share: number(DEAD_SHARE),
            attention_entropy_nats: number(ENTROPY),
            logit_scale: number(LOGIT_SCALE),
        }
    });
    rows.collect()
}

/// What follows belongs to this block.
pub fn begin_block(index: usize) {
    with(|watch| watch.block = Some(index));
}

/// The output of a part of the block (`attention`, `feed_forward`), or with an empty name of the block itself.
pub fn output(part: &str, x: &Tensor) {
    with(|watch| {
        let block = watch.block.unwrap_or_default();
        let name = if part.is_empty() { format!("blocks.{block}") } else { format!("blocks.{block}.{part}") };
        watch.measure(name, x);
    });
}

/// The input of the first block.
pub fn embedding(x: &Tensor) {
    with(|watch| watch.measure("embedding".to_owned(), x));
}

/// The logits over the vocabulary, (.., V).
pub fn logits(x: &Tensor) {
    with(|watch| {
        watch.measure("head".to_owned(), x);
        let spread = x.to_kind(Kind::Float).std_dim(-1, false, false).mean(Kind::Double);
        watch.place("head".to_owned()).numbers[LOGIT_SCALE] = Some(spread);
    });
}

/// The inner units of a feed-forward layer after their activation, (B, T, F).
pub fn units(active: impl FnOnce() -> Tensor) {
    with(|watch| {
        let active = active().to_kind(Kind::Float).flatten(0, -2); // (N, F)
        let rms = active.square().mean(Kind::Double).sqrt();
        let silent = active.abs().amax([0], false).le_tensor(&(rms * SILENT)); // (F)
        watch.part("feed_forward").numbers[DEAD_SHARE] = Some(silent.to_kind(Kind::Float).mean(Kind::Double));
    });
}

/// Queries and keys, (B, H, T, D), as they are multiplied and scaled, with the mask that is added to their scores (none:
/// causal).
pub fn attention(query: &Tensor, key: &Tensor, mask: Option<&Tensor>, scale: f64, soft_cap: f64) {
    with(|watch| {
        let (_, _, t, _) = query.size4().expect("queries are (B, H, T, D)");
        let product = query.to_kind(Kind::Float).matmul(&key.to_kind(Kind::Float).transpose(2, 3));
        let scores = product * scale; // (B, H, T, T)
        let capped = soft_capped(scores.shallow_clone(), soft_cap);
        let (unseen, masked) = match mask {
            Some(mask) => (mask.eq(f64::NEG_INFINITY), &capped + mask.to_kind(Kind::Float)),
            None => {
                let unseen = Tensor::ones([t, t], (Kind::Bool, query.device())).triu(1);
                let masked = capped.masked_fill(&unseen, f64::NEG_INFINITY);
                (unseen, masked)
            }
        };
        let shares = masked.softmax(-1, Kind::Float); // (B, H, T, T)
        // 0 log 0 counts as 0.
        let entropy = -shares.xlogy(&shares).sum_dim_intlist([-1i64].as_slice(), false, Kind::Float);
        let largest = scores.masked_fill(&unseen, 0.0).abs().max().to_kind(Kind::Double);
        let place = watch.part("attention");
        place.numbers[ENTROPY] = Some(entropy.mean(Kind::Double));
        place.numbers[LOGIT_SCALE] = Some(largest);
    });
}

fn with(measure: impl FnOnce(&mut Watch)) {
    WATCH.with(|watch| {
        if let Some(watch) = watch.borrow_mut().as_mut() {
            measure(watch);
        }
    });
}

impl Watch {
    fn measure(&mut self, name: String, x: &Tensor) {
        // In float64, because squares of large float32 numbers are infinite.
        let x = x.to_kind(Kind::Double);
        let place = self.place(name);
        place.numbers[RMS] = Some(x.square().mean(Kind::Double).sqrt());
        place.numbers[MAXIMUM] = Some(x.abs().max());
    }

    fn part(&mut self, part: &str) -> &mut Place {
        let block = self.block.unwrap_or_default();
        self.place(format!("blocks.{block}.{part}"))
    }

    fn place(&mut self, name: String) -> &mut Place {
        let at = self.places.iter().position(|place| place.name == name).unwrap_or_else(|| {
            self.places.push(Place { name, numbers: Default::default() });
            self.places.len() - 1
        });
        &mut self.places[at]
    }
}
