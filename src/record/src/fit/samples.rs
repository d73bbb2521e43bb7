//! Texts that a model went on to: as many as their job asks for, each with the tokens that the trainer drew. Whether a text is that
//! of its tokens only the tokenizer tells.

use harness_core::contract::{GeneratedSample, Job, Sampling};
use harness_core::files;
use harness_core::samples::{GENERATED, SampleText, are_as_asked};
use harness_core::scores::{TableError, read_json_lines, to_json_lines};
use serde::{Serialize, de::DeserializeOwned};

use super::{Jobs, Run};
use crate::format::{Status, file};

/// The step whose checkpoint a job draws samples from, if it draws any.
pub(super) fn step_of(run: &Run<'_>, jobs: &[Job], at: usize) -> Option<u64> {
    let checkpoint = run.open.evaluates.as_ref()?.checkpoints.get(at)?;
    jobs.get(at)?.sampling.as_ref().map(|_| checkpoint.step)
}

pub(super) fn check(run: &mut Run<'_>, jobs: &Jobs) {
    let asked = (0..jobs.len()).filter_map(|at| Some((step_of(run, jobs, at)?, jobs[at].sampling.clone()?)));
    let asked: Vec<(u64, Sampling)> = asked.collect();
    let texts = if run.sealed.contains_key(file::SAMPLES) { lines::<SampleText>(run, file::SAMPLES) } else { None };
    let mut rest = texts.iter().flatten().peekable();
    for (step, sampling) in &asked {
        let path = format!("evaluations/step-{step:08}/{GENERATED}");
        // What is not there was not drawn: a run that was completed is found to lack it.
        let Some(drawn) = run.sealed.contains_key(&path).then(|| lines::<GeneratedSample>(run, &path)).flatten() else {
            continue;
        };
        run.hold(are_as_asked(&drawn, sampling), &path, || "has not the samples that its job asks for".to_owned());
        let prompt = rest.peek().map(|line| line.prompt.clone()).unwrap_or_default();
        let found: Vec<&SampleText> = rest.by_ref().take(drawn.len()).collect();
        let is_of = |(line, drawn): (&&SampleText, &GeneratedSample)| {
            SampleText::of(*step, sampling, drawn, prompt.clone(), line.text.clone()) == **line
        };
        let same = found.len() == drawn.len() && found.iter().zip(&drawn).all(is_of);
        // Before the texts were written the run may have been killed.
        run.hold(same || (texts.is_none() && run.record.status != Status::Completed), file::SAMPLES, || {
            format!("is not of the samples that were drawn after step {step}")
        });
    }
    let is_more = rest.next().is_some() || (asked.is_empty() && run.sealed.contains_key(file::SAMPLES));
    run.hold(!is_more, file::SAMPLES, || "has texts that no job asks for".to_owned());
}

/// The lines of a file, if it is written as it would have been.
fn lines<T: Serialize + DeserializeOwned>(run: &mut Run<'_>, path: &str) -> Option<Vec<T>> {
    let whole = run.folder.join(path);
    let read: Result<Vec<T>, TableError> = read_json_lines(&whole);
    match read {
        Ok(lines) => {
            let is_converted = run.converted.contains(path);
            let same = is_converted || files::read(&whole).is_ok_and(|bytes| bytes == to_json_lines(&lines));
            run.hold(same, path, || "is not as it would have been written".to_owned());
            Some(lines)
        }
        Err(error) => {
            run.wrong(path, error.to_string());
            None
        }
    }
}
