//! Rules by which a document is too unlike running text to learn from, as two published pipelines state them.
//! Each gives the rule that a document breaks, or nothing.

use crate::recipe::{C4Lines, GopherQuality, GopherRepetition};
use std::borrow::Cow;
use std::collections::HashSet;

use ahash::AHashMap;
use harness_core::random::mix;

use super::broken::{Broken, counted, percent};

/// Characters shown of what a rule saw.
const EXAMPLE_CHARACTERS: usize = 80;

const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

impl GopherQuality {
    pub(super) fn broken_rule(&self, text: &str) -> Option<Broken> {
        let broken = |rule, saw| Some(Broken::new(rule, saw));
        let words: Vec<&str> = text.split_whitespace().collect();
        let count = words.len() as f64;
        if (words.len() as u64) < self.words_at_least {
            return broken("words_at_least", counted(words.len() as u64, "word"));
        }
        if words.len() as u64 > self.words_at_most {
            return broken("words_at_most", counted(words.len() as u64, "word"));
        }
        let mean = words.iter().map(|word| word.chars().count()).sum::<usize>() as f64 / count.max(1.0);
        if mean < self.mean_word_length_at_least {
            return broken("mean_word_length_at_least", format!("{mean:.2} characters in a word"));
        }
        if mean > self.mean_word_length_at_most {
            return broken("mean_word_length_at_most", format!("{mean:.2} characters in a word"));
        }
        let hashes = text.matches('#').count() as f64;
        let ellipses = (text.matches("...").count() + text.matches('\u{2026}').count()) as f64;
        if hashes.max(ellipses) > self.symbols_per_word_at_most * count {
            return broken(
                "symbols_per_word_at_most",
                format!("{hashes} hash marks and {ellipses} ellipses in {count} words"),
            );
        }
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let share = |holds: &dyn Fn(&str) -> bool| {
            lines.iter().filter(|line| holds(line)).count() as f64 / lines.len().max(1) as f64
        };
        let bullets = share(&|line| line.starts_with(['\u{2022}', '-', '*']));
        if bullets > self.bullet_lines_at_most {
            return broken("bullet_lines_at_most", format!("{} of lines", percent(bullets)));
        }
        let ellipses = share(&|line| line.ends_with("...") || line.ends_with('\u{2026}'));
        if ellipses > self.ellipsis_lines_at_most {
            return broken("ellipsis_lines_at_most", format!("{} of lines", percent(ellipses)));
        }
        let with_letter = words.iter().filter(|word| word.chars().any(char::is_alphabetic)).count() as f64;
        if with_letter < self.words_with_letter_at_least * count {
            return broken("words_with_letter_at_least", format!("{} of words", percent(with_letter / count.max(1.0))));
        }
        let lower: HashSet<String> =
            words.iter().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()).collect();
        let stop_words = STOP_WORDS.iter().filter(|word| lower.contains(**word)).count() as u64;
        (stop_words < self.stop_words_at_least)
            .then(|| Broken::new("stop_words_at_least", counted(stop_words, "stop word")))
    }
}

impl GopherRepetition {
    pub(super) fn broken_rule(&self, text: &str) -> Option<Broken> {
        let saw = |share: f64, what: &str, example: &str| {
            let example: String = example.chars().take(EXAMPLE_CHARACTERS).collect();
            format!("{} of {what}, such as `{example}`", percent(share))
        };
        let (lines, of_lines, example) = repeated(text.lines());
        if lines > self.repeated_lines_at_most {
            return Some(Broken::new("repeated_lines_at_most", saw(lines, "lines", example)));
        }
        if of_lines > self.characters_in_repeated_lines_at_most {
            let saw = saw(of_lines, "characters", example);
            return Some(Broken::new("characters_in_repeated_lines_at_most", saw));
        }
        let (paragraphs, of_paragraphs, example) = repeated(text.split("\n\n"));
        if paragraphs > self.repeated_paragraphs_at_most {
            return Some(Broken::new("repeated_paragraphs_at_most", saw(paragraphs, "paragraphs", example)));
        }
        if of_paragraphs > self.characters_in_repeated_paragraphs_at_most {
            let saw = saw(of_paragraphs, "characters", example);
            return Some(Broken::new("characters_in_repeated_paragraphs_at_most", saw));
        }
        let mut ngrams = RepeatedNgrams::of_words(text);
        let words =
            |at: usize, length: usize| text.split_whitespace().skip(at).take(length).collect::<Vec<_>>().join(" ");
        for at_most in self.characters_in_top_ngram_at_most {
            let share = ngrams.grow();
            if share > at_most {
                let (at, length) = (ngrams.most_frequent, ngrams.length);
                let example = words(at, length);
                return Some(Broken::new("characters_in_top_ngram_at_most", saw(share, "characters", &example)));
            }
        }
        for at_most in self.characters_in_repeated_ngrams_at_most {
            ngrams.grow();
            let share = ngrams.share();
            if share > at_most {
                let example = words(ngrams.places.first().map_or(0, |(at, _)| *at), ngrams.length);
                return Some(Broken::new("characters_in_repeated_ngrams_at_most", saw(share, "characters", &example)));
            }
        }
        None
    }
}

/// The n-grams of a text that occur more than once. They are grown a word at a time: a longer one can only be repeated
/// where the shorter one is, so that ordinary text is looked at little more than twice.
struct RepeatedNgrams {
    words: Vec<u64>,
    /// Characters before each word, and in all.
    characters_before: Vec<usize>,
    /// Words of an n-gram.
    length: usize,
    /// Where the most frequent one stands for the last time.
    most_frequent: usize,
    /// Where they begin, in order, and their hashes.
    places: Vec<(usize, u64)>,
}

impl RepeatedNgrams {
    /// The n-grams of one word, repeated or not.
    fn of_words(text: &str) -> Self {
        let (mut words, mut characters_before, mut characters) = (Vec::new(), vec![0], 0);
        for word in text.split_whitespace() {
            words.push(crate::text::word(word));
            characters += word.chars().count();
            characters_before.push(characters);
        }
        let places = words.iter().copied().enumerate().collect();
        RepeatedNgrams { words, characters_before, length: 1, most_frequent: 0, places }
    }

    /// Makes the n-grams longer by a word. Gives the share of characters in the most frequent one: of those that are
    /// as frequent, the longest.
    fn grow(&mut self) -> f64 {
        self.length += 1;
        let (length, words) = (self.length, &self.words);
        self.places.retain_mut(|(at, hash)| {
            let next = words.get(*at + length - 1);
            *hash = mix(*hash ^ next.copied().unwrap_or_default());
            next.is_some()
        });
        let mut counts: AHashMap<u64, u32> = AHashMap::with_capacity(self.places.len());
        self.places.iter().for_each(|(_, hash)| *counts.entry(*hash).or_insert(0) += 1);
        self.places.retain(|(_, hash)| counts[hash] > 1);
        let frequency = |(at, hash): &(usize, u64)| {
            (counts[hash] as usize, self.characters_before[at + length] - self.characters_before[*at], *at)
        };
        let (count, characters, at) = self.places.iter().map(frequency).max().unwrap_or_default();
        self.most_frequent = at;
        (count * characters) as f64 / self.characters() as f64
    }

    /// The share of characters in them, each counted once.
    fn share(&self) -> f64 {
        let (mut covered, mut end) = (0, 0);
        for (at, _) in &self.places {
            let begin = end.max(*at);
            end = at + self.length;
            covered += self.characters_before[end] - self.characters_before[begin];
        }
        covered as f64 / self.characters() as f64
    }

    fn characters(&self) -> usize {
        self.characters_before.last().copied().unwrap_or_default().max(1)
    }
}

/// The share of parts that repeat an earlier one, and of characters in them, and the first of these parts. Blank parts
/// do not count.
fn repeated<'a>(parts: impl Iterator<Item = &'a str>) -> (f64, f64, &'a str) {
    let mut example = "";
    let mut seen = HashSet::new();
    let (mut all, mut again, mut characters, mut characters_again) = (0usize, 0usize, 0usize, 0usize);
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let length = part.chars().count();
        all += 1;
        characters += length;
        if !seen.insert(part) {
            if again == 0 {
                example = part;
            }
            again += 1;
            characters_again += length;
        }
    }
    (again as f64 / all.max(1) as f64, characters_again as f64 / characters.max(1) as f64, example)
}

/// What a line says that belongs to the site and not to the text.
const OF_THE_SITE: [&str; 7] =
    ["javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];

impl C4Lines {
    pub(super) fn apply<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, Broken> {
        if text.contains('{') {
            let line = text.lines().find(|line| line.contains('{')).unwrap_or_default().trim();
            return Err(Broken::new("curly_bracket", line.chars().take(EXAMPLE_CHARACTERS).collect::<String>()));
        }
        let lower = text.to_lowercase();
        if lower.contains("lorem ipsum") {
            return Err(Broken::new("placeholder", "lorem ipsum"));
        }
        // Most texts name none of them, and their lines need not be searched.
        let of_site = OF_THE_SITE.iter().any(|words| lower.contains(words));
        let kept = |line: &str| {
            let trimmed = line.trim_end();
            trimmed.is_empty()
                || (trimmed.ends_with(['.', '!', '?', '"', '\u{201d}'])
                    && !trimmed.ends_with("...")
                    && trimmed.split_whitespace().count() as u64 >= self.words_in_line_at_least
                    && !(of_site && speaks_of_site(trimmed)))
        };
        let out = if text.split('\n').all(kept) {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(text.split('\n').filter(|line| kept(line)).collect::<Vec<_>>().join("\n"))
        };
        let is_end = |byte: u8| matches!(byte, b'.' | b'!' | b'?');
        let bytes = out.as_bytes();
        let ends = |at: usize| is_end(bytes[at]) && !bytes.get(at + 1).is_some_and(|&next| is_end(next));
        let sentences = (0..bytes.len()).filter(|&at| ends(at)).count() as u64;
        if sentences >= self.sentences_at_least {
            return Ok(out);
        }
        Err(Broken::new("sentences_at_least", format!("{} left", counted(sentences, "sentence"))))
    }
}

fn speaks_of_site(line: &str) -> bool {
    let lower = line.to_lowercase();
    OF_THE_SITE.iter().any(|words| lower.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gopher_quality_names_the_rule_that_is_broken() {
        let good = "The cat sat on the mat and looked at the dog that had to be fed with care. ".repeat(5);
        let rules = GopherQuality::default();
        assert_eq!(rules.broken_rule(&good), None);
        let broken = |text: String| rules.broken_rule(&text).map(|broken| broken.rule);
        assert_eq!(rules.broken_rule("Too short.").unwrap().saw, "2 words");
        assert_eq!(broken("Too short.".to_owned()), Some("words_at_least"));
        assert_eq!(broken("a b c d ".repeat(30)), Some("mean_word_length_at_least"));
        assert_eq!(broken("word #tag ".repeat(60)), Some("symbols_per_word_at_most"));
        assert_eq!(broken("- one two three four\n".repeat(20)), Some("bullet_lines_at_most"));
        assert_eq!(broken("1234 5678 word ".repeat(30)), Some("words_with_letter_at_least"));
        assert_eq!(broken("chat chien souris maison ".repeat(20)), Some("stop_words_at_least"));
    }

    #[test]
    fn gopher_repetition_sees_lines_and_ngrams() {
        let rules = GopherRepetition::default();
        let different = crate::grammar::corpus(1, 20).collect::<Vec<_>>().join("\n");
        assert_eq!(rules.broken_rule(&different), None);
        let broken = |rule, saw: &str| Some(Broken::new(rule, saw));
        let lines = broken("repeated_lines_at_most", "90.0 % of lines, such as `the same line`");
        assert_eq!(rules.broken_rule(&"the same line\n".repeat(10)), lines);
        let ngrams = (0..60).map(|n| format!("buy now {n}")).collect::<Vec<_>>().join(" ");
        let ngram = broken("characters_in_top_ngram_at_most", "76.6 % of characters, such as `buy now`");
        assert_eq!(rules.broken_rule(&ngrams), ngram);
    }

    #[test]
    fn repeated_ngrams_are_counted_by_hand() {
        // 20 words of 2 characters: the first six come again at the end.
        let words: Vec<String> = (0..14).chain(0..6).map(|n| char::from(b'a' + n)).map(|c| format!("{c}{c}")).collect();
        let mut ngrams = RepeatedNgrams::of_words(&words.join(" "));
        // Of 2, 3 and 4 words: the most frequent occurs twice, in 2 x n of 20 words.
        assert_eq!([ngrams.grow(), ngrams.grow(), ngrams.grow()], [0.2, 0.3, 0.4]);
        // Of 5 and 6 words: 12 of the 20 words, though two n-grams of 5 words overlap. Of 7 words: none.
        let shares = [(); 3].map(|()| {
            ngrams.grow();
            ngrams.share()
        });
        assert_eq!(shares, [0.6, 0.6, 0.0]);
        let rules = GopherRepetition { characters_in_top_ngram_at_most: [1.0; 3], ..GopherRepetition::default() };
        let saw = "60.0 % of characters, such as `aa bb cc dd ee`";
        assert_eq!(
            rules.broken_rule(&words.join(" ")),
            Some(Broken::new("characters_in_repeated_ngrams_at_most", saw))
        );
        let at_most = [0.6, 0.6, 0.0, 0.0, 0.0, 0.0];
        let rules = GopherRepetition { characters_in_repeated_ngrams_at_most: at_most, ..rules };
        assert_eq!(rules.broken_rule(&words.join(" ")), None);
        // The most frequent wins over the longest: `a b` three times, 6 of 28 characters; `long word` twice.
        let mut ngrams = RepeatedNgrams::of_words("a b x1 a b x2 a b long word x3 long word");
        assert_eq!(ngrams.grow(), 6.0 / 28.0);
    }

    #[test]
    fn c4_keeps_lines_that_are_sentences() {
        let text = "Home | About\nThis line is a sentence of its own.\nAnd this one is another one!\n\
                    Please enable javascript to see this page.\nIs this the third of them?";
        let rules = C4Lines::default();
        let kept = rules.apply(text).unwrap();
        assert_eq!(kept.lines().count(), 3);
        let broken = |rule, saw: &str| Err(Broken::new(rule, saw));
        let few = broken("sentences_at_least", "3 sentences left");
        assert_eq!(C4Lines { sentences_at_least: 4, ..rules.clone() }.apply(text), few);
        let policy = format!("{text}\nRead our Privacy Policy before you go on.\nYes, really.");
        assert_eq!(rules.apply(&policy), Ok(kept));
        let one = broken("sentences_at_least", "1 sentence left");
        assert_eq!(C4Lines::default().apply("Only one sentence is in here."), one);
        assert_eq!(C4Lines::default().apply("fn main() { }"), broken("curly_bracket", "fn main() { }"));
    }
}
