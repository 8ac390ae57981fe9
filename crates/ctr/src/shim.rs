//! `ctr shim`: a shim is asked directly, over ttrpc, past the daemon.
//!
//! A shim's socket is found as containerd's shims make it: in one folder of the machine, named by the daemon's socket, the
//! namespace and the id; or it is named by `--shim-address`.

use api::task::{self, SERVICE_V2, SERVICE_V3};
use api::ttrpc::{FrameDecoder, Request, encode_request};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::client;
use crate::error::Error;
use crate::grammar::Call;
use crate::wire::{Field, Kind, message};
use crate::{documents, output};

/// Where containerd's shims have their sockets.
const FOLDER: &str = "/run/containerd/s";
/// A client's first call.
const STREAM: u32 = 1;

const STATE: &[Field] = &[
    (1, "id", Kind::Text),
    (2, "bundle", Kind::Text),
    (3, "pid", Kind::Number),
    (4, "status", Kind::Number),
    (5, "stdin", Kind::Text),
    (6, "stdout", Kind::Text),
    (7, "stderr", Kind::Text),
    (8, "terminal", Kind::Switch),
    (9, "exit_status", Kind::Number),
    (10, "exited_at", Kind::Time),
    (11, "exec_id", Kind::Text),
];

pub(crate) async fn state(call: &Call) -> Result<u8, Error> {
    let id = if call.text("task-id").is_empty() { call.text("id") } else { call.text("task-id") };
    let answer = ask(call, "State", &task::StateRequest { id: id.into(), exec_id: String::new() }).await?;
    let document = message(STATE, &answer).ok_or_else(|| malformed("State"))?;
    output::line(&documents::pretty(&document)).map(|()| 0)
}

pub(crate) async fn start(call: &Call) -> Result<u8, Error> {
    let request = task::StartRequest { id: operand(call)?, exec_id: String::new() };
    ask(call, "Start", &request).await.map(|_| 0)
}

pub(crate) async fn delete(call: &Call) -> Result<u8, Error> {
    let request = task::DeleteRequest { id: operand(call)?, exec_id: String::new() };
    let answer = ask(call, "Delete", &request).await?;
    let answer = task::DeleteResponse::decode(answer.as_slice()).map_err(|_| malformed("Delete"))?;
    output::line(&format!("container deleted and returned exit status {}", answer.exit_status)).map(|()| 0)
}

pub(crate) async fn shutdown(call: &Call) -> Result<u8, Error> {
    ask(call, "Shutdown", &task::ShutdownRequest::default()).await.map(|_| 0)
}

pub(crate) async fn exec(call: &Call) -> Result<u8, Error> {
    let (id, exec_id) = (call.text("id"), call.operand(0));
    if exec_id.is_empty() {
        return Err(Error::Usage("exec id must be provided".into()));
    }
    if id.is_empty() || call.text("spec").is_empty() {
        return Err(Error::Usage(
            "--id of the shim and --spec, a file with the process, must be given".into(),
        ));
    }
    let path = call.text("spec");
    let spec = std::fs::read(path).map_err(|source| Error::File { what: format!("read {path}"), source })?;
    let request = task::ExecProcessRequest {
        id: id.into(),
        exec_id: exec_id.into(),
        terminal: call.is("tty"),
        stdin: call.text("stdin").into(),
        stdout: call.text("stdout").into(),
        stderr: call.text("stderr").into(),
        spec: Some(prost_types::Any { type_url: api::any::PROCESS.into(), value: spec }),
    };
    ask(call, "Exec", &request).await?;
    let request = task::StartRequest { id: id.into(), exec_id: exec_id.into() };
    let answer = ask(call, "Start", &request).await?;
    let answer = task::StartResponse::decode(answer.as_slice()).map_err(|_| malformed("Start"))?;
    output::line(&format!("exec running with pid {}", answer.pid)).map(|()| 0)
}

fn operand(call: &Call) -> Result<String, Error> {
    match call.operand(0) {
        "" => Err(Error::Usage("container id must be provided".into())),
        id => Ok(id.to_owned()),
    }
}

fn malformed(method: &str) -> Error {
    Error::Document {
        what: format!("the shim's answer to {method}"),
        reason: "it is none of that kind".into(),
    }
}

/// Calls one method: of the version that was asked for, or of the newest that the shim has.
async fn ask(call: &Call, method: &str, request: &impl Message) -> Result<Vec<u8>, Error> {
    let services: &[&str] = match call.text("api-version") {
        "" => &[SERVICE_V3, SERVICE_V2],
        "2" => &[SERVICE_V2],
        "3" => &[SERVICE_V3],
        _ => return Err(Error::Usage("api-version must be 2 or 3".into())),
    };
    let mut stream = connect(call).await?;
    let mut outcome = exchange(&mut stream, services[0], method, request).await;
    for service in &services[1..] {
        if !outcome.as_ref().is_err_and(|error| error.is(tonic::Code::Unimplemented)) {
            break;
        }
        stream = connect(call).await?;
        outcome = exchange(&mut stream, service, method, request).await;
    }
    outcome
}

async fn connect(call: &Call) -> Result<UnixStream, Error> {
    let (id, address) = (call.text("id"), call.text("shim-address"));
    let mut paths = Vec::new();
    if !address.is_empty() {
        paths.push(address.strip_prefix("unix://").unwrap_or(address).to_owned());
    }
    if !id.is_empty() {
        let key = format!("{}/{}/{id}", client::address(call), call.text("namespace"));
        paths.push(format!("{FOLDER}/{}", oci::digest::Digest::of(key.as_bytes()).hex()));
    }
    if paths.is_empty() {
        return Err(Error::Usage("shim ID (--id) or address (--shim-address) must be specified".into()));
    }
    for path in &paths {
        if let Ok(stream) = UnixStream::connect(path).await {
            return Ok(stream);
        }
    }
    Err(Error::Usage(format!("fail to connect to container shim with sockets: [{}]", paths.join(" "))))
}

async fn exchange(
    stream: &mut UnixStream,
    service: &str,
    method: &str,
    request: &impl Message,
) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::File { what: format!("ask the shim for {method}"), source };
    let protocol = |error: api::ttrpc::Error| Error::Document {
        what: format!("the shim's answer to {method}"),
        reason: error.to_string(),
    };
    let frame = encode_request(STREAM, &Request::new(service, method, request)).map_err(protocol)?;
    stream.write_all(&frame).await.map_err(failed)?;
    let mut decoder = FrameDecoder::new();
    let mut chunk = vec![0; 4096];
    let response = loop {
        if let Some(frame) = decoder.next_frame().map_err(protocol)? {
            break frame.response().map_err(protocol)?;
        }
        match stream.read(&mut chunk).await.map_err(failed)? {
            // A shim that is told to end may do so before it answers.
            0 if method == "Shutdown" => return Ok(Vec::new()),
            0 => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            count => decoder.push(&chunk[..count]),
        }
    };
    match response.status {
        Some(status) if status.code != 0 => {
            Err(tonic::Status::new(tonic::Code::from_i32(status.code), status.message).into())
        }
        _ => Ok(response.payload),
    }
}
