//! How shims are started and cleaned up: a command line, a message on standard input, an address on standard output
//! (containerd's `docs/runtime-v2.md`).
//!
//! Shims of containerd up to 2.2 read the runtime's options from standard input, later ones `BootstrapParams`. Which it is tells the
//! version that a shim prints; Corten's own reads both.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use api::bootstrap::{BootstrapParams, BootstrapResult, Extension};
use api::code::Code;
use api::task::DeleteResponse;
use api::types::RuntimeInfo;
use prost::Message as _;
use prost_types::Any;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::bundle::Bundle;
use super::log::Log;
use super::shim::{Address, Shim};
use super::{Config, Key};
use crate::error::{Error, Result};

/// What a shim has to say where it listens; a machine that is overloaded needs its time.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Shims of containerd ask their runtime, a further program.
const INFO_TIMEOUT: Duration = Duration::from_secs(10);
/// containerd's own bound.
const DELETE_TIMEOUT: Duration = Duration::from_secs(5);
/// The version of containerd whose shims read `BootstrapParams`.
const PARAMS_SINCE: (u32, u32) = (2, 3);
/// A shim calls its socket by a digest in hex; a path has room for this many bytes.
const SOCKET_NAME_BYTES: usize = 64;
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// Starts a shim and connects to it.
pub(super) async fn start(
    config: &Config,
    key: &Key,
    bundle: &Bundle,
    binary: &Path,
    options: Option<&Any>,
) -> Result<Shim> {
    let log = Log::follow(bundle, key);
    let input = match *binary == *config.shim || reads_params(binary).await {
        true => params(config, key, options).encode_to_vec(),
        false => options.map(prost::Message::encode_to_vec).unwrap_or_default(),
    };
    let mut command = command(config, key, bundle, binary);
    command.arg("start");
    let output = run(command, &input, START_TIMEOUT).await.map_err(|error| failed(binary, &error))?;
    let address = parse(&output.stdout).map_err(|error| failed(binary, &error))?;
    bundle.note(binary, address.to_json()).await?;
    Shim::connect(&address, Some(log)).await
}

/// What a shim's executable tells about its runtime; `options` are the runtime's.
pub(super) async fn info(binary: &Path, options: Option<&Any>) -> Result<RuntimeInfo> {
    let mut command = Command::new(binary);
    command.arg("-info").kill_on_drop(true);
    let input = options.map(prost::Message::encode_to_vec).unwrap_or_default();
    let told = run(command, &input, INFO_TIMEOUT)
        .await
        .and_then(|output| RuntimeInfo::decode(output.stdout.as_slice()).map_err(|error| error.to_string()));
    told.map_err(|why| {
        let message = format!("failed to ask shim for its info: {}: {why}", binary.display());
        Error::Task { message, code: Code::Unknown }
    })
}

/// Lets the shim's executable remove what a lost shim left.
pub(super) async fn delete(
    config: &Config,
    key: &Key,
    bundle: &Bundle,
    binary: &Path,
) -> Result<DeleteResponse> {
    let mut command = command(config, key, bundle, binary);
    command.arg("-bundle").arg(bundle.path()).arg("delete");
    let output = run(command, b"", DELETE_TIMEOUT).await.map_err(|error| failed(binary, &error))?;
    DeleteResponse::decode(output.stdout.as_slice()).map_err(|error| failed(binary, &error.to_string()))
}

fn command(config: &Config, key: &Key, bundle: &Bundle, binary: &Path) -> Command {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let mut command = Command::new(binary);
    command
        .args(["-namespace", &key.namespace, "-address"])
        .arg(&config.address)
        .arg("-publish-binary")
        .arg(own)
        .args(["-id", &key.id])
        .current_dir(bundle.path())
        .env("GOMAXPROCS", "2")
        .env("MAX_SHIM_VERSION", "3")
        .env("NAMESPACE", &key.namespace)
        .env("GRPC_ADDRESS", &config.address)
        .env("TTRPC_ADDRESS", ttrpc_address(&config.address))
        .env_remove("NOTIFY_SOCKET")
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Where the ttrpc services of a containerd are.
pub fn ttrpc_address(address: &Path) -> PathBuf {
    let mut path = address.as_os_str().to_owned();
    path.push(".ttrpc");
    path.into()
}

fn params(config: &Config, key: &Key, options: Option<&Any>) -> BootstrapParams {
    BootstrapParams {
        instance_id: key.id.clone(),
        namespace: key.namespace.clone(),
        containerd_ttrpc_address: ttrpc_address(&config.address).display().to_string(),
        containerd_grpc_address: config.address.display().to_string(),
        socket_dir: socket_directory(config),
        extensions: options.map(|options| Extension { value: Some(options.clone()) }).into_iter().collect(),
        ..BootstrapParams::default()
    }
}

/// Where a shim has its socket: in our own state, unless the path of a socket there would be too long for the kernel (`unix(7)`).
fn socket_directory(config: &Config) -> Option<String> {
    let directory = config.state.join("s").display().to_string();
    (directory.len() + 1 + SOCKET_NAME_BYTES <= SOCKET_PATH_MAX_BYTES).then_some(directory)
}

/// Runs a shim's executable to its end.
async fn run(mut command: Command, input: &[u8], timeout: Duration) -> Result<Output, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let ended = async {
        // One that does not read its input may still be right.
        drop(stdin.write_all(input).await);
        drop(stdin);
        child.wait_with_output().await.map_err(|error| error.to_string())
    };
    let output = tokio::time::timeout(timeout, ended)
        .await
        .map_err(|_| format!("it has not ended in {} s", timeout.as_secs()))??;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", said.trim(), output.status))
}

fn failed(binary: &Path, why: &str) -> Error {
    Error::Task { message: format!("failed to start shim: {}: {why}", binary.display()), code: Code::Unknown }
}

/// Whether a shim's version is one that reads `BootstrapParams`.
async fn reads_params(binary: &Path) -> bool {
    let mut command = Command::new(binary);
    command.arg("-v").kill_on_drop(true);
    match run(command, b"", DELETE_TIMEOUT).await {
        Ok(output) => version(&String::from_utf8_lossy(&output.stdout)) >= Some(PARAMS_SINCE),
        Err(_) => false,
    }
}

/// `  Version:  v2.1.4` in what a shim of containerd prints.
fn version(text: &str) -> Option<(u32, u32)> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Version:"))?;
    let mut numbers = line.trim().trim_start_matches('v').split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What `start` printed: a message, JSON, or a bare address.
fn parse(stdout: &[u8]) -> Result<Address, String> {
    let text = std::str::from_utf8(stdout).map(str::trim).unwrap_or_default();
    if text.starts_with('{') {
        return Address::from_json(text);
    }
    if text.contains("://") && !text.starts_with(|letter: char| letter.is_control()) {
        return Address::new(2, text, "ttrpc");
    }
    match BootstrapResult::decode(stdout) {
        Ok(result) if !result.address.is_empty() => {
            let version = u32::try_from(result.version).unwrap_or_default();
            Address::new(version, &result.address, &result.protocol)
        }
        _ => Err(format!("it printed no address: {text:?}")),
    }
}

impl Address {
    pub(super) fn from_json(text: &str) -> Result<Address, String> {
        #[derive(Deserialize)]
        struct Printed {
            version: u32,
            address: String,
            protocol: String,
        }
        let printed: Printed = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Address::new(printed.version, &printed.address, &printed.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_tells_its_address_in_three_ways() {
        let bare = parse(b"unix:///run/s/1").unwrap();
        assert_eq!((bare.version, bare.path.to_str()), (2, Some("/run/s/1")));
        let json = parse(br#"{"version":3,"address":"unix:///run/s/2","protocol":"ttrpc"}"#).unwrap();
        assert_eq!((json.version, json.path.to_str()), (3, Some("/run/s/2")));
        let message = BootstrapResult {
            version: 3,
            address: "unix:///run/s/3".into(),
            protocol: "ttrpc".into(),
            ..BootstrapResult::default()
        };
        let message = parse(&message.encode_to_vec()).unwrap();
        assert_eq!((message.version, message.path.to_str()), (3, Some("/run/s/3")));
        for bad in [
            &b""[..],
            b"hello",
            b"{}",
            br#"{"version":3,"address":"unix:///x","protocol":"grpc"}"#,
            b"\xff\xff",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_socket_is_in_the_state_if_its_path_is_short_enough() {
        let config = |state: &str| Config {
            state: state.into(),
            root: PathBuf::new(),
            shim: PathBuf::new(),
            address: PathBuf::new(),
        };
        assert_eq!(socket_directory(&config("/run/corten")).as_deref(), Some("/run/corten/s"));
        assert_eq!(socket_directory(&config(&format!("/{}", "x".repeat(40)))), None);
    }

    #[test]
    fn the_version_decides_what_a_shim_reads() {
        let text = "containerd-shim-runc-v2:\n  Version:  v2.1.9\n  Revision: x\n  Go version: go1.24\n";
        assert_eq!(version(text), Some((2, 1)));
        assert_eq!(version("x:\n  Version: 1.6.20~ds1\n"), Some((1, 6)));
        assert_eq!(version("corten-shim 0.1.0"), None);
        assert!(Some((2, 4)) >= Some(PARAMS_SINCE) && None < Some(PARAMS_SINCE));
    }
}
