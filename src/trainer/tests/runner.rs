//! One program for all tests of the crate from outside, as in `tests/runner.rs` of the repository.

mod support;

mod cases {
    mod parity;
    mod ranks;
    mod run;
    mod training_loop;
}
