//! Studies as they are run: what their trials will take ([`cost`]), and the running itself ([`worker`]).

pub mod cost;
pub mod worker;
