//! Packed files: gzip, bzip2, zstd and xz streams. What is digested and kept is always the content without its packing.
//!
//! A stream that ends too early is an error, and so is one that asks for more than [`LARGEST_WINDOW_BYTES`] of memory.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the bytes at an address are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// As they are.
    #[default]
    None,
    /// gzip (RFC 1952), one member or several, with zeros behind them or none.
    Gzip,
    /// bzip2, one stream or several.
    Bzip2,
    /// Zstandard (RFC 8878), one frame or several, skippable ones among them.
    Zstd,
    /// xz (file format 1.2.1), one stream or several.
    Xz,
}

/// The most of the content that unpacking may have to remember, as a power of two: 128 MiB, what `zstd --ultra -22`
/// and `--long` take. `xz -9` takes 64 MiB. A file states what it needs, so without a limit a few hostile bytes could
/// take gigabytes.
const LARGEST_WINDOW_LOG2: u32 = 27;

/// As [`LARGEST_WINDOW_LOG2`], in bytes.
const LARGEST_WINDOW_BYTES: u64 = 1 << LARGEST_WINDOW_LOG2;

/// How many of a file's first bytes [`Packing::of`] looks at.
pub(crate) const MAGIC_BYTES: u64 = 6;

impl Packing {
    /// The packing that a file's first bytes show.
    pub fn of(first_bytes: &[u8]) -> Self {
        match first_bytes {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Packing::Bzip2,
            // A frame, or a skippable one (RFC 8878, 3.1.2), as pzstd puts first. LZ4 knows those too: unpacking then says
            // that what follows is no frame of Zstandard.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            _ => Packing::None,
        }
    }

    /// The packing that a file's name states.
    pub(crate) fn of_name(name: &str) -> Self {
        match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
            "gz" => Packing::Gzip,
            "bz2" => Packing::Bzip2,
            "zst" | "zstd" => Packing::Zstd,
            "xz" => Packing::Xz,
            _ => Packing::None,
        }
    }

    /// Reads through the packing, in constant memory.
    pub fn reader<'a>(self, packed: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self {
            Packing::None => Box::new(packed),
            Packing::Gzip => Box::new(GzipMembers(Some(GzDecoder::new(BufReader::new(packed))))),
            Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::new(packed).expect("fails only without memory");
                decoder.window_log_max(LARGEST_WINDOW_LOG2).expect("is within the bounds of zstd");
                Box::new(decoder)
            }
            Packing::Xz => {
                // The dictionary, and a little for the decoder itself.
                let memory_bytes = LARGEST_WINDOW_BYTES + (1 << 20);
                let stream = liblzma::stream::Stream::new_stream_decoder(memory_bytes, liblzma::stream::CONCATENATED);
                Box::new(liblzma::read::XzDecoder::new_stream(packed, stream.expect("fails only without memory")))
            }
        }
    }
}

/// The content of gzip members one after another. Zeros behind a member are passed over, as gzip and Python do it: tapes
/// and some archives pad files with them.
struct GzipMembers<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut packed = self.0.take().expect("it was just read").into_inner();
            loop {
                let left = packed.fill_buf()?;
                let zeros = left.iter().take_while(|byte| **byte == 0).count();
                if left.is_empty() {
                    return Ok(0);
                }
                if zeros < left.len() {
                    packed.consume(zeros);
                    break;
                }
                packed.consume(zeros);
            }
            self.0 = Some(GzDecoder::new(packed));
        }
        Ok(0)
    }
}

/// Hands the stream to `take` piece by piece.
pub(crate) fn each_piece(mut stream: impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0u8; 1 << 18];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const PACKINGS: [Packing; 4] = [Packing::Gzip, Packing::Bzip2, Packing::Zstd, Packing::Xz];

    fn pack(packing: Packing, content: &[u8]) -> Vec<u8> {
        match packing {
            Packing::None => content.to_vec(),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
                encoder.include_checksum(true).unwrap();
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    fn unpack(packing: Packing, packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        packing.reader(packed).read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn packings_are_seen_and_several_streams_are_read_as_one() {
        for packing in PACKINGS {
            let mut packed = pack(packing, b"one ");
            assert_eq!(Packing::of(&packed[..MAGIC_BYTES as usize]), packing);
            packed.extend(pack(packing, b"two"));
            assert_eq!(unpack(packing, &packed).unwrap(), b"one two", "{packing:?}");
        }
    }

    /// zstd's own tool reads these, and so do pzstd and Python's zstandard; gzip and Python read the padded ones.
    #[test]
    fn skippable_frames_and_padding_are_passed_over_wherever_they_stand() {
        let frame = pack(Packing::Zstd, b"one ");
        for magic in 0x50..=0x5f {
            let skippable = [&[magic, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"size"].concat();
            let packed = [&skippable[..], &frame, &skippable, &pack(Packing::Zstd, b"two"), &skippable].concat();
            assert_eq!(Packing::of(&packed[..MAGIC_BYTES as usize]), Packing::Zstd);
            assert_eq!(unpack(Packing::Zstd, &packed).unwrap(), b"one two");
        }
        let zeros = vec![0; 100_000];
        let packed = [&pack(Packing::Gzip, b"one ")[..], &zeros, &pack(Packing::Gzip, b"two"), &zeros].concat();
        assert_eq!(unpack(Packing::Gzip, &packed).unwrap(), b"one two");
        assert!(
            unpack(Packing::Gzip, &[&packed[..], b"more"].concat()).is_err(),
            "what is no padding is not passed over"
        );
        assert!(unpack(Packing::Gzip, b"").is_err() && unpack(Packing::Gzip, &zeros).is_err());
    }

    #[test]
    fn a_stream_that_ends_early_is_an_error_wherever_it_is_cut() {
        for packing in PACKINGS {
            let packed = pack(packing, b"a text that is cut");
            for length in 1..packed.len() {
                assert!(unpack(packing, &packed[..length]).is_err(), "{packing:?} cut to {length} bytes");
            }
            let twice = [&packed[..], &packed[..packed.len() - 1]].concat();
            assert!(unpack(packing, &twice).is_err(), "{packing:?}: the second stream is cut");
        }
    }

    #[test]
    fn windows_above_the_limit_are_refused() {
        // RFC 8878, section 3.1.1: magic, a descriptor without content size, a window of 2^28 bytes, an empty last block.
        let zstd = |log2: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x00, (log2 - 10) << 3, 0x01, 0x00, 0x00];
        assert!(unpack(Packing::Zstd, &zstd(27)).is_ok());
        assert!(unpack(Packing::Zstd, &zstd(28)).unwrap_err().to_string().contains("memory"));
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(1 << 28);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let encoder = liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), encoder);
        encoder.write_all(b"text").unwrap();
        assert!(unpack(Packing::Xz, &encoder.finish().unwrap()).unwrap_err().to_string().contains("memory"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn hostile_streams_are_refused_or_read_but_never_panic(
            noise: Vec<u8>, content: Vec<u8>, kind in 0usize..4, at: prop::sample::Index, byte: u8,
        ) {
            let packing = PACKINGS[kind];
            let mut packed = pack(packing, &content);
            let magic = packed[..4].to_vec();
            let at = at.index(packed.len());
            packed[at] = byte;
            for hostile in [packed, [magic, noise].concat()] {
                let mut bytes = 0;
                let _ = each_piece(packing.reader(&hostile[..]).take(1 << 20), |piece| {
                    bytes += piece.len();
                    Ok(())
                });
                prop_assert!(bytes <= 1 << 20);
            }
        }
    }
}
