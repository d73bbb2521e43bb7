//! `[imported]`: weights that another program trained, to be evaluated or trained on. Written by `harness import`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Where the initial weights come from, if not from the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedConfig {
    /// The class that held them, such as `GPT2LMHeadModel`.
    pub class: String,
    /// Digest of the weights under our names (see [`crate::weights`]); also the name of their file in the store.
    pub weights_sha256: Digest,
    /// The files they were read from, with their digests.
    pub files: BTreeMap<String, Digest>,
}
