//! Output of containers: attached, and from the log.

use bytes::{Bytes, BytesMut};
use engine::containers::{
    AttachOptions, AttachStream, Container, LogEntry, LogOptions, LogSource, LogStream,
};
use futures_util::stream::unfold;

use crate::call::{ApiVersion, Call};
use crate::detach::DetachFilter;
use crate::error::{Error, Result};
use crate::hijack::{self, Client, Input};
use crate::reply::{self, Reply};
use crate::websocket::{self, Kind, Output};
use crate::{frames, time};

pub(crate) async fn attach(call: Call) -> Result<Reply> {
    let attachment = Attachment::ask(&call, wanted(&call)).await?;
    let kind = hijack::content_type(&call, attachment.container.spec.terminal);
    Ok(hijack::hijack(call, kind, |client| attachment.run(client)))
}

pub(crate) async fn attach_websocket(call: Call) -> Result<Reply> {
    let accept = websocket::accept(call.request.headers())?;
    // Before 1.42 nobody was asked, before 1.28 everything was text.
    let all = AttachOptions { stdin: true, stdout: true, stderr: true };
    let options = if call.version < ApiVersion::new(1, 42) { all } else { wanted(&call) };
    let kind = if call.version < ApiVersion::new(1, 28) { Kind::Text } else { Kind::Binary };
    let attachment = Attachment::ask(&call, options).await?;
    let output = Output { kind, are_framed: !attachment.container.spec.terminal };
    Ok(hijack::websocket(call, &accept, output, |client| attachment.run(client)))
}

fn wanted(call: &Call) -> AttachOptions {
    let flag = |name| call.query.flag(name);
    AttachOptions { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr") }
}

/// A session that was asked for.
struct Attachment {
    container: Container,
    /// What is in the log already, if it is wanted.
    past: Option<LogStream>,
    streams: Option<AttachStream>,
    input: Input,
}

impl Attachment {
    async fn ask(call: &Call, options: AttachOptions) -> Result<Attachment> {
        let (stream, logs) = (call.query.flag("stream"), call.query.flag("logs"));
        let keys = DetachFilter::new(call.query.text("detachKeys"))?;
        let containers = call.engine.containers();
        let container = containers.inspect(&call.name).await?;
        let streams = if stream { Some(containers.attach(&container.id, options).await?) } else { None };
        let past = LogOptions { stdout: options.stdout, stderr: options.stderr, ..LogOptions::default() };
        let past = if logs { Some(containers.logs(&container.id, past).await?) } else { None };
        let input = match &container.spec {
            _ if !(options.stdin && container.spec.open_stdin) => Input::Unread,
            spec if spec.terminal => Input::Terminal(keys),
            spec if spec.stdin_once => Input::Ends,
            _ => Input::Leaves,
        };
        Ok(Attachment { container, past, streams, input })
    }

    async fn run(self, mut client: Client) {
        let mut render = Render::new(&self.container);
        if let Some(mut past) = self.past {
            while let Some(Ok(entry)) = past.next().await {
                if !client.write(render.entry(&entry)).await {
                    return;
                }
            }
        }
        match self.streams {
            Some(streams) => client.join(streams, self.input).await,
            None => client.close().await,
        }
    }
}

pub(crate) async fn logs(call: Call) -> Result<Reply> {
    let query = &call.query;
    let options = LogOptions {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        follow: query.flag("follow"),
        // As dockerd: a tail that is no number is all of it.
        tail: query.text("tail").and_then(|tail| tail.parse().ok()),
        since_ns: time::parse("since", query.text("since"))?,
        until_ns: time::parse("until", query.text("until"))?,
    };
    if !options.stdout && !options.stderr {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    let containers = call.engine.containers();
    let container = containers.inspect(&call.name).await?;
    let log = containers.logs(&container.id, options).await?;
    let mut render = Render::new(&container);
    render.timestamps = query.flag("timestamps");
    render.details = query.flag("details");
    let kind = hijack::content_type(&call, container.spec.terminal);
    let peer = call.peer;
    Ok(reply::stream(
        kind,
        unfold(Some((log, render)), move |state| {
            let peer = peer.clone();
            async move {
                let (mut log, mut render) = state?;
                tokio::select! {
                    piece = next_piece(&mut log, &mut render) => match piece? {
                        Ok(piece) => Some((piece, Some((log, render)))),
                        Err(error) => Some((render.error(&error), None)),
                    },
                    () = peer.gone() => None,
                }
            }
        }),
    ))
}

/// One entry, as the client sees it.
async fn next_piece(log: &mut LogStream, render: &mut Render) -> Option<Result<Bytes>> {
    Some(match log.next().await? {
        Ok(entry) => Ok(render.entry(&entry)),
        Err(error) => Err(error.into()),
    })
}

/// How entries look.
struct Render {
    terminal: bool,
    timestamps: bool,
    details: bool,
    /// Whether the last entry of stdout, and of stderr, was a part of a line.
    inside_line: [bool; 2],
}

impl Render {
    fn new(container: &Container) -> Render {
        Render {
            terminal: container.spec.terminal,
            timestamps: false,
            details: false,
            inside_line: [false; 2],
        }
    }

    fn entry(&mut self, entry: &LogEntry) -> Bytes {
        let (number, inside) = match entry.stream {
            LogSource::Stdout => (frames::STDOUT, &mut self.inside_line[0]),
            LogSource::Stderr => (frames::STDERR, &mut self.inside_line[1]),
        };
        let begins = !std::mem::replace(inside, !entry.bytes.ends_with(b"\n"));
        let mut prefix = String::new();
        if begins && self.timestamps {
            prefix = time::rfc3339_fixed(entry.time_ns);
            prefix.push(' ');
        }
        if begins && self.details {
            prefix.push_str(&attributes(&entry.attributes));
            prefix.push(' ');
        }
        self.piece(number, &[prefix.as_bytes(), &entry.bytes])
    }

    fn error(&self, error: &Error) -> Bytes {
        self.piece(frames::STDERR, &[b"Error grabbing logs: ", error.to_string().as_bytes(), b"\n"])
    }

    fn piece(&self, stream: u8, parts: &[&[u8]]) -> Bytes {
        if self.terminal {
            return parts.concat().into();
        }
        let mut buffer = BytesMut::new();
        frames::append(&mut buffer, stream, parts);
        buffer.freeze()
    }
}

/// `name=value,name=value`, escaped as in a query, sorted by name.
fn attributes(attributes: &[(String, String)]) -> String {
    let pairs =
        attributes.iter().map(|(name, value)| format!("{}={}", query_escape(name), query_escape(value)));
    pairs.collect::<Vec<_>>().join(",")
}

/// Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use engine::containers::{LogEntry, LogSource};

    use super::Render;

    #[test]
    fn details_are_escaped_and_come_after_the_time() {
        let mut render = Render { terminal: true, timestamps: true, details: true, inside_line: [false; 2] };
        let attributes = vec![("a b".into(), "x=y".into()), ("tag".into(), "ü".into())];
        let entry = LogEntry { stream: LogSource::Stdout, time_ns: 0, bytes: b"l\n".to_vec(), attributes };
        let shown = render.entry(&entry);
        assert_eq!(&shown[..], b"1970-01-01T00:00:00.000000000Z a+b=x%3Dy,tag=%C3%BC l\n");
    }

    #[test]
    fn only_lines_get_a_time_not_their_parts() {
        let mut render = Render { terminal: true, timestamps: true, details: false, inside_line: [false; 2] };
        let mut shown = Vec::new();
        for (stream, text) in [
            (LogSource::Stdout, "a"),
            (LogSource::Stderr, "x\n"),
            (LogSource::Stdout, "b\n"),
            (LogSource::Stdout, "c\n"),
        ] {
            shown.extend_from_slice(&render.entry(&LogEntry {
                stream,
                time_ns: 0,
                bytes: text.into(),
                attributes: vec![],
            }));
        }
        let time = "1970-01-01T00:00:00.000000000Z ";
        assert_eq!(String::from_utf8(shown).unwrap(), format!("{time}a{time}x\nb\n{time}c\n"));
    }
}
