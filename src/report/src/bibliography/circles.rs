//! What refers to something else in a bibliography: abbreviations of abbreviations, and entries that take their fields from
//! others. `biblatex` follows them all the way, round a circle for ever, so that they are looked at before.

use std::collections::BTreeMap;
use std::ops::Range;

use biblatex::{RawBibliography, RawChunk};

/// The longest way from one to the next: a paper in a collection in a series takes three.
const LONGEST: usize = 32;
/// The most letters, or entries, that one may stand for.
const LARGEST: usize = 1 << 20;

/// Names with what each refers to.
#[derive(Default)]
struct References<'a> {
    of: BTreeMap<&'a str, (usize, Vec<&'a str>)>,
    /// What was followed already: how much it stands for, and how far that reaches.
    known: BTreeMap<&'a str, (usize, usize)>,
}

impl<'a> References<'a> {
    /// How much a name stands for, and how far that reaches; none if that is without end or too much.
    fn follow(&mut self, name: &'a str, way: usize) -> Option<(usize, usize)> {
        if let Some(known) = self.known.get(name) {
            return Some(*known);
        }
        let Some((own, others)) = self.of.get(name).cloned() else { return Some((0, 0)) };
        if way > LONGEST {
            return None;
        }
        let (mut size, mut reach) = (own, 0);
        for other in others {
            let (more, further) = self.follow(other, way + 1)?;
            (size, reach) = (size.saturating_add(more), reach.max(further + 1));
        }
        if size > LARGEST || reach > LONGEST {
            return None;
        }
        self.known.insert(name, (size, reach));
        Some((size, reach))
    }
}

/// The text of a field, and the abbreviations in it.
fn parts<'a>(field: &[biblatex::Spanned<RawChunk<'a>>]) -> (usize, Vec<&'a str>) {
    let (mut letters, mut names) = (0, Vec::new());
    for chunk in field {
        match chunk.v {
            RawChunk::Normal(text) => letters += text.len(),
            RawChunk::Abbreviation(name) => names.push(name),
        }
    }
    (letters, names)
}

/// Where something goes round a circle, or stands for more than anyone would write.
pub(super) fn endless(raw: &RawBibliography) -> Option<Range<usize>> {
    let mut texts = References::default();
    for abbreviation in &raw.abbreviations {
        texts.of.insert(abbreviation.key.v, parts(&abbreviation.value.v));
    }
    for abbreviation in &raw.abbreviations {
        if texts.follow(abbreviation.key.v, 0).is_none() {
            return Some(abbreviation.key.span.clone());
        }
    }
    let mut entries = References::default();
    for entry in &raw.entries {
        let (mut letters, mut parents, mut names) = (0_usize, Vec::new(), vec![entry.v.key.v]);
        for field in &entry.v.fields {
            let (own, abbreviations) = parts(&field.value.v);
            let sizes = abbreviations.iter().filter_map(|name| texts.follow(name, 0));
            letters = sizes.fold(letters.saturating_add(own), |sum, (size, _)| sum.saturating_add(size));
            let listed = field.value.v.iter().filter_map(|chunk| match chunk.v {
                RawChunk::Normal(text) => Some(text),
                RawChunk::Abbreviation(_) => None,
            });
            let listed =
                listed.flat_map(|text| text.split(',')).map(|key| key.trim_matches(['{', '}', ' ', '"', '\n']));
            match field.key.v.to_ascii_lowercase().as_str() {
                // A name that is put together from abbreviations could be any.
                "crossref" | "xdata" if !abbreviations.is_empty() => return Some(field.key.span.clone()),
                "crossref" | "xdata" => parents.extend(listed),
                "ids" => names.extend(listed),
                _ => {}
            }
        }
        if letters > 64 * LARGEST {
            return Some(entry.span.clone());
        }
        names.into_iter().for_each(|name| drop(entries.of.insert(name, (1, parents.clone()))));
    }
    let mut keys = raw.entries.iter().map(|entry| &entry.v.key);
    keys.find(|key| entries.follow(key.v, 0).is_none()).map(|key| key.span.clone())
}
