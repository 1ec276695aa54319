//! What a decision is worth: policies that choose one of several arms, judged by a log of what another policy chose.
//!
//! Rows of numbers in, figures out; which column of a table means what is the program's business.

pub mod ope;
pub mod outcome;
