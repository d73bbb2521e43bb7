//! The rules of a recipe about documents and their parts that are left out because of others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What counts as a near duplicate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NearRule {
    /// What n-grams are made of.
    pub unit: NearUnit,
    /// Units in an n-gram. A shorter document is one n-gram.
    pub length: u32,
    /// Jaccard similarity of the two sets of n-grams from which on the later document is left out.
    pub jaccard: f64,
    /// Length of a signature: more find more surely, and cost more.
    pub permutations: u32,
}

impl Default for NearRule {
    fn default() -> Self {
        NearRule { unit: NearUnit::Words, length: 5, jaccard: 0.8, permutations: 128 }
    }
}

/// What n-grams are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NearUnit {
    /// Runs of letters and digits, in lower case; of scripts without blanks between words, single characters.
    #[default]
    Words,
    /// Characters, in lower case; a run of white space is one blank.
    Characters,
}

impl NearUnit {
    /// Its name in recipes and manifests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            NearUnit::Words => "words",
            NearUnit::Characters => "characters",
        }
    }
}

impl NearRule {
    /// Refuses values that make no sense, with the key they belong to.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        match self {
            NearRule { length: 0, .. } => Err(("length", "must be at least 1")),
            NearRule { jaccard, .. } if !(*jaccard >= 0.3 && *jaccard <= 1.0) => {
                Err(("jaccard", "must be at least 0.3 and at most 1"))
            }
            NearRule { permutations, .. } if !(16..=4096).contains(permutations) => {
                Err(("permutations", "must be between 16 and 4096"))
            }
            _ => Ok(()),
        }
    }
}

/// Which repeated paragraphs are cut: text between blank lines, without the white space around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParagraphRule {
    /// A shorter paragraph can be repeated: "Chapter 1", "Yes."
    pub characters_at_least: u32,
}

impl Default for ParagraphRule {
    fn default() -> Self {
        ParagraphRule { characters_at_least: 40 }
    }
}

impl ParagraphRule {
    /// Refuses values that make no sense, with the key they belong to.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.characters_at_least == 0 { Err(("characters_at_least", "must be at least 1")) } else { Ok(()) }
    }
}

/// Which repeated passages are cut: any bytes in a row, wherever they begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PassageRule {
    /// A shorter passage can be repeated. 200 bytes are about the 50 tokens of Lee et al. 2022.
    pub bytes_at_least: u32,
}

impl Default for PassageRule {
    fn default() -> Self {
        PassageRule { bytes_at_least: 200 }
    }
}

impl PassageRule {
    /// Refuses values that make no sense, with the key they belong to.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.bytes_at_least < 32 {
            Err(("bytes_at_least", "must be at least 32: shorter ones are turns of phrase"))
        } else {
            Ok(())
        }
    }
}

/// The tasks that must not be in a corpus, and what is done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decontaminate {
    /// Task recipes.
    pub tasks: Vec<String>,
    /// Words of an n-gram.
    #[serde(default = "default_words")]
    pub words: u32,
    /// Fewest words of an item that is looked for.
    #[serde(default = "default_least")]
    pub words_at_least: u32,
    /// What is done with a document that holds an item.
    #[serde(default)]
    pub action: ContaminationAction,
}

impl Default for Decontaminate {
    fn default() -> Self {
        Decontaminate {
            tasks: Vec::new(),
            words: default_words(),
            words_at_least: default_least(),
            action: ContaminationAction::default(),
        }
    }
}

fn default_words() -> u32 {
    13
}

fn default_least() -> u32 {
    8
}

/// What is done with a document that holds an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContaminationAction {
    /// It is left out.
    #[default]
    LeaveOut,
    /// It is counted and kept.
    Report,
}
