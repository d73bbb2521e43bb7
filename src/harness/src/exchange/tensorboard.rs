//! A run's tables as a TensorBoard event file: one scalar for each column, at its step.
//!
//! The file is a list of TFRecords: length (u64), its checksum (u32), content, checksum of the content (u32), all
//! little-endian; a checksum is CRC-32C, turned by 15 bits and moved by a constant (TensorFlow,
//! `tensorflow/core/lib/io/record_writer.h`, `lib/hash/crc32c.h`). A content is a protocol buffer `Event`
//! (`tensorflow/core/util/event.proto`), of which wall_time (1, double), step (2, int64), file_version (3, string) and
//! summary (5) with its values (1) of tag (1, string) and simple_value (2, float) are written here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_core::files;
use harness_core::scores::{ActivationStatistics, StepLine, TensorNorms, WindowLoss, read_csv};

use super::ExchangeError;
use harness_record::SealedRun;
use harness_record::format::file;

/// Named numbers of one step.
type Scalars = Vec<(String, f64)>;

/// Writes `<experiment>/<run>/events.out.tfevents.<seconds>.harness` below `folder`, which TensorBoard may be pointed
/// at. Gives its path.
pub fn tensorboard(run: &SealedRun, folder: &Path) -> Result<PathBuf, ExchangeError> {
    let opened: jiff::Timestamp = run.open.opened_at.parse().unwrap_or_default();
    let name = format!("events.out.tfevents.{}.harness", opened.as_second());
    let path = folder.join(run.open.experiment.as_str()).join(run.open.run.as_str()).join(name);
    let mut bytes = record(&version_event(opened.as_second() as f64));
    for (step, (wall_time_s, scalars)) in by_step(run)? {
        bytes.extend(record(&scalar_event(opened.as_second() as f64 + wall_time_s, step, &scalars)));
    }
    files::write(&path, &bytes)?;
    Ok(path)
}

/// Every number of the tables by step, with the seconds since training began.
fn by_step(run: &SealedRun) -> Result<BTreeMap<u64, (f64, Scalars)>, ExchangeError> {
    let mut all: BTreeMap<u64, (f64, Scalars)> = BTreeMap::new();
    for row in read_csv::<StepLine>(&run.path(file::STEPS))? {
        let StepLine { step, tokens, wall_time_s, .. } = row;
        let columns = [
            ("loss_nats", Some(row.loss_nats)),
            ("learning_rate", Some(row.learning_rate)),
            ("gradient_norm", Some(row.gradient_norm)),
            ("tokens", Some(tokens as f64)),
            ("tokens_per_s", Some(row.tokens_per_s)),
            ("batch_size", Some(f64::from(row.batch_size))),
            ("sequence_length", Some(f64::from(row.sequence_length))),
            ("data_wait_share", Some(row.data_wait_share)),
            ("model_flops_utilization", row.model_flops_utilization),
            ("memory_bytes", Some(row.memory_bytes as f64)),
            ("power_w", row.power_w),
        ];
        all.insert(step, (wall_time_s, named("training", columns)));
    }
    let mut add = |step: u64, scalars: Scalars| {
        // A step without a row of its own happened with the one before it.
        let wall_time_s = all.range(..=step).next_back().map_or(0.0, |(_, (wall_time_s, _))| *wall_time_s);
        all.entry(step).or_insert((wall_time_s, Vec::new())).1.extend(scalars);
    };
    if let Some(path) = run.tensor_norms() {
        for row in read_csv::<TensorNorms>(&path)? {
            let columns = [
                ("gradient_norm", Some(row.gradient_norm)),
                ("weight_norm", Some(row.weight_norm)),
                ("update_norm", Some(row.update_norm)),
            ];
            add(row.step, named(&format!("tensor_norms/{}", row.tensor), columns));
        }
    }
    if files::is_file(&run.path(file::ACTIVATIONS)) {
        for row in read_csv::<ActivationStatistics>(&run.path(file::ACTIVATIONS))? {
            let columns = [
                ("rms", Some(row.rms)),
                ("maximum", Some(row.maximum)),
                ("dead_share", row.dead_share),
                ("attention_entropy_nats", row.attention_entropy_nats),
                ("logit_scale", row.logit_scale),
            ];
            add(row.step, named(&format!("activations/{}", row.place), columns));
        }
    }
    for evaluation in &run.record.evaluations {
        for output in evaluation.files.iter().filter(|output| output.path.ends_with("/validation.csv")) {
            let rows: Vec<WindowLoss> = read_csv(&run.path(&output.path))?;
            let tokens: u64 = rows.iter().map(|row| row.tokens).sum();
            let nats: f64 = rows.iter().map(|row| row.loss_nats).sum();
            add(evaluation.step, named("validation", [("loss_nats", (tokens > 0).then(|| nats / tokens as f64))]));
        }
    }
    Ok(all)
}

fn named<const N: usize>(group: &str, columns: [(&str, Option<f64>); N]) -> Scalars {
    columns.into_iter().filter_map(|(name, value)| Some((format!("{group}/{name}"), value?))).collect()
}

/// The event that every file begins with.
fn version_event(wall_time_s: f64) -> Vec<u8> {
    let mut event = Vec::new();
    put_double(&mut event, 1, wall_time_s);
    put_bytes(&mut event, 3, b"brain.Event:2");
    event
}

fn scalar_event(wall_time_s: f64, step: u64, scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut one = Vec::new();
        put_bytes(&mut one, 1, tag.as_bytes());
        put_key(&mut one, 2, FIXED_32);
        one.extend((*value as f32).to_le_bytes());
        put_bytes(&mut summary, 1, &one);
    }
    let mut event = Vec::new();
    put_double(&mut event, 1, wall_time_s);
    put_key(&mut event, 2, VARINT);
    put_varint(&mut event, step);
    put_bytes(&mut event, 5, &summary);
    event
}

/// Wire types of protocol buffers.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

fn put_key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(out, field << 3 | wire_type);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_key(out, field, FIXED_64);
    out.extend(value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, LENGTH);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// One TFRecord.
fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend(content);
    out.extend(masked(crc32c(content)).to_le_bytes());
    out
}

fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: the files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc: u32, &byte| (0..8).fold(crc ^ u32::from(byte), shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    /// Byte for byte, as the definition of the messages gives it.
    #[test]
    fn an_event_has_the_bytes_of_its_definition() {
        let event = scalar_event(1.0, 300, &[("a/b".to_owned(), 0.5)]);
        let expected = [
            &[0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02, 0x2a, 0x0c, 0x0a, 0x0a, 0x0a, 0x03][..],
            b"a/b",
            &[0x15, 0, 0, 0, 0x3f],
        ];
        assert_eq!(event, expected.concat());
        assert_eq!(record(&event).len(), event.len() + 16);
    }
}
