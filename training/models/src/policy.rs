//! Decisions over a log of what another policy chose: judged ([`ope`], [`outcome`]), and learned ([`learn`]), with known references ([`bandit`]).
//!
//! Rows of numbers in, figures and policies out; which column of a table means what is the program's business.

pub mod bandit;
pub mod learn;
pub mod net;
pub mod ope;
pub mod outcome;
