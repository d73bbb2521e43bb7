//! The paper as types: what passes between the records, Typst and an audit, in one JSON form each.
//!
//! Rust decides once how a number is shown (digits, sign, unit, words) and hands that over as data; Typst sets it and
//! notes where it landed; an audit reads the notes as the same types and computes each of them again. No text of one
//! side is compared with a wording of the other.

mod bound;
mod claim;
mod number;
mod shape;

pub use bound::{Bound, Direction, Note, Quantity};
pub use claim::{Claim, Relation, Scope};
pub use number::{Count, Number, Shown, half_width};
pub use shape::{Align, Cell, FigureRef, Float, Heading, Outline, Piece, Row, Table};
