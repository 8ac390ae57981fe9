//! A streamed answer, line by line: progress and events are one JSON object per line.

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use crate::error::Error;

/// The longest line; an event with all labels of a container is far below.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// The lines of an answer that still comes in.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    has_ended: bool,
}

impl Lines {
    pub(crate) fn new(body: Incoming) -> Lines {
        Lines { body, buffer: Vec::new(), has_ended: false }
    }

    /// The next line that is not empty; `None` at the end. May be dropped while it waits, without losing anything.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(line) = take_line(&mut self.buffer, self.has_ended) {
                return Ok(Some(line));
            }
            if self.has_ended {
                return Ok(None);
            }
            match chunk(&mut self.body).await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => self.has_ended = true,
            }
            if self.buffer.len() > MAX_LINE && !self.buffer.contains(&b'\n') {
                return Err(Error::AnswerTooLong(MAX_LINE));
            }
        }
    }
}

/// The next bytes of an answer; `None` at its end.
pub(crate) async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, Error> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(Error::Transport)?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

fn take_line(buffer: &mut Vec<u8>, has_ended: bool) -> Option<Vec<u8>> {
    loop {
        let end = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if has_ended && !buffer.is_empty() => buffer.len(),
            None => return None,
        };
        let line = buffer.drain(..end).collect::<Vec<u8>>().trim_ascii().to_vec();
        if !line.is_empty() {
            return Some(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::take_line;

    #[test]
    fn lines_end_with_a_newline_or_with_the_answer() {
        let mut buffer = b"{}\r\n\n[1]\nrest".to_vec();
        let lines: Vec<_> = std::iter::from_fn(|| take_line(&mut buffer, false)).collect();
        assert_eq!(lines, [b"{}".to_vec(), b"[1]".to_vec()]);
        assert_eq!(take_line(&mut buffer, true), Some(b"rest".to_vec()));
        assert_eq!(take_line(&mut buffer, true), None);
    }
}
