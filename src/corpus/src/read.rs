//! Cuts a source into documents, line by line and so in constant memory (but for the document at hand).
//!
//! A byte order mark is dropped and line ends become `\n`. Bytes that are not UTF-8 are refused with their place.

use std::io::{self, BufRead};

use crate::recipe::{DocumentRule, DocumentSplit};

/// Why a source could not be cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError<E> {
    #[error(transparent)]
    Io(io::Error),
    #[error("line {line} is not UTF-8 text")]
    NotUtf8 { line: u64 },
    #[error("there is no line `{0}`, which should end the head of the file")]
    NoHead(String),
    #[error(transparent)]
    Emit(E),
}

/// What was read apart from the documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadCounts {
    /// Bytes of the head that was left out, line ends included.
    pub head_bytes: u64,
}

/// Hands each document of the source to `emit`, in order. Documents without a visible character are not handed on.
pub(crate) fn each_document<E>(
    mut source: impl BufRead,
    rule: &DocumentRule,
    emit: impl FnMut(String) -> Result<(), E>,
) -> Result<ReadCounts, ReadError<E>> {
    let mut cutter = Cutter {
        rule,
        text: String::new(),
        has_body: false,
        emit,
    };
    let mut counts = ReadCounts::default();
    let mut in_head = rule.head_ends_with.is_some();
    let mut bytes = Vec::new();
    let mut line_number = 0;
    loop {
        bytes.clear();
        if source
            .read_until(b'\n', &mut bytes)
            .map_err(ReadError::Io)?
            == 0
        {
            break;
        }
        line_number += 1;
        let mut line =
            std::str::from_utf8(&bytes).map_err(|_| ReadError::NotUtf8 { line: line_number })?;
        if line_number == 1 {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        let ended = line.ends_with('\n');
        line = line.strip_suffix('\n').unwrap_or(line);
        line = line.strip_suffix('\r').unwrap_or(line);
        if in_head {
            counts.head_bytes += bytes.len() as u64;
            in_head = rule.head_ends_with.as_deref() != Some(line.trim());
            continue;
        }
        cutter.line(line, ended).map_err(ReadError::Emit)?;
    }
    if in_head {
        return Err(ReadError::NoHead(
            rule.head_ends_with.clone().unwrap_or_default(),
        ));
    }
    cutter.end_document().map_err(ReadError::Emit)?;
    Ok(counts)
}

struct Cutter<'a, F> {
    rule: &'a DocumentRule,
    text: String,
    /// Whether the document at hand has visible text that is not a heading.
    has_body: bool,
    emit: F,
}

impl<E, F: FnMut(String) -> Result<(), E>> Cutter<'_, F> {
    fn line(&mut self, line: &str, ended: bool) -> Result<(), E> {
        let blank = line.trim().is_empty();
        match self.rule.split {
            DocumentSplit::File => self.add(line, ended),
            DocumentSplit::Headings => {
                let heading = is_heading(line);
                if heading && self.has_body {
                    self.end_document()?;
                }
                self.has_body |= !heading && !blank;
                self.add(line, ended);
            }
            DocumentSplit::Separator => {
                let separator = self
                    .rule
                    .separator
                    .as_deref()
                    .filter(|s| !s.is_empty())
                    .unwrap_or("\0");
                let mut rest = line;
                while let Some((before, after)) = rest.split_once(separator) {
                    self.add(before, false);
                    self.end_document()?;
                    rest = after;
                }
                self.add(rest, ended);
            }
            DocumentSplit::BlankLines if blank => self.end_document()?,
            DocumentSplit::BlankLines => self.add(line, ended),
            DocumentSplit::Lines => {
                self.add(line, false);
                self.end_document()?;
            }
        }
        Ok(())
    }

    fn add(&mut self, text: &str, ended: bool) {
        self.text.push_str(text);
        if ended {
            self.text.push('\n');
        }
    }

    fn end_document(&mut self) -> Result<(), E> {
        self.has_body = false;
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            Ok(())
        } else {
            (self.emit)(text)
        }
    }
}

/// One to six `#`, then a blank or the end (CommonMark 0.31, section 4.2).
pub(crate) fn is_heading(line: &str) -> bool {
    let marks = line.bytes().take_while(|&b| b == b'#').count();
    (1..=6).contains(&marks) && line[marks..].chars().next().is_none_or(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, rule: &DocumentRule) -> Vec<String> {
        let mut documents = Vec::new();
        each_document(text.as_bytes(), rule, |document| {
            documents.push(document);
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap();
        documents
    }

    fn rule(split: DocumentSplit) -> DocumentRule {
        DocumentRule {
            split,
            ..DocumentRule::default()
        }
    }

    #[test]
    fn headings_begin_documents_and_empty_parts_join_the_next() {
        let text = "\u{feff}# Title: T\r\n\r\n---\r\nmotto\r\n## Part I\r\n\r\n## One \r\na\r\n\r\nb\r\n### Two\r\nc";
        let rule = DocumentRule {
            head_ends_with: Some("---".into()),
            ..rule(DocumentSplit::Headings)
        };
        assert_eq!(
            cut(text, &rule),
            ["motto\n", "## Part I\n\n## One \na\n\nb\n", "### Two\nc"]
        );
        assert!(!is_heading("#hashtag") && !is_heading("####### seven") && is_heading("#"));
    }

    #[test]
    fn separators_blank_lines_and_lines() {
        let separator = DocumentRule {
            separator: Some("<|e|>".into()),
            ..rule(DocumentSplit::Separator)
        };
        assert_eq!(
            cut("a\nb<|e|>c\n<|e|>\n<|e|>d", &separator),
            ["a\nb", "c\n", "d"]
        );
        assert_eq!(
            cut("a\nb\n \n\nc", &rule(DocumentSplit::BlankLines)),
            ["a\nb\n", "c"]
        );
        assert_eq!(cut("a\n\nb", &rule(DocumentSplit::Lines)), ["a", "b"]);
        assert_eq!(cut("a\n\nb", &rule(DocumentSplit::File)), ["a\n\nb"]);
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_at_their_line() {
        let error = each_document(&b"a\n\xff\n"[..], &DocumentRule::default(), |_| {
            Ok::<(), String>(())
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "line 2 is not UTF-8 text");
        let rule = DocumentRule {
            head_ends_with: Some("---".into()),
            ..DocumentRule::default()
        };
        let error = each_document(&b"a\n"[..], &rule, |_| Ok::<(), String>(())).unwrap_err();
        assert!(error.to_string().contains("`---`"), "{error}");
    }
}
