//! The sources of a recipe: as written, where a pattern can stand for many files, and then file by file.

use super::hub::{Hub, compiled};
use super::lock::{ListedSource, LockedFile, Pattern};
use crate::remote::{Remote, is_address};
use crate::toml_text::TomlText;
use std::path::Path;

use harness_core::config::Wrong;
use harness_core::digest::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unpack::Packing;

/// A source as written: one file, known by its digest, or a pattern for many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceText {
    /// Its name in the manifest: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Its title, for people.
    #[serde(default)]
    pub title: String,
    /// Where it can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where it lies, from the folder of the project. Without `sha256` a pattern, of which `*` and `?` match within
    /// one part of a path, `**` over several, `[ab]` and `{a,b}` alternatives; the files it stands for are in the
    /// recipe's lock file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Files of a data set on the Hugging Face hub; which they are is in the recipe's lock file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
    /// Digest of its content without packing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Size of its content without packing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How its bytes are packed. That of the files of a pattern is seen from their first bytes.
    #[serde(default)]
    pub packing: Packing,
    /// Its licence, where it differs from the corpus's.
    #[serde(default)]
    pub licence: String,
    /// How to cite it, where it differs.
    #[serde(default)]
    pub citation: String,
    /// What its bytes are.
    #[serde(default)]
    pub format: Format,
    /// For `jsonl`, `csv` and `parquet`: the field or column with the text. In `jsonl` and `parquet` dots lead into
    /// nested objects.
    #[serde(default = "default_text_field")]
    pub text_field: String,
    /// How it is cut into documents, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<DocumentRule>,
}

/// One file of text, known by its digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name in the manifest; of a file of a pattern the pattern's, `/` and its path.
    pub name: String,
    /// The pattern's name, if one stands for it.
    pub pattern: Option<String>,
    /// Its title, for people.
    pub title: String,
    /// Where it can be had.
    pub url: Option<String>,
    /// Where it lies, from the folder of the project.
    pub path: Option<String>,
    /// Digest of its content without packing.
    pub sha256: Digest,
    /// Size of its content without packing.
    pub bytes: u64,
    /// How its bytes are packed.
    pub packing: Packing,
    /// Its licence, where it differs from the corpus's.
    pub licence: String,
    /// How to cite it, where it differs.
    pub citation: String,
    /// What its bytes are.
    pub format: Format,
    /// The field or column with the text.
    pub text_field: String,
    /// How it is cut into documents, where it differs.
    pub documents: Option<DocumentRule>,
}

impl Source {
    /// The file to fetch, for a project in the folder `root`.
    pub fn remote(&self, root: &Path) -> Remote {
        Remote {
            name: self.name.clone(),
            url: self.url.clone(),
            path: self.path.as_ref().map(|path| root.join(path)),
            sha256: self.sha256,
            bytes: self.bytes,
            packing: self.packing,
        }
    }

    /// The name by which the recipe speaks of it: its own, or that of its pattern.
    pub fn group(&self) -> &str {
        self.pattern.as_ref().unwrap_or(&self.name)
    }
}

impl SourceText {
    /// What stands for its files, if it is not one file known by its digest.
    pub fn pattern(&self) -> Option<Pattern> {
        match (&self.hub, &self.path, self.sha256) {
            (Some(hub), ..) => Some(Pattern::Hub(hub.clone())),
            (None, Some(path), None) => Some(Pattern::Path(path.clone())),
            _ => None,
        }
    }

    /// The file that it names with its digest; `None` for a pattern.
    pub(super) fn as_file(&self) -> Option<Source> {
        let (sha256, bytes) = (self.sha256?, self.bytes?);
        Some(Source { url: self.url.clone(), path: self.path.clone(), ..self.source(sha256, bytes, self.packing) })
    }

    /// The files that its pattern stands for.
    pub(super) fn files<'a>(&'a self, listed: &'a ListedSource) -> impl Iterator<Item = Source> + 'a {
        let of = |file: &LockedFile| {
            let url =
                self.hub.as_ref().zip(listed.commit.as_ref()).map(|(hub, commit)| hub.address(commit, &file.path));
            Source {
                name: format!("{}/{}", self.name, file.path),
                pattern: Some(self.name.clone()),
                path: url.is_none().then(|| file.path.clone()),
                url,
                ..self.source(file.sha256, file.bytes, file.packing)
            }
        };
        listed.files.iter().map(of)
    }

    /// Whether it says where its bytes come from, in one way. `key` is the full name of a field.
    pub(super) fn check(&self, text: &TomlText, key: &dyn Fn(&str) -> String) -> Result<(), Box<Wrong>> {
        let wrong = |field: &str, problem: &str, hint: &str| Err(text.wrong(&key(field), problem, Some(hint)));
        if let Some(url) = self.url.as_ref().filter(|url| !is_address(url)) {
            return Err(text.wrong(&key("url"), format!("`{url}` is not an http or https address"), None));
        }
        if let Some(path) = &self.path {
            let outside = path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | ".."));
            if outside {
                let hint =
                    "paths begin at the project's folder; a link in it can lead elsewhere (ln -s /data/web data)";
                return wrong("path", "leads out of the project, or has empty parts", hint);
            }
        }
        match (&self.hub, self.sha256, self.bytes) {
            (Some(hub), None, None) => {
                if self.url.is_some() || self.path.is_some() {
                    return wrong(
                        "hub",
                        "a source comes from the hub or from elsewhere, not both",
                        "remove url and path",
                    );
                }
                hub.check(text, key)?;
            }
            (Some(_), ..) => {
                return wrong("hub", "the digests of its files are in the lock file", "remove sha256 and bytes");
            }
            (None, Some(_), Some(_)) => return Ok(()),
            (None, None, None) if self.path.is_some() => {
                if self.url.is_some() {
                    return wrong(
                        "path",
                        "files of a pattern have no url of their own",
                        "add sha256 and bytes, or remove url",
                    );
                }
                let pattern = self.path.as_deref().unwrap_or_default();
                compiled(pattern).map_err(|problem| text.wrong(&key("path"), problem, None))?;
            }
            (None, Some(_), None) => return wrong("bytes", "is not stated", "add a line `bytes = ...`"),
            (None, None, _) if self.url.is_some() => return wrong("sha256", "is not stated", &text.how_to_pin()),
            (None, None, _) => {
                let hint =
                    "add `sha256 = \"...\"` and `bytes = ...`; a source with `path` or `hub` alone needs neither";
                return wrong("sha256", "is not stated", hint);
            }
        }
        if self.packing != Packing::None {
            let hint = "remove the line: the packing of each file is seen from its first bytes";
            return wrong("packing", "is not used with a pattern", hint);
        }
        Ok(())
    }

    fn source(&self, sha256: Digest, bytes: u64, packing: Packing) -> Source {
        Source {
            name: self.name.clone(),
            pattern: None,
            title: self.title.clone(),
            url: None,
            path: None,
            sha256,
            bytes,
            packing,
            licence: self.licence.clone(),
            citation: self.citation.clone(),
            format: self.format,
            text_field: self.text_field.clone(),
            documents: self.documents.clone(),
        }
    }
}

fn default_text_field() -> String {
    "text".to_owned()
}

/// What the bytes of a source are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// UTF-8 text.
    #[default]
    Text,
    /// UTF-8 text with Markdown marks; lines that begin with `#` are headings.
    Markdown,
    /// One JSON object a line, each a document.
    Jsonl,
    /// Comma-separated values with a header line, each row a document.
    Csv,
    /// Apache Parquet, each row a document. Pages may be plain or packed with Snappy, gzip or zstd.
    Parquet,
}

/// How a source is cut into documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DocumentRule {
    /// Where one document ends and the next begins.
    pub split: DocumentSplit,
    /// For `split = "separator"`: the text between two documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The text of a line that ends the head of a file; everything up to it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_ends_with: Option<String>,
    /// What is done with bytes that are not UTF-8.
    pub invalid_utf8: InvalidUtf8,
}

/// What is done with bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvalidUtf8 {
    /// The source is refused, with the line.
    #[default]
    Refuse,
    /// They become U+FFFD, and the lines are counted.
    Repair,
}

/// Where documents end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentSplit {
    /// A file is one document.
    #[default]
    File,
    /// A Markdown heading begins a document; one without text before the next heading joins it.
    Headings,
    /// A separator stands between documents.
    Separator,
    /// Blank lines stand between documents.
    BlankLines,
    /// Every line is a document.
    Lines,
}
