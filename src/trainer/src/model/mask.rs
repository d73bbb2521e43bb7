//! What attention does not see: later positions always; where the config has a window, positions further back than
//! it reaches (Beltagy et al. 2020, Longformer, section 3.1); and where the batch says so, other documents that were
//! packed into the same sequence (Raffel et al. 2020, T5, section 2.4, packs without; Dubey et al. 2024, Llama 3,
//! section 3.2, with this mask).

use tch::{Device, Kind, Tensor};

/// Which document each token of a pass belongs to.
pub struct Documents {
    /// Number of the document in its sequence, (B, T), int64.
    numbers: Tensor,
    /// Position counted from the beginning of the document, (B, T), int64, if positions restart.
    places: Option<Tensor>,
}

impl Documents {
    /// From token ids (B, T): every document begins with the separator, and a sequence may begin in the middle of
    /// one. With `restart`, positions are counted anew from each separator.
    pub fn of(tokens: &Tensor, separator: u32, restart: bool) -> Self {
        let begins = tokens.eq(i64::from(separator)); // (B, T)
        let numbers = begins.cumsum(1, Kind::Int64);
        let places = restart.then(|| {
            let (_, t) = tokens.size2().expect("token ids are (B, T)");
            let places = Tensor::arange(t, (Kind::Int64, tokens.device())); // (T)
            let (latest, _) = (&places * begins).cummax(1); // (B, T): where the document began
            places - latest
        });
        Documents { numbers, places }
    }

    /// Positions counted from the beginning of each document, (B, T), if they restart.
    pub fn places(&self) -> Option<&Tensor> {
        self.places.as_ref()
    }
}

/// How far a query (row) is after a key (column): (T, T), float32.
pub fn distance(t: i64, device: Device) -> Tensor {
    let places = Tensor::arange(t, (Kind::Float, device));
    places.unsqueeze(1) - places.unsqueeze(0)
}

/// Whether a query (row) must not see a key (column): (T, T), or (B, 1, T, T) with documents. `window` counts the
/// query itself; 0 means no window.
pub fn hidden(t: i64, window: i64, documents: Option<&Documents>, device: Device) -> Tensor {
    let distance = distance(t, device);
    let mut hidden = distance.lt(0.0); // (T, T)
    if window > 0 {
        hidden = hidden.logical_or(&distance.ge(window as f64));
    }
    match documents {
        Some(Documents { numbers, .. }) => {
            let others = numbers.unsqueeze(2).ne_tensor(&numbers.unsqueeze(1)); // (B, T, T)
            hidden.logical_or(&others.unsqueeze(1)) // (B, 1, T, T)
        }
        None => hidden,
    }
}
