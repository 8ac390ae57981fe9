//! Unpacking one layer in one pass: read, hash, decompress, hash, apply.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;

use oci::digest::Hasher;

use super::protocol::{Outcome, Progress, Refusal, Request};
use crate::apply::{ApplyError, Target, apply};
use crate::compression::{Compression, Decoder};
use crate::tar::Reader;

/// Between decompression and the tar reader.
const BUFFER_SIZE: usize = 256 << 10;
/// A progress report for every so many bytes of input.
pub(super) const PROGRESS_STEP: u64 = 4 << 20;

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("the archive ends without its end mark, as if it were truncated")]
    NoEndMark,
    #[error("the input cannot be read")]
    Read(#[source] io::Error),
}

/// A reader that hashes what passes.
pub(super) struct Hashing<R> {
    input: R,
    hasher: Hasher,
}

impl<R> Hashing<R> {
    pub(super) fn new(input: R) -> Hashing<R> {
        Hashing { input, hasher: Hasher::default() }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}

pub(super) fn unpack(
    input: OwnedFd,
    target: Target,
    request: &Request,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Refusal> {
    Ok(unpack_layer(input, target, request, progress)?)
}

fn unpack_layer(
    input: OwnedFd,
    target: Target,
    request: &Request,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, UnpackError> {
    let limits = &request.limits;
    let decoder =
        Decoder::new(Hashing::new(File::from(input)), limits.expansion).map_err(UnpackError::Read)?;
    let (compression, counter) = (decoder.compression(), decoder.input_counter());
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_SIZE, Hashing::new(decoder)));
    let mut reported = 0;
    let applied = apply(&mut reader, target, request.whiteouts, &mut |applied| {
        let input_bytes = counter.get();
        if input_bytes >= reported + PROGRESS_STEP {
            reported = input_bytes;
            progress(Progress { input_bytes, entries: applied.entries });
        }
    })?;
    if limits.needs_end_mark && !reader.has_end_mark() {
        return Err(UnpackError::NoEndMark);
    }
    // What follows the end mark belongs to the digests, and to nothing else.
    let mut rest = reader.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(UnpackError::Read)?;
    let Hashing { input: decoder, hasher } = rest.into_inner();
    let (diff_id, output_bytes) = (hasher.finish(), decoder.output_bytes());
    let input_digest = match compression {
        Compression::None => diff_id.clone(),
        Compression::Gzip | Compression::Zstd => decoder.into_input().hasher.finish(),
    };
    Ok(Outcome {
        compression,
        input_digest: Some(input_digest),
        diff_id: Some(diff_id),
        input_bytes: counter.get(),
        output_bytes,
        entries: applied.entries,
        size_bytes: applied.size_bytes,
        skipped_xattrs: applied.skipped_xattrs,
    })
}
