//! Policies over logged decisions: learned ([`learn`]), known references ([`bandit`]).

pub mod bandit;
pub mod learn;
pub mod net;
