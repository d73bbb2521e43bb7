//! Studies as they are run: what their trials will take ([`cost`]), which process is at which ([`lease`]), and the running
//! itself ([`worker`]).

pub mod cost;
mod lease;
pub mod worker;
