//! Docker's stream framing: `[stream, 0, 0, 0, length as u32 big-endian]` and the payload, as attach, exec and logs send
//! it when there is no terminal. Sans-io: bytes in, pieces out.

/// The two streams of a process that come out of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// A peer that does not speak the framing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the daemon sent output of an unknown stream {0}")]
    UnknownStream(u8),
    #[error("the daemon reported while streaming: {0}")]
    Reported(String),
}

/// A part of one frame's payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) source: Source,
    /// Whether a frame begins with it.
    pub(crate) is_first: bool,
    /// Whether a frame ends with it.
    pub(crate) is_last: bool,
    pub(crate) payload: &'a [u8],
}

const HEADER: usize = 8;

/// The longest error text a daemon may send in a frame of its own.
const MAX_REPORT: usize = 64 * 1024;

/// What has been read of the frame at hand.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    header: Vec<u8>,
    remaining: usize,
    is_first: bool,
    report: Vec<u8>,
}

impl Decoder {
    /// Takes the next piece off the front of `input`; `None` when it needs more bytes.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        loop {
            if self.header.len() < HEADER {
                let (head, rest) = input.split_at(input.len().min(HEADER - self.header.len()));
                self.header.extend_from_slice(head);
                *input = rest;
                if self.header.len() < HEADER {
                    return Ok(None);
                }
                self.begin();
            }
            let source = match self.header[0] {
                // Docker labels echoed input 0; it belongs to the terminal's output.
                0 | 1 => Some(Source::Stdout),
                2 => Some(Source::Stderr),
                3 => None,
                other => return Err(FrameError::UnknownStream(other)),
            };
            if input.is_empty() && self.remaining > 0 {
                return Ok(None);
            }
            let (payload, rest) = input.split_at(input.len().min(self.remaining));
            *input = rest;
            self.remaining -= payload.len();
            let is_first = std::mem::take(&mut self.is_first);
            let is_last = self.remaining == 0;
            if is_last {
                self.header.clear();
            }
            match source {
                Some(source) => return Ok(Some(Piece { source, is_first, is_last, payload })),
                None => self.collect_report(payload)?,
            }
        }
    }

    fn begin(&mut self) {
        let length = self.header[4..HEADER].try_into().expect("the header has eight bytes");
        self.remaining = u32::from_be_bytes(length) as usize;
        self.is_first = true;
    }

    fn collect_report(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        let room = MAX_REPORT - self.report.len().min(MAX_REPORT);
        self.report.extend_from_slice(&payload[..payload.len().min(room)]);
        if self.remaining > 0 {
            return Ok(());
        }
        Err(FrameError::Reported(String::from_utf8_lossy(&self.report).trim_end().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, FrameError, Source};
    use proptest::prelude::*;

    fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    /// Feeds `input` in chunks of `chunk` bytes; returns each frame's source and payload.
    fn decode(input: &[u8], chunk: usize) -> Result<Vec<(Source, Vec<u8>)>, FrameError> {
        let mut decoder = Decoder::default();
        let mut frames: Vec<(Source, Vec<u8>)> = Vec::new();
        let mut ended = 0;
        for mut bytes in input.chunks(chunk) {
            while let Some(piece) = decoder.next(&mut bytes)? {
                if piece.is_first {
                    frames.push((piece.source, Vec::new()));
                }
                frames.last_mut().unwrap().1.extend_from_slice(piece.payload);
                ended += usize::from(piece.is_last);
            }
        }
        assert_eq!(ended, frames.len(), "every frame that begins ends once");
        Ok(frames)
    }

    #[test]
    fn a_stream_of_no_process_is_an_error() {
        assert_eq!(decode(&frame(7, b"x"), 64), Err(FrameError::UnknownStream(7)));
        assert_eq!(decode(&frame(3, b"no log\n"), 3), Err(FrameError::Reported("no log".into())));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            frames in prop::collection::vec((1u8..=2, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            chunk in 1usize..64,
        ) {
            let input: Vec<u8> = frames.iter().flat_map(|(stream, payload)| frame(*stream, payload)).collect();
            let expected: Vec<_> = frames
                .into_iter()
                .map(|(stream, payload)| (if stream == 1 { Source::Stdout } else { Source::Stderr }, payload))
                .collect();
            prop_assert_eq!(decode(&input, chunk), Ok(expected));
        }
    }
}
