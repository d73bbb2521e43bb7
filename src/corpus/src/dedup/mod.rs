//! What is left out because of something else: `exact` and `near` duplicates, parts that `repeats` finds, documents that
//! hold an item of a task (`contamination`), training documents that repeat a held-out one. `mark` searches and marks.

pub(crate) mod contamination;
mod exact;
mod mark;
pub mod near;
mod repeats;

pub(crate) use exact::without_exact_duplicates;
pub(crate) use mark::{Leaks, leaks, mark_contaminated, mark_near_duplicates};
pub(crate) use repeats::without_repeats;
