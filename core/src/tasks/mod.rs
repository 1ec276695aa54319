//! What a score means, and the decision taken from it: one file a task.

pub(crate) mod decide;
pub(crate) mod points;
pub(crate) mod profile;
pub(crate) mod recommend;
pub(crate) mod risk;
pub(crate) mod tier;
