//! The data of a figure as one table in CSV, so that a reader can draw it again.
//!
//! What a figure is drawn from comes in as JSON. Each list in it becomes rows; what stands beside a list is repeated in
//! each of its rows. Columns have the names of the fields, with as much of their path as tells them apart; the position
//! in a list of anything but objects is a column of its own, from 1, whose name ends with `[]`.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::thinned;

/// Curves of more points are given by the least and the largest value of each stretch, as they are drawn.
const MOST_POINTS: usize = 800;

type Row = Vec<(String, String)>;

/// All leaves of `value` as a table.
pub(super) fn csv(value: &Value) -> String {
    let mut rows = Vec::new();
    emit("", value, &Row::new(), &mut rows);
    let mut columns: Vec<&str> = Vec::new();
    for (column, _) in rows.iter().flatten() {
        if !columns.contains(&column.as_str()) {
            columns.push(column);
        }
    }
    let mut out = line(&columns.iter().map(|column| shortest(column, &columns)).collect::<Vec<_>>());
    for row in &rows {
        let cell = |column: &&str| row.iter().find(|(own, _)| own == column).map_or("", |(_, text)| text.as_str());
        out.push_str(&line(&columns.iter().map(cell).collect::<Vec<_>>()));
    }
    out
}

/// As much of the end of a path as no other column has.
fn shortest<'a>(column: &'a str, columns: &[&str]) -> &'a str {
    let starts = column.rmatch_indices('.').map(|(at, _)| at + 1);
    let is_own = |end: &&str| columns.iter().filter(|c| **c == *end || c.ends_with(&format!(".{end}"))).count() == 1;
    starts.map(|at| &column[at..]).find(is_own).unwrap_or(column)
}

fn emit(path: &str, value: &Value, before: &Row, rows: &mut Vec<Row>) {
    let (mut row, mut lists) = (before.clone(), Vec::new());
    flatten(path, value, &mut row, &mut lists);
    if lists.is_empty() {
        rows.push(row);
        return;
    }
    for (path, items) in lists {
        for (at, item) in items.iter().enumerate() {
            let mut row = row.clone();
            if !item.is_object() {
                let depth = row.iter().filter(|(column, _)| column.trim_end_matches("[]") == path).count() + 1;
                row.push((format!("{path}{}", "[]".repeat(depth)), (at + 1).to_string()));
            }
            emit(&path, item, &row, rows);
        }
    }
}

/// The leaves of objects within objects, and the lists.
fn flatten<'a>(path: &str, value: &'a Value, row: &mut Row, lists: &mut Vec<(String, &'a [Value])>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, row, lists);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => lists.push((path.to_owned(), items)),
        Value::String(text) => row.push((path.to_owned(), text.clone())),
        Value::Null => row.push((path.to_owned(), String::new())),
        other => row.push((path.to_owned(), other.to_string())),
    }
}

fn line(cells: &[&str]) -> String {
    let cell = |cell: &&str| {
        let quoted = cell.contains([',', '"', '\n', '\r']);
        if quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { (*cell).to_owned() }
    };
    let mut line = cells.iter().map(cell).collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

#[derive(Serialize)]
struct Point {
    x: f64,
    y: f64,
}

/// Points as objects.
pub(super) fn points<S: Serializer>(points: &[(f64, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(thinned(points, MOST_POINTS).into_iter().map(|(x, y)| Point { x, y }))
}

/// The points of each seed as objects.
pub(super) fn seeds<S: Serializer>(seeds: &[Vec<(f64, f64)>], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Seed<'a>(#[serde(serialize_with = "points")] &'a [(f64, f64)]);
    serializer.collect_seq(seeds.iter().map(|seed| Seed(seed)))
}

#[derive(Serialize)]
struct Ends {
    low: f64,
    high: f64,
}

/// The ends of an interval as an object.
pub(super) fn ends<S: Serializer>(&[low, high]: &[f64; 2], serializer: S) -> Result<S::Ok, S::Error> {
    Ends { low, high }.serialize(serializer)
}

/// Likewise, where there is one.
pub(super) fn interval<S: Serializer>(interval: &Option<[f64; 2]>, serializer: S) -> Result<S::Ok, S::Error> {
    interval.map(|[low, high]| Ends { low, high }).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_leaf_is_in_a_row_with_what_stands_beside_its_list() {
        let value = json!({
            "x": "steps",
            "curves": [
                { "subject": "a, b", "end": { "low": 1.5 }, "seeds": [[{ "x": 1, "y": 2.5 }, { "x": 2, "y": null }], [{ "x": 1, "y": 3.0 }]] },
                { "subject": "c", "seeds": [] },
            ],
            "references": [0.5, 0.25],
        });
        assert_eq!(
            csv(&value),
            "x,subject,low,seeds[],seeds.x,y,references[],references\n\
             steps,\"a, b\",1.5,1,1,2.5,,\n\
             steps,\"a, b\",1.5,1,2,,,\n\
             steps,\"a, b\",1.5,2,1,3.0,,\n\
             steps,c,,,,,,\n\
             steps,,,,,,1,0.5\n\
             steps,,,,,,2,0.25\n"
        );
    }
}
