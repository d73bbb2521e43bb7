//! What the default model does without: [`multi_token`] predicts further tokens in training, [`observe`] measures the
//! activations of a pass, [`kernel`] tells which kernel attention takes, [`smear`] and [`bigram`] add to a token what came
//! before it.

pub mod bigram;
pub mod kernel;
pub mod multi_token;
pub mod observe;
pub mod smear;
