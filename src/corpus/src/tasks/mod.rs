//! Validation tasks: recipes in `experiments/tasks/`, the files they name, and the requests of token ids that the
//! trainer scores. One recipe gives one task or a group of subtasks; each subtask is a file of requests of its own.

//!
//! In the order of the flow: `records` reads a file, `templates` and `items` make items of text of its records (`pattern`
//! and the grammar generate them instead), `requests` cuts them into token ids, `prepare` keeps the result. `check` looks
//! for what is wrong with a task before it is scored, `draft` begins a recipe for a data file.

mod check;
mod draft;
mod items;
mod pattern;
mod prepare;
mod recipe;
mod records;
mod requests;
mod templates;

pub use crate::item::Item;
pub use check::{SubtaskCheck, check, encoded};
pub use draft::{DraftError, draft};
pub use items::ItemsError;
pub use pattern::{Pattern, PatternKind};
pub use prepare::load_items;
pub(crate) use prepare::load_items_to_look_for;
pub use prepare::{PreparedTask, PreparedTasks, TaskError, prepare};
pub use recipe::{ItemRule, RecordFormat, Subtask, TaskRecipe, TextRecords};
