//! Two tables of the same numbers, cell by cell. Numbers are written in the fewest decimals that give their bits back, so that
//! bits can be compared in the text.

use harness_core::scores::{StepLine, TableError, to_csv};
use serde::Serialize;

/// Columns that say how fast it went and on what, which another time says otherwise.
const NOT_COMPUTED: [&str; 6] =
    ["wall_time_s", "tokens_per_s", "data_wait_share", "model_flops_utilization", "memory_bytes", "power_w"];
/// Columns that say which row it is.
const PLACE: [&str; 6] = ["step", "item", "choice", "document", "first_token", "position"];
/// A rate follows from its formula alone: only the last bits of a cosine may differ.
const EXACT: (&str, f64) = ("learning_rate", 1e-9);
/// The norm of a sum moves further than the sum of losses does.
const NORM: (&str, f64) = ("gradient_norm", 10.0);
/// So many steps are held row by row: in twenty, last bits do not come near the limits.
const EARLY_STEPS: usize = 20;
/// The mean loss of a window moves further than its first losses.
const MEANS: f64 = 10.0;
/// Of the rows that a tie of two tokens may turn over, this share.
const TURNED_OVER: f64 = 0.01;

/// A cell that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The row, such as `step 13` or `item 4, choice 1`.
    pub at: String,
    /// The column.
    pub column: String,
    /// What the record says.
    pub recorded: String,
    /// What was computed now.
    pub again: String,
    /// How far they lie apart, as a share of the recorded number (of 1, where that is smaller); 1 for what is no number.
    pub share: f64,
}

/// What a comparison of two tables found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Compared {
    /// Rows that were compared.
    pub rows: usize,
    /// The first cell that differs.
    pub first: Option<Difference>,
    /// The cell that lies furthest apart.
    pub worst: Option<Difference>,
    /// Whether all lie within what rounding explains.
    pub is_close: bool,
}

impl Compared {
    /// Whether every cell has the same bits.
    pub fn is_identical(&self) -> bool {
        self.first.is_none()
    }
}

/// Compares what was recorded with what was computed now, in CSV; numbers may lie apart by this share where they may at all.
pub(super) fn compare(recorded: &[u8], again: &[u8], share: f64) -> Result<Compared, TableError> {
    let (header, recorded) = read(recorded, "the recorded table")?;
    let (header_again, again) = read(again, "the table computed now")?;
    let mut compared = Compared { rows: recorded.len().min(again.len()), is_close: true, ..Compared::default() };
    if header != header_again || recorded.len() != again.len() {
        let shape = |header: &csv::StringRecord, rows: usize| {
            format!("{rows} rows of {}", header.iter().collect::<Vec<_>>().join(","))
        };
        compared.note(Difference {
            at: "the whole table".to_owned(),
            column: "all".to_owned(),
            recorded: shape(&header, recorded.len()),
            again: shape(&header_again, again.len()),
            share: 1.0,
        });
        compared.is_close = false;
        return Ok(compared);
    }
    let mut turned_over = 0;
    for (old, new) in recorded.iter().zip(&again) {
        for ((column, old_cell), new_cell) in header.iter().zip(old).zip(new) {
            if old_cell == new_cell || NOT_COMPUTED.contains(&column) {
                continue;
            }
            let apart = apart(column, old_cell, new_cell);
            let limit = match column {
                _ if column == EXACT.0 => EXACT.1,
                _ if column == NORM.0 => share * NORM.1,
                _ => share,
            };
            let is_turned_over = [old_cell, new_cell].iter().all(|cell| ["true", "false"].contains(cell));
            turned_over += usize::from(is_turned_over);
            compared.is_close &= is_turned_over || apart.is_some_and(|apart| apart <= limit);
            let places = header.iter().zip(old).filter(|(column, _)| PLACE.contains(column));
            compared.note(Difference {
                at: places
                    .map(|(column, cell)| format!("{} {cell}", column.replace('_', " ")))
                    .collect::<Vec<_>>()
                    .join(", "),
                column: column.to_owned(),
                recorded: old_cell.to_owned(),
                again: new_cell.to_owned(),
                share: apart.unwrap_or(1.0),
            });
        }
    }
    compared.is_close &= turned_over as f64 <= (TURNED_OVER * compared.rows as f64).max(1.0);
    Ok(compared)
}

/// Whether steps that were computed on another machine are those of the record: the first ones row by row, before the last bits
/// have grown, and all of them by their mean loss. Gives how far the means lie apart, as a share, too.
pub(super) fn are_close(recorded: &[&StepLine], again: &[&StepLine], share: f64) -> Result<(bool, f64), TableError> {
    let early = |rows: &[&StepLine]| to_csv(rows.iter().take(EARLY_STEPS));
    let mean = |rows: &[&StepLine]| rows.iter().map(|row| row.loss_nats).sum::<f64>() / rows.len().max(1) as f64;
    let apart = (mean(recorded) - mean(again)).abs() / mean(recorded).abs().max(f64::MIN_POSITIVE);
    let is_close = recorded.len() == again.len() && apart <= MEANS * share;
    Ok((is_close && compare(&early(recorded), &early(again), share)?.is_close, apart))
}

impl Compared {
    fn note(&mut self, difference: Difference) {
        if self.worst.as_ref().is_none_or(|worst| difference.share > worst.share) {
            self.worst = Some(difference.clone());
        }
        self.first.get_or_insert(difference);
    }
}

/// How far two numbers lie apart; none where one of them is no finite fraction. Counts are never close.
fn apart(column: &str, recorded: &str, again: &str) -> Option<f64> {
    let fraction =
        |cell: &str| cell.contains(['.', 'e']).then(|| cell.parse::<f64>().ok()).flatten().filter(|n| n.is_finite());
    let (recorded, again) = (fraction(recorded)?, fraction(again)?);
    let scale = if column == EXACT.0 { recorded.abs().max(f64::MIN_POSITIVE) } else { recorded.abs().max(1.0) };
    Some((recorded - again).abs() / scale)
}

fn read(bytes: &[u8], name: &str) -> Result<(csv::StringRecord, Vec<csv::StringRecord>), TableError> {
    let mut reader = csv::Reader::from_reader(bytes);
    let wrong = |error: csv::Error| TableError::Row { file: name.to_owned(), problem: error.to_string() };
    let header = reader.headers().map_err(wrong)?.clone();
    Ok((header, reader.records().collect::<Result<_, _>>().map_err(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(recorded: &str, again: &str) -> Compared {
        let table = |rows: &str| format!("step,loss_nats,learning_rate,wall_time_s\n{rows}");
        compare(table(recorded).as_bytes(), table(again).as_bytes(), 1e-3).unwrap()
    }

    #[test]
    fn the_first_difference_and_the_largest_are_named() {
        let same = of("1,2.5,0.1,7.0\n2,2.25,0.1,8.0\n", "1,2.5,0.1,9.0\n2,2.25,0.1,9.5\n");
        assert!(same.is_identical() && same.is_close && same.rows == 2, "times are not compared: {same:?}");

        let close = of("1,2.5,0.1,7.0\n2,2.25,0.1,8.0\n", "1,2.5000000000000004,0.1,7.0\n2,2.2501,0.1,8.0\n");
        assert!(close.is_close && !close.is_identical(), "{close:?}");
        assert_eq!((close.first.unwrap().at.as_str(), close.worst.unwrap().at.as_str()), ("step 1", "step 2"));

        assert!(!of("1,2.5,0.1,7.0\n", "1,2.51,0.1,7.0\n").is_close);
        assert!(!of("1,2.5,0.1,7.0\n", "1,2.5,0.1001,7.0\n").is_close, "a rate follows from its formula");
        assert!(!of("1,2.5,0.1,7.0\n", "1,NaN,0.1,7.0\n").is_close, "what is no number is never close");
        assert!(!of("1,2.5,0.1,7.0\n", "2,2.5,0.1,7.0\n").is_close, "another row is never close");
        assert!(!of("1,2.5,0.1,7.0\n", "").is_close, "rows that are missing are never close");
    }
}
