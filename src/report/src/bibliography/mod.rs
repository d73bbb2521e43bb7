//! Citation labels and reference entries in the ACL author-year look, computed here from BibTeX and set by Typst
//! from JSON: year letters follow the order of the reference list, and the title is the link. The look was written
//! after the conference's formatting guidelines and the behaviour of its BibTeX style.

mod circles;
mod tex;

use std::collections::BTreeMap;

use biblatex::{Bibliography, ChunksRef, Entry, EntryType, Person, RawBibliography};
use serde::Serialize;

use super::error::{Place, ReportError};
pub(super) use tex::Letter;
use tex::Piece;

/// Everything the paper may cite, from one or more files; a later file goes before an earlier one.
#[derive(Clone, Debug, Default)]
pub(super) struct Library {
    entries: BTreeMap<String, Entry>,
    /// The file that each entry is from.
    paths: BTreeMap<String, String>,
}

/// A cited work as Typst sets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Reference {
    pub key: String,
    /// `Aho and Ullman`, for citations.
    pub who: String,
    /// `1997a`
    pub year: String,
    /// Authors, or what stands for them, without a full stop.
    pub authors: String,
    pub title: Vec<Piece>,
    /// Where the title leads.
    pub link: Option<String>,
    /// What follows the title, with its punctuation.
    pub rest: Vec<Piece>,
}

/// A person's name, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub given: String,
    /// `van der`
    pub prefix: String,
    pub last: String,
    /// `Jr.`
    pub suffix: String,
}

/// An entry as data, to be written to another file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fields {
    /// `inproceedings`
    pub kind: String,
    /// `author`, `editor`; `and others` is a person who is called `others`.
    pub people: Vec<(&'static str, Vec<Name>)>,
    pub texts: Vec<(&'static str, Vec<Letter>)>,
    pub addresses: Vec<(&'static str, String)>,
}

impl Library {
    /// What an entry holds of the fields that BibTeX's styles read.
    pub(super) fn fields(&self, key: &str) -> Option<Fields> {
        const TEXTS: [&str; 21] = [
            "title",
            "booktitle",
            "journal",
            "year",
            "month",
            "volume",
            "number",
            "series",
            "edition",
            "chapter",
            "pages",
            "publisher",
            "organization",
            "institution",
            "school",
            "address",
            "type",
            "howpublished",
            "note",
            "key",
            "eid",
        ];
        let entry = self.entries.get(key)?;
        let name = |person: &Person| Name {
            given: clean(&person.given_name),
            prefix: clean(&person.prefix),
            last: clean(&person.name),
            suffix: clean(&person.suffix),
        };
        let persons = |field: &'static str| (field, people(entry, field).iter().map(name).collect::<Vec<_>>());
        let of_text = |name: &'static str| match name {
            // BibTeX knows no `date`.
            "year" => year(entry).map(|year| tex::of_text(&year)),
            name => field(entry, name).map(tex::letters),
        };
        let mut addresses: Vec<(&str, String)> =
            ["doi", "url"].into_iter().filter_map(|name| Some((name, entry.get(name).map(tex::address)?))).collect();
        if is_arxiv(entry) {
            addresses.extend(entry.get("eprint").map(|eprint| ("eprint", tex::address(eprint))));
            addresses.push(("archiveprefix", "arXiv".to_owned()));
        }
        addresses.retain(|(_, address)| !address.is_empty());
        Some(Fields {
            kind: entry.entry_type.to_bibtex().to_string(),
            people: ["author", "editor"].map(persons).into_iter().filter(|(_, people)| !people.is_empty()).collect(),
            texts: TEXTS
                .into_iter()
                .filter_map(|name| Some((name, of_text(name)?)))
                .filter(|(_, t)| !t.is_empty())
                .collect(),
            addresses,
        })
    }

    /// Adds the entries of a file.
    pub(crate) fn add(&mut self, path: &str, text: &str) -> Result<(), ReportError> {
        let braced = tex::with_braces(text);
        let refused = |problem: String, at: usize, hint: &str| ReportError::Source {
            problem,
            place: Box::new(Place::at(path, text, at)),
            hint: Some(hint.to_owned()),
        };
        let wrong = |e: biblatex::ParseError| {
            let hint = "an entry looks like `@article{key, author = {...}, title = {...}, year = {2020}}`";
            refused(format!("{}", e.kind), e.span.start, hint)
        };
        let raw = RawBibliography::parse(&braced).map_err(wrong)?;
        if let Some(place) = circles::endless(&raw) {
            let problem = "what this refers to leads back to itself, or is far too much".to_owned();
            return Err(refused(problem, place.start, "write out what it stands for"));
        }
        let parsed = Bibliography::from_raw(raw).map_err(wrong)?;
        self.paths.extend(parsed.iter().map(|entry| (entry.key.clone(), path.to_owned())));
        self.entries.extend(parsed.into_iter().map(|entry| (entry.key.clone(), entry)));
        Ok(())
    }

    /// Every key, sorted.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    /// The keys of one file, sorted.
    pub(crate) fn keys_of(&self, path: &str) -> Vec<&str> {
        self.paths.iter().filter(|(_, own)| *own == path).map(|(key, _)| key.as_str()).collect()
    }

    /// What an entry lacks that every entry of a reference list has.
    pub(crate) fn missing_fields(&self, key: &str) -> Vec<&'static str> {
        let Some(entry) = self.entries.get(key) else { return Vec::new() };
        let names = ["author", "editor", "organization", "institution", "key"];
        let has_name = names.iter().any(|name| text(entry, name).is_some());
        let places =
            ["journal", "booktitle", "publisher", "school", "howpublished", "eprint", "url", "doi", "number", "note"];
        let has_place = places.iter().any(|name| text(entry, name).is_some());
        let lacks = [
            ("author", !has_name),
            ("title", text(entry, "title").is_none()),
            ("year", year(entry).is_none()),
            ("place of publication", !has_place),
        ];
        lacks.into_iter().filter(|(_, lacks)| *lacks).map(|(name, _)| name).collect()
    }

    /// Whether its title leads somewhere.
    pub(crate) fn has_address(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|entry| link(entry).is_some())
    }

    /// The reference list of the works that `cited` names, each once, in the order of the list. Unknown keys are
    /// left out: they are found before.
    pub(crate) fn references(&self, cited: &[String]) -> Vec<Reference> {
        let mut keys: Vec<&String> = cited.iter().filter(|k| self.entries.contains_key(*k)).collect();
        keys.sort();
        keys.dedup();
        let mut works: Vec<Work> = keys.into_iter().map(|key| Work::of(&self.entries[key])).collect();
        works.sort_by(|a, b| a.order.cmp(&b.order).then_with(|| a.entry.key.cmp(&b.entry.key)));
        let labels: Vec<(String, String)> = works.iter().map(|w| (w.who.clone(), w.year.clone())).collect();
        let letter = |index: usize| {
            let same = |label: &&(String, String)| **label == labels[index];
            let before = labels[..index].iter().filter(same).count();
            let alone = labels.iter().filter(same).count() == 1;
            if alone { String::new() } else { letters(before) }
        };
        let letters: Vec<String> = (0..works.len()).map(letter).collect();
        works.iter().zip(letters).map(|(work, letter)| work.reference(&letter)).collect()
    }
}

/// a, b, ..., z, aa, ab, ...
fn letters(index: usize) -> String {
    let last = char::from(b'a' + (index % 26) as u8);
    if index < 26 { last.to_string() } else { format!("{}{last}", letters(index / 26 - 1)) }
}

/// An entry with what its place in the list depends on.
struct Work<'a> {
    entry: &'a Entry,
    who: String,
    year: String,
    authors: String,
    /// Names, year, title, as they are compared.
    order: (String, String, String),
}

impl<'a> Work<'a> {
    fn of(entry: &'a Entry) -> Self {
        let people = people(entry, "author");
        let editors = people_or(people.is_empty(), entry, "editor");
        let named = if people.is_empty() { &editors } else { &people };
        let fallback = ["organization", "institution", "publisher", "key"].iter().find_map(|f| text(entry, f));
        let title = text(entry, "title").unwrap_or_default();
        let (who, authors) = match named.is_empty() {
            false if people.is_empty() => {
                let word = if editors.len() == 1 { "editor" } else { "editors" };
                (label(named), format!("{}, {word}", full_names(named)))
            }
            false => (label(named), full_names(named)),
            true => {
                let name = fallback.unwrap_or_else(|| if title.is_empty() { entry.key.clone() } else { title.clone() });
                (name.clone(), name)
            }
        };
        let year = year(entry).unwrap_or_else(|| "n.d.".to_owned());
        let sorted_names = if named.is_empty() {
            folded(&authors)
        } else {
            named.iter().map(sort_name).collect::<Vec<_>>().join("   ")
        };
        let order = (sorted_names, year.clone(), folded(without_article(&title)));
        Work { entry, who, year, authors, order }
    }

    fn reference(&self, letter: &str) -> Reference {
        let entry = self.entry;
        let (title, rest) = body(entry);
        Reference {
            key: entry.key.clone(),
            who: self.who.clone(),
            year: format!("{}{letter}", self.year),
            authors: self.authors.clone(),
            title,
            link: link(entry),
            rest,
        }
    }
}

fn people_or(wanted: bool, entry: &Entry, field: &str) -> Vec<Person> {
    if wanted { people(entry, field) } else { Vec::new() }
}

fn people(entry: &Entry, field: &str) -> Vec<Person> {
    entry.get_as::<Vec<Person>>(field).unwrap_or_default()
}

/// `and others` in a .bib is a person of this name.
fn is_others(person: &Person) -> bool {
    person.given_name.is_empty() && person.prefix.is_empty() && person.name == "others"
}

fn joined(parts: &[&str]) -> String {
    parts.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

fn full_name(person: &Person) -> String {
    let name = joined(&[&person.given_name, &person.prefix, &person.name]);
    clean(&if person.suffix.is_empty() { name } else { format!("{name} {}", person.suffix) })
}

fn last_name(person: &Person) -> String {
    clean(&joined(&[&person.prefix, &person.name]))
}

fn sort_name(person: &Person) -> String {
    folded(&joined(&[&person.prefix, &person.name, &person.given_name, &person.suffix]))
}

/// `A B`, `A B and C D`, `A B, C D, and E F`; more than 20: the first 19 and how many others.
fn full_names(people: &[Person]) -> String {
    let others = people.last().is_some_and(is_others);
    let named: Vec<String> = people.iter().filter(|p| !is_others(p)).map(full_name).collect();
    if named.len() > 20 {
        return format!("{}, and {} others", named[..19].join(", "), named.len() - 19);
    }
    match (named.as_slice(), others) {
        ([], _) => String::new(),
        ([one], false) => one.clone(),
        ([one], true) => format!("{one} et al."),
        (many, true) => format!("{}, et al.", many.join(", ")),
        ([one, two], false) => format!("{one} and {two}"),
        ([most @ .., last], false) => format!("{}, and {last}", most.join(", ")),
    }
}

/// `Gusfield`, `Aho and Ullman`, `Chandra et al.`
fn label(people: &[Person]) -> String {
    match people {
        [] => String::new(),
        [one] => last_name(one),
        [one, two] if !is_others(two) => format!("{} and {}", last_name(one), last_name(two)),
        [one, ..] => format!("{} et al.", last_name(one)),
    }
}

/// What a field holds, under any of its names.
fn field<'a>(entry: &'a Entry, name: &str) -> Option<ChunksRef<'a>> {
    let aliases: &[&str] = match name {
        "journal" => &["journal", "journaltitle"],
        "address" => &["address", "location"],
        "school" => &["school", "institution"],
        other => &[other],
    };
    aliases.iter().find_map(|name| entry.get(name))
}

/// A field as plain text, blanks folded; `None` if it is empty or absent.
fn text(entry: &Entry, name: &str) -> Option<String> {
    let plain: String = tex::letters(field(entry, name)?).iter().map(|letter| letter.letter).collect();
    Some(plain).filter(|text| !text.is_empty())
}

/// A field as pieces, likewise.
fn styled(entry: &Entry, name: &str) -> Option<Vec<Piece>> {
    Some(tex::pieces(&tex::letters(field(entry, name)?))).filter(|pieces| !pieces.is_empty())
}

/// Blanks folded, TeX's tie as a character.
fn clean(text: &str) -> String {
    text.replace('~', "\u{a0}").split([' ', '\t', '\n', '\r']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A title in sentence case: letters in braces stay, as does the first letter and one after a colon.
fn sentence_case(entry: &Entry) -> Option<Vec<Piece>> {
    let mut keep = true;
    let mut letters: Vec<Letter> = Vec::new();
    for own in tex::letters(entry.get("title")?) {
        let letter = own.letter;
        let lowered = !own.kept && !keep && letter.is_alphabetic();
        keep = !own.kept && (keep && !letter.is_alphanumeric() || letter == ':' || keep && letter.is_whitespace());
        if lowered {
            letters.extend(letter.to_lowercase().map(|letter| Letter { letter, ..own.clone() }));
        } else {
            letters.push(own);
        }
    }
    Some(tex::pieces(&letters)).filter(|pieces| !pieces.is_empty())
}

fn year(entry: &Entry) -> Option<String> {
    let date = text(entry, "year").or_else(|| text(entry, "date"))?;
    let digits: String = date.chars().take_while(|c| *c != '-' && *c != '/').collect();
    Some(if digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()) { digits } else { date })
}

fn is_arxiv(entry: &Entry) -> bool {
    let prefix = text(entry, "archiveprefix").or_else(|| text(entry, "eprinttype"));
    prefix.is_some_and(|p| p.eq_ignore_ascii_case("arxiv"))
}

fn link(entry: &Entry) -> Option<String> {
    let address = |name: &str| entry.get(name).map(tex::address).filter(|address| !address.is_empty());
    if let Some(doi) = address("doi") {
        let doi = ["https://doi.org/", "http://doi.org/", "https://dx.doi.org/", "http://dx.doi.org/", "doi:"]
            .iter()
            .find_map(|prefix| doi.strip_prefix(prefix))
            .unwrap_or(&doi);
        return Some(format!("https://doi.org/{doi}"));
    }
    if let Some(id) = address("pmid") {
        return Some(format!("https://pubmed.ncbi.nlm.nih.gov/{id}"));
    }
    if let Some(id) = address("eprint").filter(|_| is_arxiv(entry)) {
        return Some(format!("https://arxiv.org/abs/{id}"));
    }
    address("url").filter(|url| url.starts_with("https://") || url.starts_with("http://"))
}

/// `pages 7–9`, `page 7`; with `bare`, `7–9`.
fn pages(entry: &Entry, bare: bool) -> Option<String> {
    let pages = text(entry, "pages")?;
    let mut out = String::new();
    for letter in pages.chars() {
        match letter {
            '-' | '–' | '—' if out.ends_with('–') => {}
            '-' | '–' | '—' => out.push('–'),
            other => out.push(other),
        }
    }
    let out = out.replace(" –", "–").replace("– ", "–");
    let several = out.contains(['–', ',', '+']);
    Some(match (bare, several) {
        (true, _) => out,
        (false, true) => format!("pages {out}"),
        (false, false) => format!("page {out}"),
    })
}

/// Collects pieces and puts the full stops.
#[derive(Default)]
struct Line {
    pieces: Vec<Piece>,
}

impl Line {
    fn add(&mut self, text: impl Into<String>) -> &mut Self {
        self.pieces.push(Piece::Upright { text: text.into() });
        self
    }

    fn italic(&mut self, text: impl Into<String>) -> &mut Self {
        self.pieces.push(Piece::Italic { text: text.into() });
        self
    }

    /// Ends the block with a full stop, unless it ends with one.
    fn stop(&mut self) -> &mut Self {
        let ended = self.pieces.last().is_none_or(|last| last.text().ends_with(['.', '?', '!']));
        if !ended {
            self.add(".");
        }
        self
    }

    /// A block of its own: ` text.`
    fn block(&mut self, parts: &[Option<String>]) -> &mut Self {
        let upright = |text: &Option<String>| text.clone().map(|text| vec![Piece::Upright { text }]);
        self.pieces_block(&parts.iter().map(upright).collect::<Vec<_>>())
    }

    fn pieces_block(&mut self, parts: &[Option<Vec<Piece>>]) -> &mut Self {
        for (at, part) in parts.iter().flatten().enumerate() {
            self.add(if at == 0 { " " } else { ", " });
            self.pieces.extend(part.iter().cloned());
        }
        self.stop()
    }

    fn comma(&mut self, part: Option<String>) -> &mut Self {
        if let Some(part) = part {
            self.add(format!(", {part}"));
        }
        self
    }
}

/// `2nd edition`
fn edition(entry: &Entry) -> Option<String> {
    let edition = text(entry, "edition")?.to_lowercase();
    let ordinal = match edition.parse::<u32>() {
        Ok(n) if n % 10 == 1 && n % 100 != 11 => format!("{n}st"),
        Ok(n) if n % 10 == 2 && n % 100 != 12 => format!("{n}nd"),
        Ok(n) if n % 10 == 3 && n % 100 != 13 => format!("{n}rd"),
        Ok(n) => format!("{n}th"),
        Err(_) => edition,
    };
    Some(format!("{ordinal} edition"))
}

/// `, volume V of *Series*`
fn volume(entry: &Entry, line: &mut Line) {
    let series = text(entry, "series");
    let numbered = match (text(entry, "volume"), text(entry, "number")) {
        (Some(volume), _) => Some(format!("volume {volume}")),
        (None, Some(number)) => Some(format!("number {number}")),
        (None, None) => None,
    };
    match (numbered, series) {
        (Some(numbered), Some(series)) => drop(line.add(format!(", {numbered} of ")).italic(series)),
        (Some(numbered), None) => drop(line.add(format!(", {numbered}"))),
        (None, Some(series)) => drop(line.add(", ").italic(series)),
        (None, None) => {}
    }
}

/// Title, and all that follows it.
fn body(entry: &Entry) -> (Vec<Piece>, Vec<Piece>) {
    let mut line = Line::default();
    let get = |field: &str| text(entry, field);
    let italic = text(entry, "title").map(|text| vec![Piece::Italic { text }]);
    let mut title = sentence_case(entry);
    let end_title = |line: &mut Line, title: &Option<Vec<Piece>>| {
        let ended = title.as_ref().and_then(|t| t.last()).is_some_and(|last| last.text().ends_with(['.', '?', '!']));
        if !ended {
            line.add(".");
        }
    };
    match &entry.entry_type {
        EntryType::Article => {
            end_title(&mut line, &title);
            if let Some(journal) = get("journal") {
                line.add(" ").italic(journal);
                let pages_bare = pages(entry, true).or_else(|| get("eid")).or_else(|| get("articleno"));
                match (get("volume"), get("number"), pages_bare) {
                    (None, None, _) => drop(line.comma(pages(entry, false))),
                    (volume, number, pages) => {
                        let number = number.map_or(String::new(), |n| format!("({n})"));
                        let pages = pages.map_or(String::new(), |p| format!(":{p}"));
                        line.add(format!(", {}{number}{pages}", volume.unwrap_or_default()));
                    }
                }
                line.stop();
            } else {
                preprint(entry, &mut line);
            }
        }
        EntryType::InProceedings => {
            end_title(&mut line, &title);
            if let Some(book) = get("booktitle") {
                line.add(" In ").italic(book);
                volume(entry, &mut line);
                line.comma(pages(entry, false)).comma(get("address")).stop();
            }
            line.block(&[get("organization")]).block(&[get("publisher")]);
        }
        EntryType::InCollection | EntryType::InBook => {
            end_title(&mut line, &title);
            line.add(" In ");
            let editors = people(entry, "editor");
            if !editors.is_empty() {
                let word = if editors.len() == 1 { "editor" } else { "editors" };
                line.add(format!("{}, {word}, ", full_names(&editors)));
            }
            line.italic(get("booktitle").unwrap_or_default()).comma(edition(entry));
            volume(entry, &mut line);
            line.comma(get("chapter").map(|c| format!("chapter {c}"))).comma(pages(entry, false)).stop();
            line.block(&[get("publisher"), get("address")]);
        }
        EntryType::Book | EntryType::Proceedings | EntryType::Collection | EntryType::Manual => {
            title = italic;
            line.comma(edition(entry));
            volume(entry, &mut line);
            if line.pieces.is_empty() {
                end_title(&mut line, &title);
            } else {
                line.stop();
            }
            line.block(&[get("organization")]).block(&[get("publisher"), get("address")]);
        }
        EntryType::PhdThesis | EntryType::Thesis => {
            title = italic;
            end_title(&mut line, &title);
            let kind = get("type").unwrap_or_else(|| "Ph.D. thesis".to_owned());
            line.block(&[Some(kind), get("school"), get("address")]);
        }
        EntryType::MastersThesis => {
            end_title(&mut line, &title);
            let kind = get("type").unwrap_or_else(|| "Master\u{2019}s thesis".to_owned());
            line.block(&[Some(kind), get("school"), get("address"), get("month")]);
        }
        EntryType::TechReport | EntryType::Report => {
            end_title(&mut line, &title);
            let kind = get("type").unwrap_or_else(|| "Technical Report".to_owned());
            let kind = get("number").map_or(kind.clone(), |number| format!("{kind} {number}"));
            line.block(&[Some(kind), get("institution"), get("address")]);
        }
        _ => {
            end_title(&mut line, &title);
            preprint(entry, &mut line);
        }
    }
    line.pieces_block(&[styled(entry, "note")]);
    let title = title.unwrap_or_else(|| vec![Piece::Upright { text: "[link]".to_owned() }]);
    // The title is a link as a whole.
    let unlinked = |piece| match piece {
        Piece::Link { text, .. } => Piece::Upright { text },
        other => other,
    };
    (title.into_iter().map(unlinked).collect(), line.pieces)
}

/// ` *Preprint*, arXiv:2001.00001.` and what else may stand for a place of publication.
fn preprint(entry: &Entry, line: &mut Line) {
    let eprint = text(entry, "eprint").filter(|_| is_arxiv(entry));
    match (eprint, text(entry, "journal"), text(entry, "publisher")) {
        (Some(id), journal, _) => {
            line.add(" ").italic(journal.unwrap_or_else(|| "Preprint".to_owned())).add(format!(", arXiv:{id}")).stop();
        }
        (None, Some(journal), _) => drop(line.add(" ").italic(journal).stop()),
        (None, None, Some(publisher)) if publisher.eq_ignore_ascii_case("arxiv") => {
            line.add(" ").italic("arXiv preprint").stop();
        }
        (None, None, publisher) => {
            line.pieces_block(&[styled(entry, "howpublished"), styled(entry, "version")]);
            line.block(&[text(entry, "organization"), publisher]);
        }
    }
}

fn without_article(title: &str) -> &str {
    ["A ", "An ", "The "].iter().find_map(|article| title.strip_prefix(article)).unwrap_or(title)
}

/// Lower case, without accents and punctuation, as names and titles are compared.
fn folded(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars().flat_map(char::to_lowercase) {
        match letter {
            'à'..='å' | 'ā' | 'ă' | 'ą' => out.push('a'),
            'æ' => out.push_str("ae"),
            'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => out.push('c'),
            'ď' | 'đ' | 'ð' => out.push('d'),
            'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => out.push('e'),
            'ĝ' | 'ğ' | 'ġ' | 'ģ' => out.push('g'),
            'ì'..='ï' | 'ĩ' | 'ī' | 'į' | 'ı' => out.push('i'),
            'ł' | 'ĺ' | 'ļ' | 'ľ' => out.push('l'),
            'ñ' | 'ń' | 'ņ' | 'ň' => out.push('n'),
            'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => out.push('o'),
            'œ' => out.push_str("oe"),
            'ŕ' | 'ŗ' | 'ř' => out.push('r'),
            'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => out.push('s'),
            'ß' => out.push_str("ss"),
            'ţ' | 'ť' | 'ț' => out.push('t'),
            'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => out.push('u'),
            'ý' | 'ÿ' => out.push('y'),
            'ź' | 'ż' | 'ž' => out.push('z'),
            '-' | '\u{a0}' => out.push(' '),
            letter if letter.is_alphanumeric() || letter == ' ' => out.push(letter),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests;
