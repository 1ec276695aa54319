//! Decisions and what comes of them: which offer a member gets.

pub mod respond;
