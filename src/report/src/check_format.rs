//! Checks of the conference's rules that need to know where things landed. Findings are warnings: a draft may
//! break a rule, a submission may not.

use super::Mode;
use super::model::Outline;

/// Something that the conference would object to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The rule, in a word or two.
    pub rule: &'static str,
    /// What was found, with the page.
    pub problem: String,
    /// What can be done.
    pub hint: String,
}

/// Pages of content (from the title to the end of the last numbered section) of a long paper.
fn content_pages(mode: Mode) -> Option<u64> {
    match mode {
        Mode::Review => Some(8),
        Mode::Final => Some(9),
        Mode::Preprint => None,
    }
}

/// The text block begins 2.5 cm below the edge; a heading above this height is at the top of its page.
const TOP_PT: f64 = 90.0;

/// Checks the outline that the paper left: every heading with its page.
pub fn check_format(mode: Mode, outline: &Outline) -> Vec<Finding> {
    let headings = &outline.headings;
    let find = |name: &str| headings.iter().position(|h| h.text == name);
    let mut findings = Vec::new();
    let Some(limitations) = find("Limitations") else {
        findings.push(Finding {
            rule: "limitations",
            problem: "there is no section `Limitations`".to_owned(),
            hint: "papers without one are rejected unread; templates/sections/90-limitations.typ.tera has a draft"
                .to_owned(),
        });
        return findings;
    };
    let page = headings[limitations].page;
    let at_top = headings[limitations].y_pt <= TOP_PT;
    if let Some(limit) = content_pages(mode)
        && (page > limit + 1 || page == limit + 1 && !at_top)
    {
        findings.push(Finding {
            rule: "page limit",
            problem: format!("the content ends on page {page}, and {limit} pages are allowed"),
            hint: "`Limitations`, references and appendices do not count: move tables to the appendix".to_owned(),
        });
    }
    let numbered_after = headings[limitations + 1..].iter().take_while(|h| h.text != "References");
    for heading in numbered_after {
        let allowed = ["Ethical considerations", "Ethical Considerations", "Ethics Statement", "Acknowledgments"];
        let text = heading.text.as_str();
        if heading.level == 1 && !allowed.contains(&text) {
            findings.push(Finding {
                rule: "order",
                problem: format!("the section `{text}` stands between `Limitations` and the references"),
                hint: "number its file below 90, or move it to the appendix (`A2-...typ`)".to_owned(),
            });
        }
    }
    if mode == Mode::Review && find("Acknowledgments").is_some() {
        findings.push(Finding {
            rule: "anonymity",
            problem: "there are acknowledgments in a review copy".to_owned(),
            hint: "write them as `#acknowledgments[...]`, which leaves them out".to_owned(),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Heading;

    fn outline(page: u64, y_pt: f64) -> Outline {
        let heading =
            |text: &str, page: u64, y_pt: f64| Heading { text: text.to_owned(), level: 1, page, y_pt, x_pt: 70.9 };
        let headings =
            vec![heading("Conclusion", 8, 300.0), heading("Limitations", page, y_pt), heading("References", 10, 80.0)];
        Outline { pages: 12, headings }
    }

    #[test]
    fn content_must_end_in_time() {
        let rules = |mode, page, y| check_format(mode, &outline(page, y)).iter().map(|f| f.rule).collect::<Vec<_>>();
        assert!(rules(Mode::Review, 8, 700.0).is_empty());
        assert!(rules(Mode::Review, 9, 71.0).is_empty(), "at the very top of page nine");
        assert_eq!(rules(Mode::Review, 9, 300.0), ["page limit"]);
        assert!(rules(Mode::Final, 9, 300.0).is_empty());
        assert_eq!(rules(Mode::Final, 10, 300.0), ["page limit"]);
        assert!(rules(Mode::Preprint, 30, 300.0).is_empty());
    }

    #[test]
    fn limitations_are_required() {
        let findings = check_format(Mode::Final, &Outline { pages: 3, headings: Vec::new() });
        assert_eq!(findings[0].rule, "limitations");
    }
}
