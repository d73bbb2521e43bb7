//! The kinds of figures that findings point to, by the names that `harness plot` takes.

/// Training loss.
pub const TRAINING_LOSS: &str = "training_loss";
/// Validation bits per byte.
pub const VALIDATION: &str = "validation";
/// Task scores.
pub const TASKS: &str = "tasks";
/// Learning rate and gradient norm.
pub const OPTIMISATION: &str = "optimisation";
/// Norms of tensors.
pub const TENSOR_NORMS: &str = "tensor_norms";
/// Statistics of activations.
pub const ACTIVATIONS: &str = "activations";
/// The loss by slices.
pub const SLICES: &str = "slices";
/// Calibration.
pub const CALIBRATION: &str = "calibration";
/// Tokens per second.
pub const THROUGHPUT: &str = "throughput";
