//! What tells reviewers who wrote a paper: names in text, metadata, attachments and file names, and links to the authors' own.

use super::{Finding, Mode, Pdf, Setting, point, quoted};
use crate::model::Outline;
use crate::pdf::Piece;

/// Hosts where authors keep what is theirs.
const HOSTS: [&str; 9] = [
    "github.com",
    "gitlab.com",
    "bitbucket.org",
    "codeberg.org",
    "huggingface.co",
    "drive.google.com",
    "dropbox.com",
    "github.io",
    "sites.google.com",
];
/// Hosts that hide whose it is.
const ANONYMOUS: [&str; 2] = ["anonymous.4open.science", "anonymous.4open"];

pub(super) fn check(pdf: &Pdf, outline: &Outline, setting: &Setting) -> Vec<Finding> {
    if setting.mode != Mode::Review {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let finding = |problem: String, hint: &str| Finding::new("anonymity", problem, hint);
    let says_anonymous = |page: &crate::pdf::Page| {
        page.pieces.iter().any(|piece| piece.y < 220.0 && piece.text.to_lowercase().contains("anonymous"))
    };
    if pdf.pages.first().is_some_and(|page| !says_anonymous(page)) {
        let hint =
            "a review copy has `Anonymous ACL submission` for its authors: `harness report --mode review` writes it";
        findings.push(finding("the title block does not say `Anonymous`".to_owned(), hint).on(1));
    }
    for heading in &outline.headings {
        if heading.text.to_lowercase().starts_with("acknowledg") {
            let hint = "write them as `#acknowledgments[...]`, which leaves them out of a review copy";
            findings
                .push(finding("there are acknowledgments in a review copy".to_owned(), hint).on(heading.page as usize));
        }
    }
    for (name, text) in &pdf.metadata {
        if name == "Author" && !["", "anonymous"].contains(&text.trim().to_lowercase().as_str()) {
            let hint = "leave the author out of the metadata, or write `Anonymous`";
            findings.push(finding(format!("the metadata name an author, {}", quoted(text)), hint).at(name.clone()));
        }
    }
    let said = |text: &str| setting.identities.iter().find(|identity| contains(text, identity)).cloned();
    for (name, text) in pdf.metadata.iter().filter(|(name, _)| name != "Author") {
        if let Some(identity) = said(text) {
            let problem = format!("the metadata say {}", quoted(&identity));
            findings.push(finding(problem, "take it out of report/paper.toml's title and keywords").at(name.clone()));
        }
    }
    if let Some(identity) = said(&setting.file.replace(['_', '-', '.'], " ")) {
        findings.push(finding(format!("the file name says {}", quoted(&identity)), "give the file another name"));
    }
    // The list of works may name the authors: they cite themselves as others do.
    let start = outline.headings.iter().position(|heading| heading.text == "References");
    let listed = start
        .map_or_else(Vec::new, |at| super::parts::between(pdf, &outline.headings[at], outline.headings.get(at + 1)));
    for (at, page) in pdf.pages.iter().enumerate() {
        let is_listed = |piece: &&Piece| listed.iter().any(|own| std::ptr::eq(*own, *piece));
        let pieces: Vec<&Piece> = page.pieces.iter().filter(|piece| !is_listed(piece)).collect();
        let text = pieces.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>().join(" ");
        if let Some(identity) = said(&text) {
            let problem = format!("the page says {}", quoted(&identity));
            let found = finding(problem, "leave it out, or cite in the third person").on(at + 1);
            let piece = pieces.iter().find(|piece| contains(&piece.text, &identity));
            findings.push(piece.map_or(found.clone(), |piece| found.at(point(piece.left, piece.y))));
        }
        if let Some(path) = home_folder(&text) {
            let hint = "write the path as it is below the project";
            findings.push(finding(format!("the page shows a home folder, {}", quoted(&path)), hint).on(at + 1));
        }
        for link in &page.links {
            let is_of_list =
                start.is_some_and(|start| super::parts::holds(&outline.headings, start, at + 1, link.left, link.top));
            let is_mail = link.address.starts_with("mailto:");
            let is_kept = HOSTS.iter().any(|host| link.address.contains(host))
                && !ANONYMOUS.iter().any(|host| link.address.contains(host));
            if said(&link.address).is_some() || is_mail || is_kept && !is_of_list {
                let hint = "reviewers may not be led to the authors: leave the link out, or use anonymous.4open.science; what \
                    others made is cited in the references";
                let problem = format!("a link leads to {}", quoted(&link.address));
                findings.push(finding(problem, hint).on(at + 1).at(point(link.left, link.top)));
            }
        }
    }
    for file in &pdf.attachments {
        let text = file.bytes.as_deref().map_or(String::new(), |bytes| String::from_utf8_lossy(bytes).into_owned());
        let found = said(&file.name).or_else(|| said(&text)).or_else(|| home_folder(&text)).or_else(|| commit(&text));
        if let Some(identity) = found {
            let hint = "attach to a review copy only what `harness report --mode review` attaches";
            findings.push(finding(format!("an attachment says {}", quoted(&identity)), hint).at(file.name.clone()));
        }
    }
    findings
}

/// Whether a text holds a name as a whole.
fn contains(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(&name)
        .any(|(at, _)| !inside(text[..at].chars().next_back()) && !inside(text[at + name.len()..].chars().next()))
}

/// A path below somebody's home folder.
fn home_folder(text: &str) -> Option<String> {
    let at = ["/home/", "/Users/", "C:\\Users\\"].iter().find_map(|start| text.find(start))?;
    let path: String = text[at..].chars().take_while(|c| !c.is_whitespace() && *c != '"').collect();
    (path.len() > 8).then_some(path)
}

/// A commit that an attachment names.
fn commit(text: &str) -> Option<String> {
    let after = text.split_once("\"commit\"")?.1.trim_start_matches([':', ' ', '"']);
    let digits: String = after.chars().take_while(char::is_ascii_hexdigit).collect();
    (digits.len() >= 7).then(|| format!("the commit {digits}"))
}
