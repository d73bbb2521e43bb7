//! `log.jsonl` read back: every line follows the line before it, and together they tell what `record.json` says.

use std::path::Path;

use harness_core::Digest;
use harness_core::contract::{Closing, Message, Started};
use harness_core::files::{self, FileError};
use harness_core::scores::StepLine;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::format::file;
use crate::told::Told;

/// Events that the supervisor adds to those of the trainer, and what each says; of the last the record says it.
const OWN_EVENTS: [(&str, &[&str]); 5] = [
    ("opened", &["open_sha256"]),
    ("spike", &["step", "loss_nats", "loss_before_nats"]),
    ("fallen_behind", &["kind", "message", "hint", "step"]),
    ("pruned", &["step", "path"]),
    ("abandoned", &["step"]),
];

/// Seconds from the first of a log's times to the last sign of life: the last of them, or the last row after `first_step` if that
/// is later.
pub fn lived_s(times: &[Timestamp], first_step: u64, rows: &[StepLine]) -> f64 {
    let ends = times.first().zip(times.last());
    let by_log = ends.map_or(0.0, |(first, last)| last.duration_since(*first).as_secs_f64());
    let by_steps = rows.last().filter(|row| row.step > first_step).map_or(0.0, |row| row.wall_time_s);
    by_log.max(by_steps)
}

/// What a log tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Digest of `open.json`, as the first line has it.
    pub open_sha256: Option<Digest>,
    /// What the trainer told.
    pub told: Told,
    /// Every account that the trainer gave of itself: one for each job.
    pub started: Vec<Started>,
    /// Every closing message, likewise.
    pub closings: Vec<Closing>,
    /// How many of the evaluations were told before the trainer was started: those that were taken over.
    pub taken_over: usize,
    /// Steps of the checkpoints that were removed, in order.
    pub pruned: Vec<u64>,
    /// Spikes of the loss, as the supervisor told of them: step and loss.
    pub spikes: Vec<(u64, f64)>,
    /// Body of the last line, if that says that the run has ended.
    pub ended: Option<Value>,
    /// The first line that lacks a field which today's programs always write.
    pub inexact: Option<usize>,
    /// When each line was written.
    pub times: Vec<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: String,
    event: String,
    body: Value,
    previous_sha256: Digest,
}

impl Log {
    /// Reads the log of a run folder. Only whole lines count: the last one may be torn.
    pub fn read(folder: &Path) -> Result<Result<Self, String>, FileError> {
        let text = files::read_to_string(&folder.join(file::LOG))?;
        Ok(Self::parse(&text[..text.rfind('\n').map_or(0, |at| at + 1)]))
    }

    /// Parses a log, or says which line is wrong, and how.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut log = Log::default();
        let mut previous = Digest::of(b"");
        for (index, text) in text.lines().enumerate() {
            let wrong = |what: String| format!("line {}: {what}", index + 1);
            let line: Line = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
            if line.previous_sha256 != previous {
                return Err(format!("line {} does not follow the line before it", index + 1));
            }
            if (index == 0) != (line.event == "opened") {
                return Err(wrong("only the first line says that the run was opened".to_owned()));
            }
            previous = Digest::of(text.as_bytes());
            log.times.push(line.at.parse().map_err(|_| wrong(format!("`{}` is no time", line.at.escape_debug())))?);
            log.ended = None;
            if !log.take(&line.event, line.body).map_err(wrong)? {
                log.inexact.get_or_insert(index + 1);
            }
        }
        Ok(log)
    }

    /// Takes in an event. Gives whether it says all that such an event does.
    fn take(&mut self, event: &str, body: Value) -> Result<bool, String> {
        let missing = || format!("an event `{event}` without what it is about");
        let step = || body["step"].as_u64().ok_or_else(missing);
        if let Some((_, says)) = OWN_EVENTS.iter().find(|(own, _)| *own == event) {
            let says_more =
                |body: &serde_json::Map<String, Value>| body.keys().find(|key| !says.contains(&key.as_str())).cloned();
            if let Some(key) = body.as_object().and_then(says_more) {
                return Err(format!("nothing of an event `{event}` is called `{key}`"));
            }
        }
        let says_all = |says: &[&str]| says.iter().all(|key| body.get(key).is_some());
        let is_whole = OWN_EVENTS.iter().find(|(own, _)| *own == event).is_none_or(|(_, says)| says_all(says));
        match event {
            "opened" => self.open_sha256 = Some(of_text(&body["open_sha256"]).ok_or_else(missing)?),
            "pruned" => self.pruned.push(step()?),
            "spike" => self.spikes.push((step()?, body["loss_nats"].as_f64().ok_or_else(missing)?)),
            "ended" => self.ended = Some(body),
            own if OWN_EVENTS.iter().any(|(known, _)| *known == own) => {}
            _ => {
                let Value::Object(mut fields) = body else { return Err(missing()) };
                fields.insert("event".to_owned(), event.into());
                let told = Value::Object(fields);
                let message: Message = serde_json::from_value(told.clone()).map_err(|error| error.to_string())?;
                let known = serde_json::to_value(&message).expect("messages are JSON");
                if let Some(path) = unknown(&told, &known) {
                    return Err(format!("nothing of an event `{event}` is called `{path}`"));
                }
                let is_whole = told == known;
                self.told.take(&message);
                match message {
                    Message::Started(started) => self.started.push(*started),
                    Message::Finished(closing) | Message::Stopped(closing) => self.closings.push(closing),
                    _ => {}
                }
                if self.told.started.is_none() {
                    self.taken_over = self.told.evaluations.len();
                }
                return Ok(is_whole);
            }
        }
        Ok(is_whole)
    }
}

fn of_text(value: &Value) -> Option<Digest> {
    value.as_str()?.parse().ok()
}

/// The first key of what was read that is no part of what it was read as. Structs of the contract pass over what they do not
/// know, and may add what was not there.
pub(crate) fn unknown(read: &Value, known: &Value) -> Option<String> {
    match (read, known) {
        (Value::Object(read), Value::Object(known)) => read.iter().find_map(|(key, value)| match known.get(key) {
            None => Some(key.clone()),
            Some(same) => unknown(value, same).map(|path| format!("{key}.{path}")),
        }),
        (Value::Array(read), Value::Array(known)) => {
            read.iter().zip(known).enumerate().find_map(|(at, (a, b))| Some(format!("{at}.{}", unknown(a, b)?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(event: &str, body: &str, previous: &str) -> String {
        let previous = Digest::of(previous.as_bytes());
        format!(
            "{{\"at\":\"2026-11-23T08:15:00Z\",\"event\":\"{event}\",\"body\":{body},\"previous_sha256\":\"{previous}\"}}"
        )
    }

    #[test]
    fn a_log_is_read_to_its_last_line_and_no_further_than_it_is_linked() {
        let opened = line("opened", &format!("{{\"open_sha256\":\"{}\"}}", Digest::of(b"open")), "");
        let pruned = line("pruned", "{\"step\":4}", &opened);
        let log = Log::parse(&format!("{opened}\n{pruned}\n")).unwrap();
        assert_eq!((log.open_sha256, log.pruned, log.ended), (Some(Digest::of(b"open")), vec![4], None));
        assert_eq!(log.times.len(), 2);
        for (text, told) in [
            (format!("{pruned}\n"), "line 1 does not follow"),
            (format!("{opened}\n{opened}\n"), "line 2 does not follow"),
            (format!("{opened}\n{}\n", line("invented", "{}", &opened)), "line 2: unknown variant"),
            (format!("{opened}\n{}\n", line("pruned", "{}", &opened)), "line 2: an event `pruned` without"),
            (format!("{opened}\n{}\n", line("opened", "{}", &opened)), "line 2: only the first line"),
        ] {
            let problem = Log::parse(&text).unwrap_err();
            assert!(problem.starts_with(told), "{problem}");
        }
    }

    #[test]
    fn what_a_message_does_not_know_is_no_part_of_it() {
        let opened = line("opened", &format!("{{\"open_sha256\":\"{}\"}}", Digest::of(b"open")), "");
        let skipped = r#"{"step":2,"what":"loss","value":"NaN","diagnosis":"","more":1}"#;
        let problem = Log::parse(&format!("{opened}\n{}\n", line("skipped", skipped, &opened))).unwrap_err();
        assert_eq!(problem, "line 2: nothing of an event `skipped` is called `more`");
    }

    proptest! {
        #[test]
        fn hostile_logs_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..300), event in "[a-z_]{0,12}", step: u64) {
            let _ = Log::parse(&String::from_utf8_lossy(&bytes));
            let opened = line("opened", &format!("{{\"open_sha256\":\"{}\"}}", Digest::of(b"")), "");
            let _ = Log::parse(&format!("{opened}\n{}\n", line(&event, &format!("{{\"step\":{step}}}"), &opened)));
        }
    }
}
