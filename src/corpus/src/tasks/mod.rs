//! Validation tasks: recipes in `experiments/tasks/`, the files they name, and the requests of token ids that the
//! trainer scores. One recipe gives one task or a group of subtasks; each subtask is a file of requests of its own.
//!
//! In the order of the flow: `recipe` is a recipe as written and `checked` one that can be used; `records` reads a file,
//! `templates` and `items` make items of text of its records (`pattern` and the grammar generate them instead), `requests`
//! cuts them into token ids, `prepare` keeps the result. `check` looks for what is wrong with a task before it is scored;
//! `draft` begins a recipe for a data file, by the shapes in which public data sets come (`shapes`).

mod check;
mod checked;
mod draft;
mod items;
mod pattern;
mod prepare;
mod recipe;
mod records;
mod requests;
mod shapes;
mod templates;

pub use check::{Blind, SubtaskCheck, check, encoded};
pub use checked::TaskRecipe;
pub use draft::{DataFile, DraftError, draft};
pub use pattern::{Pattern, PatternKind};
pub use prepare::load_items;
pub(crate) use prepare::load_items_to_look_for;
pub use prepare::{PreparedTask, PreparedTasks, TaskError, prepare, undamaged};
pub use recipe::{ItemRule, RecordFormat, Subtask, TextRecords};
pub(crate) use recipe::{TaskFile, TaskText};

pub use crate::item::{Item, ItemsError};
