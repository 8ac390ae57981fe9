//! A container's place in a network of others, made by plugins of the Container Network Interface (specification 1.1) as containerd's
//! own client has it: the first configuration of `/etc/cni/net.d`, plugins of `/opt/cni/bin`, one interface `eth0`.
//!
//! Plugins are executed one after the other, each with what the one before it said; at the end they are asked in reverse to take it
//! back. What they said is kept in `/var/lib/cni/results` in the form of the specification's own library, so that whoever comes later can
//! take it back, also when the configuration has changed.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use grpc::containers::Container;
use prost_types::Any;
use rustix::path::DecInt;
use serde_json::{Map, Value, json};

use crate::blocking::blocking;
use crate::client::Client;
use crate::error::Error;
use crate::output;

mod configuration;

pub(crate) use configuration::Configuration;

/// Where everybody has them; containerd's client takes no others.
const CONFIGURATIONS: &str = "/etc/cni/net.d";
const PLUGINS: &str = "/opt/cni/bin";
const RESULTS: &str = "/var/lib/cni/results";
const INTERFACE: &str = "eth0";
/// What a file of results calls its form.
const KIND: &str = "cniCacheV1";
/// What a container's record says when it is in a network: containerd's own client looks for it.
const EXTENSION: &str = "ctr.cni-containerd.metadata";
const EXTENSION_TYPE: &str = "github.com/containerd/containerd/v2/cmd/ctr/commands/NetworkMetaData";

/// Why a container is not in a network, or still in it.
#[derive(Debug)]
pub(crate) enum CniError {
    /// There is no configuration.
    None,
    Configuration {
        path: PathBuf,
        reason: String,
    },
    File {
        what: String,
        source: io::Error,
    },
    /// A plugin did not do what it was asked.
    Plugin {
        name: String,
        verb: Verb,
        reason: String,
    },
    /// It is not there.
    Missing {
        name: String,
        verb: Verb,
    },
}

/// What plugins are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Delete,
}

impl CniError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            CniError::None => Some(format!("put a network's configuration into {CONFIGURATIONS}")),
            CniError::Missing { .. } => Some(format!("install the plugins of the network in {PLUGINS}")),
            _ => None,
        }
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |verb: &Verb| if *verb == Verb::Add { "add" } else { "delete" };
        match self {
            CniError::None => {
                write!(f, "no network config found in {CONFIGURATIONS}: cni plugin not initialized")
            }
            CniError::Configuration { path, reason } => {
                write!(f, "failed to load CNI config file {}: {reason}: invalid cni config", path.display())
            }
            CniError::File { what, source } => write!(f, "{what}: {source}"),
            CniError::Plugin { name, verb, reason } => {
                write!(f, "plugin {name} failed ({}): {reason}", word(verb))
            }
            CniError::Missing { name, verb } => {
                write!(f, "plugin {name} failed ({}): failed to find it in {PLUGINS}", word(verb))
            }
        }
    }
}

fn file(what: &str, path: &Path) -> impl FnOnce(io::Error) -> CniError {
    let what = format!("{what} {}", path.display());
    move |source| CniError::File { what, source }
}

/// A container in a network.
#[derive(Debug)]
pub(crate) struct Attachment {
    configuration: Configuration,
    container: String,
    /// Open as long as there is something to take back from it; none for a container that has ended.
    namespace: Option<File>,
    /// What the plugins said.
    result: Option<Value>,
}

/// Whether the container's record says that it is in a network.
pub(crate) fn is_attached(container: &Container) -> bool {
    container.extensions.contains_key(EXTENSION)
}

/// Notes in a container's record that it is in a network.
pub(crate) fn mark(container: &mut Container) {
    let value = json!({"EnableCni": true}).to_string().into_bytes();
    container.extensions.insert(EXTENSION.into(), Any { type_url: EXTENSION_TYPE.into(), value });
}

/// What plugins call a container.
fn name(client: &Client, id: &str) -> String {
    format!("{}-{id}", client.namespace())
}

/// Finds the network that containers are attached to.
pub(crate) fn network() -> Result<Configuration, Error> {
    Configuration::first(Path::new(CONFIGURATIONS)).map_err(Error::Network)
}

/// Attaches a container, whose first process is `pid`, to the network.
pub(crate) async fn attach(
    client: &Client,
    configuration: Configuration,
    id: &str,
    pid: u32,
) -> Result<Attachment, Error> {
    let container = name(client, id);
    blocking(move || Attachment::make(configuration, container, pid).map_err(Error::Network)).await
}

/// Takes a container out of the network that it was attached to by whomever.
pub(crate) async fn detach(client: &Client, id: &str) -> Result<(), Error> {
    let container = name(client, id);
    blocking(move || {
        let kept = Attachment::kept(&container).map_err(Error::Network)?;
        kept.map_or(Ok(()), |attachment| attachment.undo()).map_err(Error::Network)
    })
    .await
}

impl Attachment {
    /// Takes the container out of the network.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        blocking(move || self.undo().map_err(Error::Network)).await
    }

    fn make(configuration: Configuration, container: String, pid: u32) -> Result<Attachment, CniError> {
        let path = format!("/proc/{pid}/ns/net");
        let opened = File::open(&path).map_err(file("open", Path::new(&path)))?;
        let mut attachment = Attachment { configuration, container, namespace: Some(opened), result: None };
        let done = attachment.add(&path).and_then(|result| {
            attachment.result = Some(result);
            attachment.keep()
        });
        match done {
            Ok(()) => Ok(attachment),
            Err(error) => {
                // Of what was done before the failure nothing stays; why something does is told beside the failure.
                if let Err(left) = attachment.undo() {
                    output::warn_of("failed to remove network", &Error::Network(left));
                }
                Err(error)
            }
        }
    }

    /// The attachment that a file tells of.
    fn kept(container: &str) -> Result<Option<Attachment>, CniError> {
        let folder = Path::new(RESULTS);
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file("read", folder)(error)),
        };
        let ending = format!("-{container}-{INTERFACE}");
        for entry in entries {
            let path = entry.map_err(file("read", folder))?.path();
            if !path.to_string_lossy().ends_with(&ending) {
                continue;
            }
            let bytes = fs::read(&path).map_err(file("read", &path))?;
            let wrong = |reason: &str| CniError::Configuration { path: path.clone(), reason: reason.into() };
            let kept: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
            // Another network's name may end as this one's container does.
            if kept["containerId"] != container || kept["ifName"] != INTERFACE {
                continue;
            }
            let text = BASE64.decode(kept["config"].as_str().unwrap_or_default());
            let text = text.map_err(|error| wrong(&error.to_string()))?;
            let configuration = Configuration::list(&text).map_err(|reason| wrong(&reason))?;
            return Ok(Some(Attachment {
                configuration,
                container: container.to_owned(),
                namespace: None,
                result: kept.get("result").cloned(),
            }));
        }
        Ok(None)
    }

    fn add(&self, namespace: &str) -> Result<Value, CniError> {
        let mut result = None;
        for plugin in &self.configuration.plugins {
            let said = self.ask(Verb::Add, plugin, result.as_ref(), namespace)?;
            let wrong = |reason: String| failed(Verb::Add, plugin, reason);
            let said: Option<Map<String, Value>> =
                serde_json::from_slice(&said).map_err(|error| wrong(format!("its result: {error}")))?;
            let mut said = said.unwrap_or_default();
            if said.get("cniVersion").is_none_or(|version| version == "") {
                said.insert("cniVersion".into(), self.configuration.version.clone().into());
            }
            result = Some(said.into());
        }
        Ok(result.unwrap_or_default())
    }

    /// Asks every plugin to take back what it did, in reverse; the first failure is told. What is kept goes when nothing is left.
    fn undo(&self) -> Result<(), CniError> {
        let namespace = self.namespace.as_ref().map_or_else(String::new, |namespace| {
            format!("/proc/{}/fd/{}", std::process::id(), DecInt::from_fd(namespace).as_str())
        });
        // What was said is of interest since 0.4.0.
        let result = self.result.as_ref().filter(|_| self.configuration.tells_results());
        let mut failure = None;
        for plugin in self.configuration.plugins.iter().rev() {
            if let Err(error) = self.ask(Verb::Delete, plugin, result, &namespace) {
                failure.get_or_insert(error);
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => match fs::remove_file(self.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(file("remove", &self.path())(error))
                }
                _ => Ok(()),
            },
        }
    }

    fn path(&self) -> PathBuf {
        let name = format!("{}-{}-{INTERFACE}", self.configuration.name, self.container);
        Path::new(RESULTS).join(name)
    }

    fn keep(&self) -> Result<(), CniError> {
        let (folder, path) = (Path::new(RESULTS), self.path());
        let kept = json!({
            "kind": KIND,
            "containerId": self.container,
            "config": BASE64.encode(&self.configuration.text),
            "ifName": INTERFACE,
            "networkName": self.configuration.name,
            "result": self.result,
        });
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(file("make", folder))?;
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        opened
            .and_then(|mut opened| opened.write_all(kept.to_string().as_bytes()))
            .map_err(file("write", &path))
    }

    /// Executes a plugin; what it says.
    fn ask(
        &self,
        verb: Verb,
        plugin: &Map<String, Value>,
        result: Option<&Value>,
        namespace: &str,
    ) -> Result<Vec<u8>, CniError> {
        let kind = plugin["type"].as_str().unwrap_or_default();
        let path = Path::new(PLUGINS).join(kind);
        if !path.is_file() {
            return Err(CniError::Missing { name: configuration::described(plugin), verb });
        }
        let request = self.configuration.request(plugin, result);
        let mut command = Command::new(&path);
        command
            .env("CNI_COMMAND", if verb == Verb::Add { "ADD" } else { "DEL" })
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_NETNS", namespace)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_ARGS", "")
            .env("CNI_PATH", PLUGINS);
        let ended = execute(command, &request).map_err(|error| failed(verb, plugin, error.to_string()))?;
        if !ended.status.success() {
            return Err(failed(verb, plugin, reason(&ended)));
        }
        // It may have something to say that is no failure.
        output::tell(&String::from_utf8_lossy(&ended.stderr));
        Ok(ended.stdout)
    }
}

fn failed(verb: Verb, plugin: &Map<String, Value>, reason: String) -> CniError {
    CniError::Plugin { name: configuration::described(plugin), verb, reason }
}

fn execute(mut command: Command, input: &[u8]) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without having read everything says why.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output()
}

/// Why a plugin failed, in its own words.
fn reason(ended: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ended.stdout.is_empty() {
        return match ended.stderr.is_empty() {
            true => format!("netplugin failed with no error message: {}", ended.status),
            false => format!("netplugin failed: {:?}", text(&ended.stderr)),
        };
    }
    match serde_json::from_slice::<Value>(&ended.stdout) {
        Ok(told) => {
            let part = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
            let details = part("details");
            if details.is_empty() { part("msg") } else { format!("{}; {details}", part("msg")) }
        }
        Err(_) => format!("netplugin failed: {:?}", text(&ended.stdout)),
    }
}
