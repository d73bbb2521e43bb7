//! Steps that repair the form of a text and leave its words alone.

use std::borrow::Cow;

use crate::text::is_heading;

pub(super) fn without_control_characters(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_invisible) {
        return Cow::Borrowed(text);
    }
    text.chars().filter(|&c| !is_invisible(c)).collect()
}

fn is_invisible(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{feff}' | '\u{ad}' | '\u{200b}'..='\u{200f}')
}

pub(super) fn with_plain_whitespace(text: &str) -> Cow<'_, str> {
    if text.trim().len() == text.len() && !has_odd_whitespace(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut empty_lines = 0;
    for line in text.trim().split('\n') {
        let line = line.trim_end();
        empty_lines = if line.is_empty() { empty_lines + 1 } else { 0 };
        if empty_lines > 1 {
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.extend(line.chars().map(|c| if c == '\u{a0}' { ' ' } else { c }));
    }
    Cow::Owned(out)
}

/// Whether there is a no-break space, white space at the end of a line, or more than one empty line.
fn has_odd_whitespace(text: &str) -> bool {
    let mut empty_lines = 0;
    text.contains('\u{a0}')
        || text.split('\n').any(|line| {
            empty_lines = if line.is_empty() { empty_lines + 1 } else { 0 };
            empty_lines > 1 || line.ends_with(char::is_whitespace)
        })
}

pub(super) fn without_markdown_marks(text: &str) -> Cow<'_, str> {
    if !text.contains(['#', '_', '*', '-']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if is_rule(line) {
            out.push('\n');
            continue;
        }
        let line = if is_heading(line) { line.trim_start_matches('#').trim_start_matches([' ', '\t']) } else { line };
        push_without_emphasis(line, &mut out);
    }
    Cow::Owned(out)
}

/// Three or more of one of `-`, `*`, `_` and nothing else but blanks.
fn is_rule(line: &str) -> bool {
    let mut marks = line.chars().filter(|c| !c.is_whitespace());
    let Some(first @ ('-' | '*' | '_')) = marks.next() else {
        return false;
    };
    let mut more = 0;
    marks.all(|c| {
        more += 1;
        c == first
    }) && more >= 2
}

/// Takes out runs of one or two `_` or `*` that open (a word follows, none precedes) or close (the reverse) emphasis.
fn push_without_emphasis(line: &str, out: &mut String) {
    let characters: Vec<char> = line.chars().collect();
    let mut at = 0;
    while at < characters.len() {
        let mark = characters[at];
        if mark != '_' && mark != '*' {
            out.push(mark);
            at += 1;
            continue;
        }
        let run = characters[at..].iter().take_while(|&&c| c == mark).count();
        let before = at.checked_sub(1).map_or(' ', |i| characters[i]);
        let after = characters.get(at + run).copied().unwrap_or(' ');
        let opens = !after.is_whitespace() && !before.is_alphanumeric();
        let closes = !before.is_whitespace() && !after.is_alphanumeric();
        if run > 2 || !(opens || closes) {
            out.extend(std::iter::repeat_n(mark, run));
        }
        at += run;
    }
}

/// What `replace` makes of a text, which stays as it is where nothing is replaced.
pub(super) fn replaced<'a>(text: Cow<'a, str>, replace: impl Fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => replace(text),
        Cow::Owned(text) => match replace(&text) {
            Cow::Owned(new) => Cow::Owned(new),
            Cow::Borrowed(_) => Cow::Owned(text),
        },
    }
}
