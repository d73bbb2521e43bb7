//! One program for all tests of the crate from outside, as in `tests/runner.rs` of the repository.

#[path = "../../../tests/common/hub.rs"]
mod hub;

mod cases {
    mod corpus;
    mod fetch;
    mod patterns;
    mod properties;
    mod real_data;
    mod tasks;
}
