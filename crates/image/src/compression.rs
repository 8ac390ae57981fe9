//! Decompression of hostile streams: the format is found by its first bytes, and expansion has bounds.
//!
//! Gzip streams of several members and zstd streams of several frames are one stream, as RFC 1952 and RFC 8878
//! demand. Other compressors are recognised only to be refused by their name.

use std::cell::Cell;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

/// Buffer in front of each stage.
const BUFFER_SIZE: usize = 256 << 10;
/// Largest zstd window, as a power of two: 128 MiB, what `zstd --long` makes. More is a way to exhaust memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How far a stream may expand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpansionLimits {
    /// Bytes after decompression.
    pub(crate) output_bytes: u64,
    /// Output bytes for each input byte.
    pub(crate) ratio: u64,
    /// Output that is free of the ratio: a small file full of zeros is common and harmless.
    pub(crate) free_bytes: u64,
}

impl Default for ExpansionLimits {
    fn default() -> ExpansionLimits {
        ExpansionLimits { output_bytes: 256 << 30, ratio: 200, free_bytes: 1 << 30 }
    }
}

impl ExpansionLimits {
    /// Whether so many bytes may have become so many.
    pub(crate) fn allow(&self, input_bytes: u64, output_bytes: u64) -> bool {
        output_bytes <= self.free_bytes.saturating_add(input_bytes.saturating_mul(self.ratio))
    }
}

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// Finds the format by the stream's first bytes.
fn detect(start: &[u8]) -> io::Result<Compression> {
    let foreign: [(&[u8], &str); 5] = [
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"PK\x03\x04", "zip"),
        (b"\x5d\0\0", "lzma"),
    ];
    if let Some((_, name)) = foreign.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(invalid(format!("the input is compressed with {name}; gzip and zstd are supported")));
    }
    let is_skippable_frame = start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18];
    Ok(match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ if is_skippable_frame => Compression::Zstd,
        _ => Compression::None,
    })
}

/// The compression of a stream; reads its first bytes.
pub(crate) fn compression_of(input: &mut impl Read) -> io::Result<Compression> {
    detect(&read_start(input)?)
}

fn read_start(input: &mut impl Read) -> io::Result<Vec<u8>> {
    /// Longest magic number.
    const LENGTH: u64 = 6;
    let mut start = Vec::new();
    input.take(LENGTH).read_to_end(&mut start)?;
    Ok(start)
}

/// A stream after decompression.
pub(crate) struct Decoder<R: Read> {
    stage: Stage<Source<R>>,
    limits: ExpansionLimits,
    input_bytes: Counter,
    output_bytes: u64,
}

enum Stage<S: Read> {
    None(BufReader<S>),
    Gzip(Box<MultiGzDecoder<BufReader<S>>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<S>>),
}

/// A stream after decompression by gzip or zstd, or as it is; within the default bounds of its expansion.
///
/// # Errors
/// The first bytes cannot be read, or tell of another compression.
pub fn decompressed(input: impl Read) -> io::Result<impl Read> {
    Decoder::new(input, ExpansionLimits::default())
}

/// The compressed stream: the first bytes, which were looked at, and the rest; counted.
struct Source<R> {
    input: Chain<Cursor<Vec<u8>>, R>,
    bytes: Counter,
}

/// A number of bytes that several parties look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Rc<Cell<u64>>);

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }

    fn add(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes as u64);
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.bytes.add(length);
        Ok(length)
    }
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes and sets the right decoder up.
    pub(crate) fn new(mut input: R, limits: ExpansionLimits) -> io::Result<Decoder<R>> {
        let start = read_start(&mut input)?;
        let compression = detect(&start)?;
        let input_bytes = Counter::default();
        let source = Source { input: Cursor::new(start).chain(input), bytes: input_bytes.clone() };
        let input = BufReader::with_capacity(BUFFER_SIZE, source);
        let stage = match compression {
            Compression::None => Stage::None(input),
            Compression::Gzip => Stage::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Stage::Zstd(decoder)
            }
        };
        Ok(Decoder { stage, limits, input_bytes, output_bytes: 0 })
    }

    /// What was found.
    pub(crate) fn compression(&self) -> Compression {
        match self.stage {
            Stage::None(_) => Compression::None,
            Stage::Gzip(_) => Compression::Gzip,
            Stage::Zstd(_) => Compression::Zstd,
        }
    }

    /// Tells how many bytes went in so far, wherever this decoder has gone.
    pub(crate) fn input_counter(&self) -> Counter {
        self.input_bytes.clone()
    }

    /// How many bytes came out so far.
    pub(crate) fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// Gives the input back.
    pub(crate) fn into_input(self) -> R {
        let source = match self.stage {
            Stage::None(input) => input.into_inner(),
            Stage::Gzip(decoder) => decoder.into_inner().into_inner(),
            Stage::Zstd(decoder) => decoder.finish().into_inner(),
        };
        source.input.into_inner().1
    }

    fn check_expansion(&self) -> io::Result<()> {
        let ExpansionLimits { output_bytes, ratio, .. } = self.limits;
        if self.output_bytes > output_bytes {
            return Err(invalid(format!("the input expands to more than {output_bytes} bytes")));
        }
        if !self.limits.allow(self.input_bytes.get(), self.output_bytes) {
            return Err(invalid(format!(
                "the input expands more than {ratio} times, like a decompression bomb"
            )));
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match &mut self.stage {
            Stage::None(input) => input.read(buffer)?,
            Stage::Gzip(decoder) => decoder.read(buffer)?,
            Stage::Zstd(decoder) => decoder.read(buffer)?,
        };
        self.output_bytes += length as u64;
        self.check_expansion()?;
        Ok(length)
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(input: &[u8], limits: ExpansionLimits) -> io::Result<(Compression, Vec<u8>)> {
        // One byte at a time: what a pipe may do.
        struct Trickle<'a>(&'a [u8]);
        impl Read for Trickle<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = self.0.len().min(buffer.len()).min(1);
                self.0.read(&mut buffer[..length])
            }
        }
        let mut decoder = Decoder::new(Trickle(input), limits)?;
        let mut output = Vec::new();
        decoder.read_to_end(&mut output)?;
        assert_eq!(decoder.input_counter().get(), input.len() as u64);
        Ok((decoder.compression(), output))
    }

    #[test]
    fn every_format_is_found_and_decoded() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let skippable = b"\x50\x2a\x4d\x18\x02\0\0\0xx";
        let cases = [
            (Vec::new(), Compression::None, ""),
            (b"x".to_vec(), Compression::None, "x"),
            (gzip(b"one"), Compression::Gzip, "one"),
            ([gzip(b"one"), gzip(b""), gzip(b"two")].concat(), Compression::Gzip, "onetwo"),
            (zstd(b"one"), Compression::Zstd, "one"),
            ([zstd(b"one"), skippable.to_vec(), zstd(b"two")].concat(), Compression::Zstd, "onetwo"),
            ([skippable.to_vec(), zstd(b"two")].concat(), Compression::Zstd, "two"),
        ];
        for (input, compression, expected) in cases {
            let (found, output) = decode(&input, ExpansionLimits::default()).unwrap();
            assert_eq!((found, output.as_slice()), (compression, expected.as_bytes()));
        }
    }

    #[test]
    fn damaged_and_foreign_streams_are_refused() {
        let (gz, zst) = (gzip(b"hello hello hello"), zstd::encode_all(&b"hello hello hello"[..], 1).unwrap());
        let mut flipped = gz.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let cases = [
            gz[..gz.len() - 1].to_vec(),
            gz[..12].to_vec(),
            [&gz[..], b"trailing garbage"].concat(),
            flipped,
            zst[..zst.len() - 1].to_vec(),
            [&zst[..], b"trailing garbage"].concat(),
            b"\xfd7zXZ\0rest".to_vec(),
            b"BZh91AY".to_vec(),
        ];
        for input in cases {
            assert!(decode(&input, ExpansionLimits::default()).is_err(), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn bombs_are_refused() {
        let bomb = gzip(&vec![0; 4 << 20]);
        let generous = ExpansionLimits { output_bytes: 8 << 20, ratio: 1, free_bytes: 4 << 20 };
        assert!(decode(&bomb, generous).is_ok());
        let by_ratio = ExpansionLimits { free_bytes: 1 << 20, ratio: 100, ..generous };
        assert!(decode(&bomb, by_ratio).map(drop).unwrap_err().to_string().contains("bomb"));
        let by_size = ExpansionLimits { output_bytes: 1 << 20, ..generous };
        assert!(
            decode(&bomb, by_size).map(drop).unwrap_err().to_string().contains("more than 1048576 bytes")
        );
        // A whole frame: no single segment, its window, one block of five bytes as they are.
        let frame = |window: u8| [b"\x28\xb5\x2f\xfd\x00", &[window][..], b"\x29\0\0hello"].concat();
        let (largest, two_gigabytes) = (frame(0x88), frame(0xa8));
        assert_eq!(decode(&largest, ExpansionLimits::default()).unwrap().1, b"hello");
        assert!(decode(&two_gigabytes, ExpansionLimits::default()).is_err());
    }
}
