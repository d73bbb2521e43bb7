//! Drafts that follow the records. `report/drafted/` keeps each draft as it was last written. Where the file of the paper
//! still equals it, nobody has edited that file, and it is written anew when the records give another draft; where it
//! does not, it is somebody's own and never touched, and the kept draft says what has changed since they took it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use harness_core::files::{self, FileError};
use harness_core::names::Project;
use serde::Serialize;
use similar::TextDiff;

use super::section::Section;
use super::{REPORT, SECTIONS};

/// Where drafts are kept as they were last written, relative to the project.
const DRAFTED: &str = "report/drafted";

/// A file of the paper as today's records give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drafted {
    /// Relative to `report/`.
    pub path: String,
    pub text: String,
    /// Whether the paper has a place for it. One that has none stays where somebody edited it.
    pub is_wanted: bool,
}

/// What became of the drafts. Paths are relative to the project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// Written for the first time.
    pub created: Vec<String>,
    /// Written again, because nobody had edited them and the records have changed.
    pub rewritten: Vec<String>,
    /// Removed, because the paper has no place for them any more and nobody had edited them.
    pub removed: Vec<String>,
    /// Edited, while the records give another draft than the one that they were made from.
    pub behind: Vec<String>,
    /// Edited, while what they were about is no longer there.
    pub left: Vec<String>,
}

/// What is known of one file: as it stands in the paper, and as it was last drafted.
struct Known {
    own: Option<String>,
    drafted: Option<String>,
}

impl Known {
    fn of(project: &Project, path: &str) -> Result<Self, FileError> {
        let read = |path: PathBuf| files::is_file(&path).then(|| files::read_to_string(&path)).transpose();
        Ok(Known { own: read(own(project, path))?, drafted: read(kept(project, path))? })
    }

    /// Whether somebody's own text stands on another draft than this one.
    fn is_behind(&self, draft: &str) -> bool {
        self.own.as_deref().is_some_and(|own| own != draft)
            && self.own != self.drafted
            && self.drafted.as_deref() != Some(draft)
    }
}

fn own(project: &Project, path: &str) -> PathBuf {
    project.root().join(REPORT).join(path)
}

fn kept(project: &Project, path: &str) -> PathBuf {
    project.root().join(DRAFTED).join(path)
}

/// Writes a file of the paper as somebody edited today's draft of it.
pub(super) fn begin(project: &Project, draft: &Drafted, edited: &str) -> Result<(), FileError> {
    files::write(&own(project, &draft.path), edited.as_bytes())?;
    files::write(&kept(project, &draft.path), draft.text.as_bytes())
}

/// Brings what nobody edited to where the records are.
pub(super) fn follow(project: &Project, drafts: &[Drafted]) -> Result<Followed, FileError> {
    let mut followed = Followed::default();
    // Whoever removes a section does not want it; whoever removes all of them wants to begin anew.
    let begins = files::list(&project.root().join(SECTIONS))?.is_empty();
    for Drafted { path, text, is_wanted } in drafts {
        let known = Known::of(project, path)?;
        let shown = format!("{REPORT}/{path}");
        if !is_wanted && (known.own.is_none() || known.own == known.drafted) {
            if known.own.is_some() {
                files::remove(&own(project, path))?;
                files::remove(&kept(project, path))?;
                followed.removed.push(shown);
            }
            continue;
        }
        let write = || -> Result<(), FileError> {
            files::write(&own(project, path), text.as_bytes())?;
            files::write(&kept(project, path), text.as_bytes())
        };
        match (&known.own, &known.drafted) {
            (None, drafted) if begins || drafted.is_none() => {
                write()?;
                followed.created.push(shown);
            }
            (None, _) => {}
            (Some(own), drafted) if own == text => {
                if drafted.as_ref() != Some(text) {
                    files::write(&kept(project, path), text.as_bytes())?;
                }
            }
            (Some(own), Some(drafted)) if own == drafted => {
                write()?;
                followed.rewritten.push(shown);
            }
            (Some(_), _) if known.is_behind(text) => followed.behind.push(shown),
            (Some(_), _) => {}
        }
    }
    for path in without_draft(project, drafts)? {
        let Known { own: text, drafted } = Known::of(project, &path)?;
        let shown = format!("{REPORT}/{path}");
        if text.is_some() && text != drafted {
            followed.left.push(shown);
            continue;
        }
        if text.is_some() {
            files::remove(&own(project, &path))?;
            followed.removed.push(shown);
        }
        files::remove(&kept(project, &path))?;
    }
    Ok(followed)
}

/// The sections that are not as they were drafted.
pub(super) fn edited<'a>(project: &Project, sections: &'a [Section]) -> Result<Vec<&'a Section>, FileError> {
    let mut edited = Vec::new();
    for section in sections {
        let path = section.path.strip_prefix("report/").unwrap_or(&section.path);
        let kept = kept(project, path);
        if !files::is_file(&kept) || files::read_to_string(&kept)? != section.text {
            edited.push(section);
        }
    }
    Ok(edited)
}

/// Files that were drafted once and are not any more.
fn without_draft(project: &Project, drafts: &[Drafted]) -> Result<Vec<String>, FileError> {
    let now: BTreeSet<&str> = drafts.iter().map(|draft| draft.path.as_str()).collect();
    let once = files::list_recursive(&project.root().join(DRAFTED))?;
    Ok(once.into_iter().filter(|path| !now.contains(path.as_str())).collect())
}

/// The three texts of an edited file, as two differences: from the draft that it was made from to what it is now, and to
/// what the records give today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DraftDiff {
    /// The file, relative to the project.
    pub path: String,
    /// Old draft to today's, in the unified format; none where the old draft was not kept.
    pub records: Option<String>,
    /// What was edited: the old draft to the file, or where it was not kept, today's draft to the file.
    pub yours: String,
}

/// The edited files whose draft has changed since.
pub(super) fn diffs(project: &Project, drafts: &[Drafted]) -> Result<Vec<DraftDiff>, FileError> {
    let mut diffs = Vec::new();
    for Drafted { path, text, .. } in drafts {
        let known = Known::of(project, path)?;
        let Some(own) = known.own.as_ref().filter(|_| known.is_behind(text)) else { continue };
        let shown = format!("{REPORT}/{path}");
        let unified = |from: &str, to: &str, names: [&str; 2]| {
            TextDiff::from_lines(from, to).unified_diff().header(names[0], names[1]).to_string()
        };
        diffs.push(match &known.drafted {
            Some(old) => DraftDiff {
                records: Some(unified(old, text, ["old draft", "today's draft"])),
                yours: unified(old, own, ["old draft", &shown]),
                path: shown,
            },
            None => DraftDiff { records: None, yours: unified(text, own, ["today's draft", &shown]), path: shown },
        });
    }
    Ok(diffs)
}

/// Takes today's drafts of edited files for seen: only what changes from now on is told.
pub(super) fn seen(project: &Project, drafts: &[Drafted]) -> Result<(), FileError> {
    for Drafted { path, text, .. } in drafts {
        if Known::of(project, path)?.is_behind(text) {
            files::write(&kept(project, path), text.as_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(path: &str, text: &str) -> Drafted {
        Drafted { path: path.to_owned(), text: text.to_owned(), is_wanted: true }
    }

    fn names(path: &str) -> Vec<String> {
        vec![format!("report/{path}")]
    }

    #[test]
    fn a_draft_follows_the_records_until_somebody_edits_it() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::at(folder.path());
        let path = "sections/10-a.typ";
        let text = || files::read_to_string(&own(&project, path)).unwrap();
        let at = |words: &str| follow(&project, &[draft(path, words)]).unwrap();
        assert_eq!(at("one"), Followed { created: names(path), ..Followed::default() });
        assert_eq!(at("one"), Followed::default());
        assert_eq!(at("two"), Followed { rewritten: names(path), ..Followed::default() });
        assert_eq!(text(), "two");
        files::write(&own(&project, path), b"ours").unwrap();
        assert_eq!(at("two"), Followed::default(), "edited, and the draft is as it was");
        assert_eq!(at("three"), Followed { behind: names(path), ..Followed::default() });
        assert_eq!(text(), "ours");
        let [diff] = &diffs(&project, &[draft(path, "three")]).unwrap()[..] else { panic!("one") };
        let records = diff.records.as_ref().unwrap();
        assert!(records.contains("-two") && records.contains("+three"), "{records}");
        assert!(diff.yours.contains("-two") && diff.yours.contains("+ours"), "{}", diff.yours);
        seen(&project, &[draft(path, "three")]).unwrap();
        assert_eq!(at("three"), Followed::default());
        assert_eq!(at("four").behind, names(path));
        // Whoever takes the draft over has a file that follows again.
        files::write(&own(&project, path), b"four").unwrap();
        assert_eq!(at("four"), Followed::default());
        assert_eq!(at("five").rewritten, names(path));
    }

    #[test]
    fn what_lost_its_experiment_goes_unless_somebody_edited_it() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::at(folder.path());
        let both = [draft("sections/60-a.typ", "a"), draft("sections/60-b.typ", "b"), draft("sections/70-c.typ", "c")];
        follow(&project, &both).unwrap();
        files::write(&own(&project, "sections/60-b.typ"), b"ours").unwrap();
        let followed = follow(&project, &both[2..]).unwrap();
        assert_eq!((followed.removed, followed.left), (names("sections/60-a.typ"), names("sections/60-b.typ")));
        assert!(!own(&project, "sections/60-a.typ").exists());
        assert_eq!(files::read_to_string(&own(&project, "sections/60-b.typ")).unwrap(), "ours");
    }

    #[test]
    fn what_has_no_place_goes_and_what_somebody_edited_stays_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::at(folder.path());
        let mut drafts = [draft("sections/60-a.typ", "a"), draft("sections/60-b.typ", "b")];
        follow(&project, &drafts).unwrap();
        files::write(&own(&project, "sections/60-b.typ"), b"ours").unwrap();
        drafts.iter_mut().for_each(|draft| draft.is_wanted = false);
        let followed = follow(&project, &drafts).unwrap();
        assert_eq!(followed, Followed { removed: names("sections/60-a.typ"), ..Followed::default() });
        assert_eq!(follow(&project, &drafts).unwrap(), Followed::default());
        assert!(own(&project, "sections/60-b.typ").exists());
    }

    #[test]
    fn a_section_that_was_removed_stays_away_and_all_of_them_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::at(folder.path());
        let drafts = [draft("sections/60-a.typ", "a"), draft("sections/60-b.typ", "b")];
        follow(&project, &drafts).unwrap();
        files::remove(&own(&project, "sections/60-a.typ")).unwrap();
        assert_eq!(follow(&project, &drafts).unwrap(), Followed::default());
        assert!(!own(&project, "sections/60-a.typ").exists());
        files::remove(&own(&project, "sections/60-b.typ")).unwrap();
        assert_eq!(follow(&project, &drafts).unwrap().created.len(), 2);
    }

    #[test]
    fn a_file_from_before_drafts_were_kept_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::at(folder.path());
        files::write(&own(&project, "sections/60-a.typ"), b"ours").unwrap();
        let drafts = [draft("sections/60-a.typ", "a")];
        assert_eq!(follow(&project, &drafts).unwrap().behind, names("sections/60-a.typ"));
        let [diff] = &diffs(&project, &drafts).unwrap()[..] else { panic!("one") };
        assert_eq!(diff.records, None);
        assert!(diff.yours.contains("+ours"), "{}", diff.yours);
        assert_eq!(files::read_to_string(&own(&project, "sections/60-a.typ")).unwrap(), "ours");
    }
}
