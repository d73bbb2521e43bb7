//! Validation tasks: recipes in `experiments/tasks/`, the files they name, and the requests of token ids that the
//! trainer scores. One recipe gives one task or a group of subtasks; each subtask is a file of requests of its own.

mod items;
mod prepare;
mod recipe;
mod requests;

pub use items::{Item, ItemsError};
pub(crate) use prepare::load_items;
pub use prepare::{PreparedTask, PreparedTasks, TaskError, prepare};
pub use recipe::{Kind, Metric, Subtask, TaskRecipe};
