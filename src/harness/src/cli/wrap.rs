//! Lines that are wider than the terminal, broken between words. What goes to a file or a pipe keeps its lines.

use std::borrow::Cow;

use textwrap::core::{Word, display_width};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// A narrower terminal shows lines as they are.
const NARROWEST: usize = 40;
/// Columns by which a line goes on farther to the right than it began, where it has no column of its own for words.
const HANGS: usize = 2;

/// The text, each line that is wider than `width` columns broken between words. What is quoted by backticks, and a line that is
/// nothing but a command, stays whole, so that it can be copied; so does a row of a table, which was fitted where that could be.
pub(super) fn wrapped(text: &str, width: usize) -> Cow<'_, str> {
    let fits = |line: &str| display_width(line) < width || is_command(line) || is_row(line);
    if width < NARROWEST || text.lines().all(fits) {
        return Cow::Borrowed(text);
    }
    let line = |line| if fits(line) { Cow::Borrowed(line) } else { Cow::Owned(broken(line, width)) };
    let lines: Vec<Cow<str>> = text.split('\n').map(line).collect();
    Cow::Owned(lines.join("\n"))
}

fn is_command(line: &str) -> bool {
    ["harness ", "make ", "git ", "$ "].iter().any(|program| line.trim_start().starts_with(program))
}

/// Three columns or more.
fn is_row(line: &str) -> bool {
    line.trim().split("  ").filter(|cell| !cell.is_empty()).count() > 2
}

fn broken(line: &str, width: usize) -> String {
    let indent = " ".repeat(words_begin(line, width));
    // The last column stays free: some terminals go to the next line by themselves once it is written.
    let options = Options::new(width - 1)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .word_separator(WordSeparator::Custom(words))
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(line, options)
}

/// The column in which a line goes on: that of its words, behind a label or the cells of a table, if it lies in the left half.
fn words_begin(line: &str, width: usize) -> usize {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let gaps = line[indent..].match_indices("  ").map(|(at, _)| indent + at);
    let behind_gap = |at: usize| at + line[at..].len() - line[at..].trim_start_matches(' ').len();
    let columns = gaps.map(|at| display_width(&line[..behind_gap(at)]));
    columns.filter(|column| *column <= width / 2).max().unwrap_or(indent + HANGS)
}

/// Words with the spaces behind them; what stands between backticks is one word.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let mut ends = Vec::new();
    let (mut is_quoted, mut was_space) = (false, false);
    for (at, letter) in line.char_indices() {
        if was_space && letter != ' ' && !is_quoted {
            ends.push(at);
        }
        // One without its other half quotes nothing.
        is_quoted = if letter == '`' { !is_quoted && line[at + 1..].contains('`') } else { is_quoted };
        was_space = letter == ' ';
    }
    ends.push(line.len());
    let mut from = 0;
    Box::new(ends.into_iter().map(move |end| Word::from(&line[std::mem::replace(&mut from, end)..end])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_go_on_below_their_words() {
        let shown = wrapped("short\nsequence   by Holm's method over all families of its tree", 40);
        assert_eq!(shown, "short\nsequence   by Holm's method over all\n           families of its tree");
        let prose = wrapped("  the update ratio is small, so a higher rate may be worth a try", 42);
        assert_eq!(prose, "  the update ratio is small, so a higher\n    rate may be worth a try");
        // What lies far to the right would leave no room below itself.
        let far = wrapped("experiment books-baseline      five seeds of one plan", 44);
        assert_eq!(far, "experiment books-baseline      five seeds\n  of one plan");
        let row = "books-baseline   1.8662   five seeds of one plan";
        assert_eq!(wrapped(row, 44), row);
        assert!(matches!(wrapped("short\n\nlines", 40), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_to_be_copied_stays_whole() {
        let command = "  harness propose rotary --over books-baseline --because still_improving";
        assert_eq!(wrapped(command, 40), command);
        let sentence = "hint: `harness run baseline --seed 12 --go-on` goes on, and `harness seal` ends it";
        assert_eq!(
            wrapped(sentence, 50),
            "hint: `harness run baseline --seed 12 --go-on`\n  goes on, and `harness seal` ends it"
        );
        assert_eq!(
            wrapped("a ` alone quotes nothing of what comes after it", 40),
            "a ` alone quotes nothing of what comes\n  after it"
        );
    }

    #[test]
    fn no_word_is_lost_whatever_the_width() {
        proptest::proptest!(|(text in "([a-zé`漢]{0,12}[ \n]{1,3}){0,40}", width in 1_usize..120)| {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&wrapped(&text, width)), words(&text));
        });
    }
}
