//! Decisions over a log of what another policy chose: judged ([`ope`], [`outcome`]), and learned ([`learn`]), with known
//! references ([`bandit`]) and a simulator of members who respond ([`respond`]).
//!
//! Rows of numbers in, figures and policies out; which column of a table means what is the program's business.

pub mod bandit;
pub mod learn;
pub mod net;
pub mod ope;
pub mod outcome;
pub mod respond;
