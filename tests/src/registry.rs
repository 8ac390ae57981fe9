//! Registries on loopback: Debian's `docker-registry`, and one between that is in the way.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::host::{PATIENCE, path_text};
use crate::network::said;

/// User and password of a registry that asks for them.
pub const LOGIN: (&str, &str) = ("anna", "a secret");

/// A running registry with a store of its own.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    directory: TempDir,
    /// `<address>:<port>`
    host: String,
}

impl Registry {
    /// One that speaks plain HTTP to everybody.
    pub fn plain(port: u16) -> Registry {
        Registry::start(format!("127.0.0.1:{port}"), |_| String::new())
    }

    /// One that speaks TLS with a certificate of its own and wants [`LOGIN`]; at an address that is not loopback, where
    /// certificates do not count.
    pub fn secured(port: u16) -> Registry {
        said("ip", &["address", "add", "192.0.2.9/32", "dev", "lo"]);
        Registry::start(format!("192.0.2.9:{port}"), |directory| {
            let path = |name| path_text(&directory.join(name)).to_owned();
            let (key, certificate, users) = (path("key.pem"), path("certificate.pem"), path("users"));
            let subject = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:192.0.2.9"];
            let kind =
                ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
            let files =
                ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate];
            said("openssl", &[&kind[..], &subject, &files].concat());
            fs::write(&users, said("htpasswd", &["-Bbn", LOGIN.0, LOGIN.1]).trim()).expect("a file");
            format!(
                "  tls: {{certificate: {certificate}, key: {key}}}\nauth:\n  htpasswd: {{realm: test, path: {users}}}\n"
            )
        })
    }

    fn start(host: String, extra: impl FnOnce(&Path) -> String) -> Registry {
        let directory = tempfile::Builder::new().prefix("corten-registry-").tempdir().expect("a folder");
        let extra = extra(directory.path());
        let store = directory.path().join("store");
        let config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: {host}\n{extra}",
            store.display()
        );
        let file = directory.path().join("config.yml");
        fs::write(&file, config).expect("a file");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let registry = Registry { child, directory, host };
        let begin = Instant::now();
        while TcpStream::connect(&registry.host).is_err() {
            assert!(begin.elapsed() < PATIENCE, "the registry at {} does not answer", registry.host);
            thread::sleep(Duration::from_millis(5));
        }
        registry
    }

    /// Its address and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its certificate, if it has one.
    pub fn certificate(&self) -> std::path::PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// Copies a root file system's tar there with skopeo, as the only layer of an image.
    pub fn fill(&self, tar: &Path, name: &str) {
        let target = format!("docker://{}/{name}", self.host());
        let source = format!("tarball:{}", tar.display());
        said("skopeo", &["copy", "-q", "--insecure-policy", "--dest-tls-verify=false", &source, &target]);
    }

    /// The digest of a manifest as skopeo sees it.
    pub fn digest(&self, name: &str) -> String {
        let target = format!("docker://{}/{name}", self.host());
        said("skopeo", &["inspect", "--tls-verify=false", "-f", "{{.Digest}}", &target]).trim().to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is reaped");
    }
}

/// Something at a port that is not what a client hopes for. It lives as long as the test.
#[derive(Debug, Clone)]
pub struct Nuisance {
    connections: Arc<AtomicUsize>,
}

impl Nuisance {
    /// Passes on to a registry, and cuts every connection after `bytes` of answers.
    pub fn cutting(port: u16, registry: u16, bytes: u64) -> Nuisance {
        Nuisance::start(port, move |mut client| {
            let mut server = server_behind(&client, registry);
            // Either side may go first.
            let _cut = std::io::copy(&mut (&mut server).take(bytes), &mut client);
            let _both = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        })
    }

    /// Answers the first `times` requests with `answer`, one on each connection, and is a pipe to the registry for the others.
    pub fn answering(port: u16, registry: u16, times: usize, answer: &'static str) -> Nuisance {
        let count = AtomicUsize::new(0);
        Nuisance::start(port, move |mut client| {
            if count.fetch_add(1, Ordering::SeqCst) >= times {
                let mut server = server_behind(&client, registry);
                let _ended = std::io::copy(&mut server, &mut client);
                return;
            }
            let mut request = [0; 8192];
            let _asked = client.read(&mut request);
            let _told = client.write_all(answer.as_bytes());
        })
    }

    /// Passes on to a registry, and changes a byte of every answer that is longer than `bytes`.
    pub fn corrupting(port: u16, registry: u16, bytes: u64) -> Nuisance {
        Nuisance::start(port, move |mut client| {
            let mut server = server_behind(&client, registry);
            let _begun = std::io::copy(&mut (&mut server).take(bytes), &mut client);
            let mut byte = [0];
            if server.read_exact(&mut byte).is_ok() {
                let _changed = client.write_all(&[!byte[0]]);
            }
            let _rest = std::io::copy(&mut server, &mut client);
            let _over = client.shutdown(Shutdown::Both);
        })
    }

    /// Passes on to a registry; cuts the first connection that more than `bytes` are sent on.
    pub fn cutting_an_upload(port: u16, registry: u16, bytes: u64) -> Nuisance {
        let has_cut = AtomicBool::new(false);
        Nuisance::start(port, move |mut client| {
            let mut server = TcpStream::connect(("127.0.0.1", registry)).expect("the registry answers");
            let (mut to_client, mut from_server) =
                (client.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
            thread::spawn(move || {
                let _answered = std::io::copy(&mut from_server, &mut to_client);
                to_client.shutdown(Shutdown::Both)
            });
            let sent = std::io::copy(&mut (&mut client).take(bytes), &mut server).unwrap_or_default();
            if sent == bytes && !has_cut.swap(true, Ordering::SeqCst) {
                let _both = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                return;
            }
            let _rest = std::io::copy(&mut client, &mut server);
        })
    }

    fn start(port: u16, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Nuisance {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let (nuisance, serve) = (Nuisance { connections: Arc::default() }, Arc::new(serve));
        let connections = nuisance.connections.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                thread::spawn(move || serve(client));
            }
        });
        nuisance
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A connection to the registry that hears what the client says; its answers are the caller's to pass on.
fn server_behind(client: &TcpStream, registry: u16) -> TcpStream {
    let server = TcpStream::connect(("127.0.0.1", registry)).expect("the registry answers");
    let (mut from_client, mut to_server) =
        (client.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
    thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    server
}
