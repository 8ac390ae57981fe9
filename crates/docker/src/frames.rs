//! Docker's frames: stdout and stderr in one stream, `[stream, 0, 0, 0, length (u32, big-endian)]` before each piece.

use bytes::{BufMut, Bytes, BytesMut};

pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;

/// What the streams of a process are called when they travel together, and when a terminal has merged them.
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";

/// One frame.
pub(crate) fn frame(stream: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + payload.len());
    append(&mut frame, stream, &[payload]);
    frame.freeze()
}

/// Appends one frame of several pieces.
pub(crate) fn append(buffer: &mut BytesMut, stream: u8, pieces: &[&[u8]]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    buffer.put_slice(&[stream, 0, 0, 0]);
    buffer.put_u32(u32::try_from(length).expect("pieces are log lines and messages, far below 4 GiB"));
    for piece in pieces {
        buffer.put_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::{STDERR, frame};

    #[test]
    fn a_frame_has_its_stream_and_length() {
        assert_eq!(&frame(STDERR, b"ab")[..], b"\x02\0\0\0\0\0\0\x02ab");
    }
}
