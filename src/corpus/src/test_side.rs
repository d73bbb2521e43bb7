//! The test side of a corpus as a task of documents: held out from every decision, to be scored once.

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::scores::to_json_lines;
use harness_core::shards::Shard;
use harness_core::task_kind::{Kind, Metric, TEST_SIDE};

use crate::error::CorpusError;
use crate::prepared::PreparedCorpus;
use crate::store::Store;
use crate::tasks::{ItemRule, RecordFormat, Subtask, TaskFile, TaskRecipe, TaskText};
use crate::unpack::Packing;

/// Its recipe, with its text taken into the store; none where the corpus has no test side.
pub fn test_side(corpus: &PreparedCorpus, store: &Store) -> Result<Option<TaskRecipe>, CorpusError> {
    let (manifest, tokenizer) = (corpus.manifest(), corpus.tokenizer()?);
    let mut records = Vec::new();
    for path in corpus.test_shards() {
        let shard = Shard::open(&path)?;
        for document in shard.documents() {
            // The separator before it is no text.
            let mut tokens = vec![0; document.tokens.saturating_sub(1) as usize];
            shard.copy_tokens(document.first_token + 1, &mut tokens);
            let text = tokenizer.decode(&tokens.iter().map(|&token| token as u32).collect::<Vec<_>>())?;
            records.push(serde_json::json!({ "text": text }));
        }
    }
    if records.is_empty() {
        return Ok(None);
    }
    let content = to_json_lines(&records);
    let sha256 = Digest::of(&content);
    files::write(&store.download(&sha256), &content)?;
    let file = TaskFile { url: None, path: None, sha256, bytes: content.len() as u64, packing: Packing::None };
    let items = ItemRule { choices: vec!["{{ text }}".to_owned()], ..ItemRule::of(RecordFormat::Jsonl) };
    Ok(Some(TaskRecipe::made(
        TEST_SIDE,
        TaskText {
            title: format!("Test side of {}", manifest.title),
            description: "What the corpus holds out from training and from every decision.".to_owned(),
            version: 1,
            licence: manifest.licence.clone(),
            citation: manifest.citation.clone(),
            limitations: manifest.limitations.clone(),
            kind: Kind::Documents,
            metric: Metric::BitsPerByte,
            chance: 0.0,
            unconditional: false,
            stride: 0,
            items: Some(items),
            subtasks: vec![Subtask { file: Some(file), ..Subtask::default() }],
        },
    )))
}
