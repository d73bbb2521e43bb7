//! Nothing: what counts are the features that `Cargo.toml` names.
