//! `/containers/{id}/logs`, and the log so far for an attach.

use bytes::{BufMut, Bytes, BytesMut};
use engine::containers::{AttachOptions, LogEntry, LogOptions, LogSource};

use crate::answer::{self, Answer, Failure};
use crate::request::Request;
use crate::when;

/// The frame of one entry: stream, three zeros, length, bytes. With a terminal there are no frames.
fn framed(entry: &LogEntry, is_raw: bool, has_time: bool) -> Bytes {
    let stamp = if has_time { format!("{} ", when::padded(entry.time_ns)) } else { String::new() };
    let length = stamp.len() + entry.bytes.len();
    let mut frame = BytesMut::with_capacity(8 + length);
    if !is_raw {
        frame.put_u8(match entry.stream {
            LogSource::Stdout => 1,
            LogSource::Stderr => 2,
        });
        frame.put_bytes(0, 3);
        frame.put_u32(u32::try_from(length).expect("an entry is at most 16 KiB"));
    }
    frame.put_slice(stamp.as_bytes());
    frame.put_slice(&entry.bytes);
    frame.freeze()
}

pub(crate) async fn logs(request: &Request, id: &str) -> Answer {
    let options = LogOptions {
        stdout: request.flag("stdout"),
        stderr: request.flag("stderr"),
        follow: request.flag("follow"),
        tail: tail(request)?,
        since_ns: time(request, "since")?,
        until_ns: time(request, "until")?,
    };
    if !options.stdout && !options.stderr {
        return Err(Failure::bad("Bad parameters: you must choose at least one stream"));
    }
    let containers = request.engine.containers();
    let is_raw = containers.inspect(id).await?.spec.terminal;
    let has_time = request.flag("timestamps");
    let mut log = containers.logs(id, options).await?;
    let content_type = if is_raw || request.version < (1, 42) {
        "application/vnd.docker.raw-stream"
    } else {
        "application/vnd.docker.multiplexed-stream"
    };
    let (sender, response) = answer::stream(content_type);
    tokio::spawn(async move {
        loop {
            let entry = tokio::select! {
                entry = log.next() => entry,
                () = sender.closed() => return,
            };
            match entry {
                Some(Ok(entry)) => {
                    if sender.send(framed(&entry, is_raw, has_time)).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(error = error.chain(), "a log cannot be read");
                    return;
                }
                None => return,
            }
        }
    });
    Ok(response)
}

/// What an attach with `logs=1` begins with.
pub(crate) async fn so_far(
    request: &Request,
    id: &str,
    is_raw: bool,
    attach: AttachOptions,
) -> Result<Vec<Bytes>, Failure> {
    let options = LogOptions { stdout: attach.stdout, stderr: attach.stderr, ..LogOptions::default() };
    let mut log = request.engine.containers().logs(id, options).await?;
    let mut frames = Vec::new();
    while let Some(entry) = log.next().await {
        frames.push(framed(&entry?, is_raw, false));
    }
    Ok(frames)
}

/// `all`, or a number; what is no number is all, as in Docker.
fn tail(request: &Request) -> Result<Option<u64>, Failure> {
    match request.query("tail") {
        None | Some("all") => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(number) => Ok(u64::try_from(number).ok()),
            Err(_) => Err(Failure::bad(format!("invalid value for `tail`: \"{text}\""))),
        },
    }
}

/// A time; zero is none.
fn time(request: &Request, name: &str) -> Result<Option<i64>, Failure> {
    Ok(request.query(name).map(when::parse).transpose()?.filter(|time_ns| *time_ns != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_stream_and_length_and_raw_ones_nothing() {
        let entry = LogEntry { stream: LogSource::Stderr, time_ns: 1, bytes: b"x\n".to_vec() };
        assert_eq!(framed(&entry, false, false), Bytes::from_static(b"\x02\0\0\0\0\0\0\x02x\n"));
        assert_eq!(framed(&entry, true, false), Bytes::from_static(b"x\n"));
        assert_eq!(framed(&entry, true, true), Bytes::from_static(b"1970-01-01T00:00:00.000000001Z x\n"));
    }
}
