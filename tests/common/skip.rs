//! What a test says where it cannot run.

/// Says that the running test is skipped, as the machine lacks something that may be installed with `mend`. Where the
/// variable `HARNESS_MAY_LACK` lists what the machine may lack, as in continuous integration, nothing else is skipped.
#[track_caller]
pub(crate) fn skip(lacks: &str, mend: &str) {
    if let Ok(listed) = std::env::var("HARNESS_MAY_LACK") {
        assert!(
            listed.split_whitespace().any(|may| may == lacks),
            "{lacks} is missing, and no test is skipped: {mend}"
        );
    }
    eprintln!("skipped, {lacks} is missing: {mend}");
}
