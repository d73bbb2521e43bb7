//! One program for all tests of the crate from outside, as in `tests/runner.rs` of the repository.

#[path = "../../../tests/common/hub.rs"]
mod hub;
#[path = "../../../tests/common/skip.rs"]
mod skip;

mod cases {
    mod corpus;
    mod fetch;
    mod hard_inputs;
    mod patterns;
    mod properties;
    mod real_data;
    mod tasks;
}
