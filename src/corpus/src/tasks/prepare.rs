//! Makes the request files of a task, once for each tokenizer and limit.

use std::path::{Path, PathBuf};

use harness_core::digest::Digest;
use harness_core::files::{self, FileError};
use harness_core::scores::to_json_lines;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::checked::TaskRecipe;
use super::items::usable_items;
use super::recipe::Subtask;
use super::requests::{Asked, RequestError, requests};
use crate::grammar::{self, probe};
use crate::item::{Item, ItemsError};
use crate::progress::{Progress, Unit};
use crate::store::{Store, key};
use crate::tokenize::{Encoder, Tokenizer, TokenizerError};
use harness_core::corpus_manifest::ListedFile;
use harness_core::task_kind::{Kind, Metric};

/// Raised when a change of code changes which items the same recipe and files give.
const ITEMS_VERSION: u32 = 2;

/// Why a task could not be prepared or used.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The tokenizer refused.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A record cannot be used.
    #[error(transparent)]
    Items(#[from] ItemsError),
    /// A file of the recipe is not in the store.
    #[error("`{id}` is not in the store\nhint: fetch it with `harness data fetch {task}`")]
    NotFetched {
        /// The recipe.
        task: String,
        /// The subtask.
        id: String,
    },
    /// A file of a prepared task is not as recorded.
    #[error("`{}` is damaged: {problem}\nhint: remove its folder; it is made again by the next run", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<RequestError> for TaskError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Tokenizer(error) => error.into(),
            RequestError::Item(error) => error.into(),
        }
    }
}

/// One subtask, ready to be scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedTask {
    /// `blimp.adjunct_island`; also the name of its score file.
    pub id: String,
    /// The recipe: `blimp`.
    pub group: String,
    /// Title of the recipe.
    pub title: String,
    /// The linguistic phenomenon, where there is one.
    pub phenomenon: String,
    /// The field of linguistics it belongs to, where there is one.
    pub field: String,
    /// Version of the recipe.
    pub version: u32,
    /// What an item asks.
    pub kind: Kind,
    /// Which number is quoted.
    pub metric: Metric,
    /// What guessing gives.
    pub chance: f64,
    /// For documents: tokens predicted in each window after the first, 0 for the context length.
    pub rolling_stride: Option<u32>,
    /// Items to be scored.
    pub items: u64,
    /// Items there are, without the limit.
    pub items_available: u64,
    /// The request file, relative to the folder of the task.
    pub requests: ListedFile,
    /// The same items as text, relative to the folder of the task.
    pub texts: ListedFile,
    /// Digest of the data: of the file, and of the answers where they are in a file of their own, or of the
    /// generated items.
    pub data_sha256: Vec<Digest>,
    /// Licence of the data.
    pub licence: String,
    /// How to cite it.
    pub citation: String,
}

/// The subtasks of one recipe, with the folder that holds their files.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedTasks {
    folder: PathBuf,
    root: Digest,
    tasks: Vec<PreparedTask>,
}

impl PreparedTasks {
    /// The subtasks in the order of the recipe.
    pub fn tasks(&self) -> &[PreparedTask] {
        &self.tasks
    }

    /// The folder of their files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Digest of `task.json`, which stands for the whole.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Where the requests of a subtask are.
    pub fn requests_path(&self, task: &PreparedTask) -> PathBuf {
        self.folder.join(&task.requests.path)
    }

    /// Where the texts of a subtask's items are: one [`Item`] as JSON a line, in the order of the requests.
    pub fn texts_path(&self, task: &PreparedTask) -> PathBuf {
        self.folder.join(&task.texts.path)
    }

    /// Digests every file again. The error names the first that differs.
    pub fn verify(&self) -> Result<(), TaskError> {
        for file in self.tasks.iter().flat_map(|task| [&task.requests, &task.texts]) {
            if let Some(problem) = file.damage(&self.folder) {
                return Err(TaskError::Damaged { path: self.folder.join(&file.path), problem });
            }
        }
        Ok(())
    }

    fn open(folder: &Path) -> Result<Self, TaskError> {
        let path = folder.join("task.json");
        let json = files::read(&path)?;
        let problem = |e: serde_json::Error| TaskError::Damaged { path, problem: e.to_string() };
        let tasks = serde_json::from_slice(&json).map_err(problem)?;
        Ok(PreparedTasks { folder: folder.to_owned(), root: Digest::of(&json), tasks })
    }
}

/// The folder of a task for a tokenizer and a limit, and the key that names it.
fn folder_of(recipe: &TaskRecipe, tokenizer: &Tokenizer, items_per_task: u64, store: &Store) -> (PathBuf, Digest) {
    let tokens = (tokenizer.sha256(), tokenizer.separator());
    let depends_on = (recipe.name(), &**recipe, tokens, items_per_task, grammar::VERSION, ITEMS_VERSION);
    let key = key("task", &depends_on);
    (store.tasks(recipe.name()).join(key.short()), key)
}

/// The prepared task, if it is there and every file is as it says.
pub fn undamaged(
    recipe: &TaskRecipe,
    tokenizer: &Tokenizer,
    items_per_task: u64,
    store: &Store,
) -> Option<PreparedTasks> {
    let (folder, _) = folder_of(recipe, tokenizer, items_per_task, store);
    PreparedTasks::open(&folder).ok().filter(|prepared| prepared.verify().is_ok())
}

/// Prepares a task for a tokenizer. With a limit above 0, at most so many items of each subtask are taken, spread
/// evenly over it. Does nothing if that was done before.
pub fn prepare(
    recipe: &TaskRecipe,
    tokenizer: &Tokenizer,
    items_per_task: u64,
    store: &Store,
    progress: &mut dyn Progress,
) -> Result<PreparedTasks, TaskError> {
    let found = || undamaged(recipe, tokenizer, items_per_task, store);
    if let Some(prepared) = found() {
        return Ok(prepared);
    }
    let (folder, key) = folder_of(recipe, tokenizer, items_per_task, store);
    let _lock = store.lock(&format!("task-{}-{}", recipe.name(), key.short()), progress)?;
    if let Some(prepared) = found() {
        return Ok(prepared);
    }
    let draft = store.draft()?;
    let draft_folder = draft.path("");
    progress.begin(&format!("task {}", recipe.name()), None, Unit::Items);
    let mut tasks = Vec::new();
    for subtask in &recipe.subtasks {
        let id = recipe.id(subtask);
        let (all, data_sha256) = load_items(recipe, subtask, store)?;
        let chosen: Vec<&Item> = spread(all.len(), items_per_task).map(|at| &all[at]).collect();
        // Compared with the reference on one item in twenty.
        let texts = chosen.iter().step_by(20).filter_map(|item| item.texts().nth(item.gold));
        let encoder = Encoder::checked_on(tokenizer, &texts.collect::<Vec<_>>())?;
        let asked = Asked { kind: recipe.kind, unconditional: recipe.scores_unconditionally() };
        let encoded = chosen.par_iter().enumerate().map(|(index, item)| requests(&id, index, item, asked, &encoder));
        let lines = encoded.collect::<Result<Vec<_>, _>>()?.concat();
        let (requests_name, texts_name) = (format!("{id}.requests.jsonl"), format!("{id}.items.jsonl"));
        files::write(&draft.path(&requests_name), &to_json_lines(&lines))?;
        files::write(&draft.path(&texts_name), &to_json_lines(chosen.iter().copied()))?;
        tasks.push(PreparedTask {
            id,
            group: recipe.name().to_owned(),
            title: recipe.title.clone(),
            phenomenon: subtask.phenomenon.clone(),
            field: subtask.field.clone(),
            version: recipe.version,
            kind: recipe.kind,
            metric: recipe.metric,
            chance: recipe.chance,
            rolling_stride: (recipe.kind == Kind::Documents).then_some(recipe.stride),
            items: chosen.len() as u64,
            items_available: all.len() as u64,
            requests: ListedFile::of(&draft_folder, &requests_name)?,
            texts: ListedFile::of(&draft_folder, &texts_name)?,
            data_sha256,
            licence: recipe.licence.clone(),
            citation: recipe.citation.clone(),
        });
        progress.advance(chosen.len() as u64);
    }
    progress.end();
    let mut json = serde_json::to_vec_pretty(&tasks).expect("plain structs serialize to memory");
    json.push(b'\n');
    files::write(&draft.path("task.json"), &json)?;
    draft.publish(&folder, store)?;
    PreparedTasks::open(&folder)
}

/// `limit` indices spread evenly over `count`, ascending: `floor(k * count / limit)`. All of them if `limit` is 0.
fn spread(count: usize, limit: u64) -> impl Iterator<Item = usize> {
    let taken = if limit == 0 { count } else { count.min(usize::try_from(limit).unwrap_or(usize::MAX)) };
    (0..taken).map(move |k| (k as u128 * count as u128 / taken as u128) as usize)
}

/// The items of a subtask, and the digests of what they came from.
pub fn load_items(
    recipe: &TaskRecipe,
    subtask: &Subtask,
    store: &Store,
) -> Result<(Vec<Item>, Vec<Digest>), TaskError> {
    let found = load_usable_items(recipe, subtask, store)?;
    found.unusable.into_iter().next().map_or(Ok((found.items, found.data_sha256)), |error| Err(error.into()))
}

/// The items of a subtask with the words of their records alone, for a search in a corpus: no text holds the words of a
/// recipe's templates.
pub(crate) fn load_items_to_look_for(
    recipe: &TaskRecipe,
    subtask: &Subtask,
    store: &Store,
) -> Result<Vec<Item>, TaskError> {
    // A template can need its words, to have a last one for example.
    let (items, _) =
        load_items(&recipe.without_template_words(), subtask, store).or_else(|_| load_items(recipe, subtask, store))?;
    Ok(items)
}

/// What was made of the records of a subtask.
pub(super) struct Usable {
    pub items: Vec<Item>,
    /// Records that cannot be used.
    pub unusable: Vec<ItemsError>,
    /// Digests of what the items came from.
    pub data_sha256: Vec<Digest>,
}

impl Usable {
    fn generated(mut items: Vec<Item>, kind: Kind) -> Self {
        if kind == Kind::LastWord {
            // Nothing to choose from: the right word alone is asked for.
            for item in &mut items {
                item.choices = vec![item.choices.swap_remove(item.gold)];
                item.gold = 0;
            }
        }
        let data_sha256 = vec![Digest::of(&to_json_lines(&items))];
        Usable { items, unusable: Vec::new(), data_sha256 }
    }
}

/// The items of a subtask as far as its records can be used.
pub(super) fn load_usable_items(recipe: &TaskRecipe, subtask: &Subtask, store: &Store) -> Result<Usable, TaskError> {
    let id = recipe.id(subtask);
    if let Some(generate) = &subtask.generate {
        return Ok(Usable::generated(probe(generate.probe, generate.seed, generate.items), recipe.kind));
    }
    if let Some(pattern) = &subtask.pattern {
        return Ok(Usable::generated(pattern.make(&id)?, recipe.kind));
    }
    let text = |sha256: &Digest| -> Result<String, TaskError> {
        let path = store.download(sha256);
        if !files::is_file(&path) || Digest::of_file(&path)? != *sha256 {
            return Err(TaskError::NotFetched { task: recipe.name().to_owned(), id: id.clone() });
        }
        Ok(files::read_to_string(&path)?)
    };
    let (Some(file), Some(rule)) = (&subtask.file, recipe.rule(subtask)) else {
        return Err(TaskError::NotFetched { task: recipe.name().to_owned(), id });
    };
    let answers = subtask.answers.as_ref().map(|file| text(&file.sha256)).transpose()?;
    let (items, unusable) = usable_items(&id, recipe.kind, rule, &text(&file.sha256)?, answers.as_deref())?;
    let digests = [Some(file.sha256), subtask.answers.as_ref().map(|file| file.sha256)];
    Ok(Usable { items, unusable, data_sha256: digests.into_iter().flatten().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_takes_items_from_all_over() {
        assert_eq!(spread(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(spread(3, 0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(3, 10).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(0, 10).count(), 0);
    }
}
