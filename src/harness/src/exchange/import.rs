//! A folder of `transformers` as an experiment: its weights under our names in the store, its tokenizer as that of a
//! corpus, its choices as a config. From there on it is run, evaluated and recorded like any other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_core::config::ImportedConfig;
use harness_core::hugging_face::{config, tensors};
use harness_core::names::{ExperimentName, Project};
use harness_core::weights::{self, Tensors};
use harness_core::{Digest, files};
use harness_corpus::{Recipe, Store, Tokenizer, gpt2_tokenizer};
use serde_json::Value;
use toml::Table;

use super::ExchangeError;
use harness_record::load_config;

/// What to import, and under which name.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The folder of `transformers`.
    pub folder: &'a Path,
    /// The experiment to be made, and the corpus.
    pub name: &'a ExperimentName,
    /// The corpus recipe whose validation text is to be scored, with the model's own tokenizer.
    pub corpus: &'a str,
    /// Task recipes.
    pub tasks: &'a [String],
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Class, digest of the weights, and files with their digests.
    pub config: ImportedConfig,
    /// The experiment was there already, with these weights; only the store was filled.
    pub known: bool,
    /// The files to be committed; none if the experiment was there already.
    pub written: Vec<PathBuf>,
}

/// Reads the folder and writes an experiment and a corpus recipe, or fills the store for an experiment of that name
/// which begins with the same weights.
pub fn import(project: &Project, request: &Request<'_>) -> Result<Imported, ExchangeError> {
    let mut source = Source { folder: request.folder, digests: BTreeMap::new() };
    let config_path = request.folder.join("config.json");
    let json = source.json("config.json")?;
    let described = config::read(&config_path, &json)?;
    let (architecture, model) = (described.architecture, &described.model);
    let theirs = source.weights()?;
    let ours = tensors::from_hugging_face(architecture, model, described.vocabulary_size, theirs)?;
    let tokenizer = source.tokenizer(&json)?;
    if tokenizer.vocabulary_size() != described.vocabulary_size {
        let problem = format!(
            "its embedding has {} rows, but its tokenizer has {} ids",
            described.vocabulary_size,
            tokenizer.vocabulary_size()
        );
        return Err(source.refuse(problem, "remove the rows without a token, or add the missing tokens"));
    }
    let separator = source.separator(&json, tokenizer.json())?;
    let imported = ImportedConfig {
        class: architecture.class().to_owned(),
        weights_sha256: weights::digest_of(&ours),
        files: source.digests,
    };

    let experiment = project.experiment(request.name).join("experiment.toml");
    let known = files::is_file(&experiment);
    if known && load_config(project, request.name)?.experiment.imported.as_ref() != Some(&imported) {
        return Err(ExchangeError::NameTaken { name: request.name.clone() });
    }
    weights::write(&project.imported_weights(&imported.weights_sha256), &ours)?;
    files::write(&Store::of(project).download(&tokenizer.sha256()), tokenizer.json())?;
    if known {
        return Ok(Imported { config: imported, known, written: Vec::new() });
    }

    let recipe = project.corpus_recipe(request.name.as_str());
    files::write(&recipe, corpus(project, request, &tokenizer, &separator)?.as_bytes())?;
    // A recipe that cannot be read is better known now than at the first run.
    Recipe::load(project, request.name.as_str())?;
    let text = experiment_toml(request, model, &imported);
    files::write(&experiment, text.as_bytes())?;
    load_config(project, request.name)?;
    Ok(Imported { config: imported, known, written: vec![experiment, recipe] })
}

/// The folder, and the digests of what was read from it.
struct Source<'a> {
    folder: &'a Path,
    digests: BTreeMap<String, Digest>,
}

impl Source<'_> {
    fn refuse(&self, problem: String, hint: &str) -> ExchangeError {
        ExchangeError::Unusable { folder: self.folder.to_owned(), problem, hint: hint.to_owned() }
    }

    fn has(&self, name: &str) -> bool {
        files::is_file(&self.folder.join(name))
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, ExchangeError> {
        let bytes = files::read(&self.folder.join(name))?;
        self.digests.insert(name.to_owned(), Digest::of(&bytes));
        Ok(bytes)
    }

    fn json(&mut self, name: &str) -> Result<Value, ExchangeError> {
        let bytes = self.read(name)?;
        serde_json::from_slice(&bytes).map_err(|e| self.refuse(format!("`{name}` is not JSON: {e}"), "save it again"))
    }

    /// All tensors, from one file or from the several that an index names.
    fn weights(&mut self) -> Result<Tensors, ExchangeError> {
        const WHOLE: &str = "model.safetensors";
        const INDEX: &str = "model.safetensors.index.json";
        let mut names = vec![WHOLE.to_owned()];
        if !self.has(WHOLE) {
            if !self.has(INDEX) {
                let hint = "in Python: `AutoModelForCausalLM.from_pretrained(...).save_pretrained(FOLDER)` writes it";
                return Err(self.refuse(format!("it holds neither `{WHOLE}` nor `{INDEX}`"), hint));
            }
            let index = self.json(INDEX)?;
            let files = index["weight_map"].as_object().into_iter().flat_map(|map| map.values());
            names = files.filter_map(Value::as_str).map(str::to_owned).collect();
            names.sort();
            names.dedup();
            if let Some(name) = names.iter().find(|name| !harness_core::names::is_inside(name)) {
                return Err(
                    self.refuse(format!("`{INDEX}` names `{name}`, which is outside the folder"), "save it again")
                );
            }
        }
        let mut tensors = Tensors::new();
        for name in names {
            let path = self.folder.join(&name);
            self.digests.insert(name, Digest::of_file(&path)?);
            tensors.append(&mut weights::read(&path, |_| true)?);
        }
        Ok(tensors)
    }

    fn tokenizer(&mut self, config: &Value) -> Result<Tokenizer, ExchangeError> {
        let json = if self.has("tokenizer.json") {
            self.read("tokenizer.json")?
        } else if self.has("vocab.json") && self.has("merges.txt") {
            let separator = String::from("<|endoftext|>");
            self.read("vocab.json")?;
            self.read("merges.txt")?;
            gpt2_tokenizer(&self.folder.join("vocab.json"), &self.folder.join("merges.txt"), &separator)?
        } else {
            let hint = "in Python: `AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)` writes it";
            return Err(self.refuse("it holds no `tokenizer.json`".to_owned(), hint));
        };
        let separator = self.separator(config, &json)?;
        Ok(Tokenizer::from_json(&json, &separator)?)
    }

    /// The spelling of the token that begins a text; where the model has none, of that which ends it.
    fn separator(&self, config: &Value, tokenizer: &[u8]) -> Result<String, ExchangeError> {
        let tokenizer: Value = serde_json::from_slice(tokenizer).unwrap_or_default();
        let id = ["bos_token_id", "eos_token_id"].iter().find_map(|key| config[key].as_u64());
        let spelled = |id: u64| {
            let added = tokenizer["added_tokens"].as_array()?.iter().find(|token| token["id"].as_u64() == Some(id));
            added.and_then(|token| token["content"].as_str()).map(str::to_owned)
        };
        id.and_then(spelled).ok_or_else(|| {
            let problem = "its config names no `bos_token_id` or `eos_token_id` that its tokenizer has".to_owned();
            self.refuse(
                problem,
                "harness puts this token before every document, and in place of an empty context in tasks",
            )
        })
    }
}

/// The recipe of a corpus with another tokenizer.
fn corpus(
    project: &Project,
    request: &Request<'_>,
    tokenizer: &Tokenizer,
    separator: &str,
) -> Result<String, ExchangeError> {
    Recipe::load(project, request.corpus)?;
    let text = files::read_to_string(&project.corpus_recipe(request.corpus))?;
    let mut recipe: Table = text.parse().expect("a recipe that was loaded is TOML");
    let title = recipe.get("title").and_then(toml::Value::as_str).unwrap_or(request.corpus);
    let title = format!("{title}, tokenizer of {}", request.name);
    recipe.insert("title".to_owned(), title.into());
    let mut file = Table::new();
    file.insert("sha256".to_owned(), tokenizer.sha256().to_string().into());
    file.insert("bytes".to_owned(), (tokenizer.json().len() as i64).into());
    let mut choice = Table::new();
    choice.insert("kind".to_owned(), "file".into());
    choice.insert("separator".to_owned(), separator.into());
    choice.insert("file".to_owned(), file.into());
    recipe.insert("tokenizer".to_owned(), choice.into());
    let recipe = toml::to_string(&recipe).expect("a table is TOML");
    Ok(format!(
        "# `{}` with the tokenizer of the imported model `{}`, so that its bits per byte are over the same text.\n{recipe}",
        request.corpus, request.name
    ))
}

fn experiment_toml(
    request: &Request<'_>,
    model: &harness_core::config::ModelConfig,
    imported: &ImportedConfig,
) -> String {
    let table = |value: &dyn Fn() -> Result<String, toml::ser::Error>| value().expect("plain values are TOML");
    let model = table(&|| toml::to_string(model));
    let nested: BTreeMap<&str, &ImportedConfig> = BTreeMap::from([("imported", imported)]);
    let imported = table(&|| toml::to_string(&nested));
    let tasks: Vec<String> = request.tasks.iter().map(|task| format!("{task:?}")).collect();
    format!(
        "title = \"{name}, imported\"\nquestion = \"What does a model reach that was trained elsewhere?\"\n\
         corpus = \"{name}\"\n\n[model]\n{model}\n# No step: the weights are evaluated as they are.\n[training]\nsteps = 0\n\n\
         [evaluation]\ntasks = [{tasks}]\n\n{imported}",
        name = request.name,
        tasks = tasks.join(", ")
    )
}
