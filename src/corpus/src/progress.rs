//! How long work tells its caller where it is. The command line draws it; tests are silent.

/// What a stage counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of files.
    Bytes,
    /// Documents of a corpus.
    Documents,
    /// Items of a task.
    Items,
}

/// Receives the progress of one stage after another. Stages do not nest.
pub trait Progress: Send {
    /// A stage begins; `total` is how far it will count, where that is known.
    fn begin(&mut self, stage: &str, total: Option<u64>, unit: Unit);
    /// `count` more units are done.
    fn advance(&mut self, count: u64);
    /// The stage has ended.
    fn end(&mut self);
    /// Something worth a line of its own, such as a file taken from the mirror.
    fn note(&mut self, message: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: &str, _: Option<u64>, _: Unit) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, _: &str) {}
}
