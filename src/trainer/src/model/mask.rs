//! What attention does not see: later positions always; where the config has a window, positions further back than
//! it reaches (Beltagy et al. 2020, Longformer, section 3.1); and where the batch says so, other texts that lie in the
//! same sequence: documents packed one after another (Raffel et al. 2020, T5, section 2.4, packs without; Dubey et al.
//! 2024, Llama 3, section 3.2, with this mask), or, in evaluation, other continuations of one beginning.

use tch::{Device, Kind, Tensor};

/// How texts lie in the sequences of a pass.
pub struct Packing {
    /// Number of the text in its sequence, (B, T), int64; all texts of a sequence see what has the number [`STEM`].
    numbers: Tensor,
    /// Position counted from the beginning of the text, (B, T), int64, if positions restart.
    places: Option<Tensor>,
}

/// The number of tokens that all texts of a sequence begin with.
pub const STEM: i64 = 0;

impl Packing {
    /// Documents one after another, from token ids (B, T): each begins with the separator, and a sequence may begin in
    /// the middle of one. With `restart`, positions are counted anew from each separator.
    pub fn documents(tokens: &Tensor, separator: u32, restart: bool) -> Self {
        let begins = tokens.eq(i64::from(separator)); // (B, T)
        let numbers = begins.cumsum(1, Kind::Int64) + (STEM + 1);
        let places = restart.then(|| {
            let (_, t) = tokens.size2().expect("token ids are (B, T)");
            let places = Tensor::arange(t, (Kind::Int64, tokens.device())); // (T)
            let (latest, _) = (&places * begins).cummax(1); // (B, T): where the document began
            places - latest
        });
        Packing { numbers, places }
    }

    /// A stem and its continuations one after another: numbers and places of the tokens, both (B, T), int64. The stem is
    /// numbered [`STEM`]; each continuation has a number of its own and places that go on from the stem's.
    pub fn branches(numbers: Tensor, places: Tensor) -> Self {
        Packing { numbers, places: Some(places) }
    }

    /// Positions counted from the beginning of each text, (B, T), if they restart.
    pub fn places(&self) -> Option<&Tensor> {
        self.places.as_ref()
    }
}

/// The token before each of `tokens` (B, T) in its own text, (B, T), int64; -1 where a text or the sequence begins. A
/// continuation goes on from its stem.
pub fn previous(tokens: &Tensor, packing: Option<&Packing>) -> Tensor {
    let (_, t) = tokens.size2().expect("token ids are (B, T)");
    let first = Tensor::arange(t, (Kind::Int64, tokens.device())).eq(0); // (T)
    let before = tokens.roll([1], [1]);
    let before = match packing {
        Some(Packing { numbers, .. }) => {
            let stem = numbers.eq(STEM).sum_dim_intlist([1i64].as_slice(), true, Kind::Int64); // (B, 1): its tokens
            let last = tokens.gather(1, &(&stem - 1).clamp_min(0), false).masked_fill(&stem.eq(0), -1); // (B, 1)
            let goes_on = numbers.eq_tensor(&numbers.roll([1], [1])); // (B, T)
            before.where_self(&goes_on, &last)
        }
        None => before,
    };
    before.masked_fill(&first, -1)
}

/// How far a query (row) is after a key (column): (T, T), or (B, 1, T, T) where positions restart; float32. Between
/// texts that do not see each other it means nothing.
pub fn distance(t: i64, packing: Option<&Packing>, device: Device) -> Tensor {
    let places = match packing.and_then(Packing::places) {
        Some(places) => places.unsqueeze(1).to_kind(Kind::Float), // (B, 1, T)
        None => Tensor::arange(t, (Kind::Float, device)),         // (T)
    };
    places.unsqueeze(-1) - places.unsqueeze(-2)
}

/// Whether a query (row) must not see a key (column), given their [`distance`]: (T, T), or (B, 1, T, T) with a
/// packing. `window` counts the query itself; 0 means no window.
pub fn hidden(distance: &Tensor, window: i64, packing: Option<&Packing>) -> Tensor {
    let mut hidden = distance.lt(0.0); // (.., T, T)
    if window > 0 {
        hidden = hidden.logical_or(&distance.ge(window as f64));
    }
    match packing {
        Some(Packing { numbers, .. }) => {
            let keys = numbers.unsqueeze(1); // (B, 1, T)
            let others = numbers.unsqueeze(2).ne_tensor(&keys).logical_and(&keys.ne(STEM)); // (B, T, T)
            hidden.logical_or(&others.unsqueeze(1)) // (B, 1, T, T)
        }
        None => hidden,
    }
}
