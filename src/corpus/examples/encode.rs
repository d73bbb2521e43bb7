//! Encodes a text file, cut at blank lines, with a `tokenizer.json`, as `harness data prepare` does. Prints the CPU time
//! of the encoding and the digest of the token ids, for `make bench-data`.
//!
//! usage: encode TEXTS TOKENIZER

use harness_core::digest::Hasher;
use harness_core::files;
use harness_corpus::{Encoder, Tokenizer};
use rayon::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, texts, tokenizer] = &arguments[..] else { return Err("usage: encode TEXTS TOKENIZER".into()) };
    let text = files::read_to_string(texts.as_ref())?;
    let texts: Vec<&str> = text.split("\n\n").collect();
    let tokenizer = Tokenizer::from_file(tokenizer.as_ref(), "<|endoftext|>")?;
    let encoder = Encoder::checked_on(&tokenizer, &texts[..texts.len().min(1000)])?;
    let before_s = cpu_time_s()?;
    let ids: Vec<Vec<u32>> = texts.par_iter().map(|text| encoder.encode(text)).collect::<Result<_, _>>()?;
    let cpu_time_s = cpu_time_s()? - before_s;
    let mut digest = Hasher::new();
    ids.iter().flatten().for_each(|id| digest.update(&id.to_le_bytes()));
    let ids_sha256 = digest.finish();
    println!(
        "{{\"library\": \"{}\", \"cpu_time_s\": {cpu_time_s}, \"ids_sha256\": \"{ids_sha256}\"}}",
        encoder.library()
    );
    Ok(())
}

/// CPU time of the process so far, in user and in system mode (`/proc/self/stat`, fields 14 and 15, in hundredths of a
/// second on every Linux).
fn cpu_time_s() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = files::read_to_string("/proc/self/stat".as_ref())?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
