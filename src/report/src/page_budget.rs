//! Where the content of the paper ends, section by section, against the pages that it may have.

use serde::{Deserialize, Serialize};

use super::model::{Heading, Outline};

/// The text block of a column begins 2.5 cm below the edge of the sheet and is 24.7 cm high, in points.
const TOP_PT: f64 = 70.9;
const HEIGHT_PT: f64 = 700.2;
/// Left of this a heading stands in the first column.
const MIDDLE_PT: f64 = 297.0;

/// Pages by which a heading at the top of a column lies below its edge, and a little more.
const AT_THE_TOP: f64 = 0.02;

/// How the paper fits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PageBudget {
    /// Pages that the content may have.
    pub limit: u64,
    /// Pages that it has: up to the heading `Limitations`, or else to the first heading without a number.
    pub pages: f64,
    /// Each numbered section of the body with the page that it ends on.
    pub ends: Vec<(String, u64)>,
    /// What takes most of the pages, the largest first: where to look when it is over.
    pub largest: Vec<(String, f64)>,
}

impl PageBudget {
    /// Of a paper as it was laid out.
    pub fn of(limit: u64, outline: &Outline) -> Self {
        let headings = &outline.headings;
        let end = headings.iter().position(|h| h.text == "Limitations").unwrap_or(headings.len());
        let (body, after) = headings.split_at(end);
        let last = after.first().map_or(outline.pages as f64, place);
        let mut budget = PageBudget { limit, pages: last, ..PageBudget::default() };
        for (at, heading) in body.iter().enumerate() {
            let of_level = |level: u64| {
                let next = body[at + 1..].iter().find(|next| next.level <= level);
                next.map_or(last, place)
            };
            if heading.level == 1 {
                // What ends at the very top of a page ends on the one before.
                let page = (of_level(1) - AT_THE_TOP).floor().max(0.0) as u64 + 1;
                budget.ends.push((heading.text.clone(), page));
            }
            let has_parts = body.get(at + 1).is_some_and(|next| next.level > heading.level);
            if heading.level <= 2 && !has_parts {
                budget.largest.push((heading.text.clone(), of_level(heading.level) - place(heading)));
            }
        }
        budget.largest.sort_by(|a, b| b.1.total_cmp(&a.1));
        budget.largest.truncate(3);
        budget
    }

    /// Whether the content needs more pages than it may have.
    pub fn is_over(&self) -> bool {
        self.pages > self.limit as f64 + AT_THE_TOP
    }

    /// One line for a terminal.
    pub fn line(&self) -> String {
        let ends: Vec<String> = self.ends.iter().map(|(title, page)| format!("{title} {page}")).collect();
        format!(
            "page budget: {:.1} of {} pages of content; sections end on pages: {}",
            self.pages,
            self.limit,
            ends.join(", ")
        )
    }

    /// What to move when it is over.
    pub fn remedy(&self) -> Option<String> {
        let largest: Vec<String> =
            self.largest.iter().map(|(title, pages)| format!("`{title}` ({pages:.1})")).collect();
        self.is_over().then(|| {
            format!(
                "{:.1} pages must go: the longest parts are {}; move figures and tables to the appendix (report/sections/A?-*.typ), \
                 or name fewer changes in `[pages] subsections` of report/paper.toml",
                self.pages - self.limit as f64,
                largest.join(", ")
            )
        })
    }
}

/// Pages before a heading, as columns are read.
fn place(heading: &Heading) -> f64 {
    let column = if heading.x_pt < MIDDLE_PT { 0.0 } else { 0.5 };
    let depth = ((heading.y_pt - TOP_PT) / HEIGHT_PT).clamp(0.0, 1.0);
    heading.page.saturating_sub(1) as f64 + column + depth / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(text: &str, level: u64, page: u64, x_pt: f64, y_pt: f64) -> Heading {
        Heading { text: text.to_owned(), level, page, y_pt, x_pt }
    }

    #[test]
    fn pages_are_counted_in_columns_up_to_the_limitations() {
        let (left, right) = (70.9, 306.0);
        let headings = vec![
            heading("Introduction", 1, 1, left, 240.0),
            heading("Changes", 1, 1, right, 420.95),
            heading("Wider", 2, 1, right, 441.0),
            heading("Deeper", 2, 2, left, 70.9),
            heading("Conclusion", 1, 3, left, 70.9),
            heading("Limitations", 1, 3, right, 70.9),
            heading("References", 1, 4, left, 70.9),
        ];
        let budget = PageBudget::of(2, &Outline { pages: 6, headings, ..Outline::default() });
        assert!((budget.pages - 2.5).abs() < 1e-9, "{budget:?}");
        let ends: Vec<(&str, u64)> = budget.ends.iter().map(|(title, page)| (title.as_str(), *page)).collect();
        assert_eq!(ends, [("Introduction", 1), ("Changes", 2), ("Conclusion", 3)]);
        assert_eq!(budget.largest[0].0, "Deeper");
        assert!(budget.is_over() && budget.remedy().unwrap().contains("`Deeper` (1.0)"), "{:?}", budget.remedy());
        assert!(budget.line().starts_with("page budget: 2.5 of 2 pages of content"), "{}", budget.line());
    }

    #[test]
    fn limitations_at_the_top_of_the_next_page_are_no_excess() {
        let headings = vec![heading("Conclusion", 1, 8, 70.9, 300.0), heading("Limitations", 1, 9, 70.9, 71.5)];
        let budget = PageBudget::of(8, &Outline { pages: 9, headings, ..Outline::default() });
        assert_eq!(budget.ends, [("Conclusion".to_owned(), 8)]);
        assert_eq!((budget.is_over(), budget.remedy()), (false, None));
    }
}
