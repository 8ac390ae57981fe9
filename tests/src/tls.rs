//! A way to a daemon through TLS, and the certificates for it.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use crate::host::path_text;
use crate::network::said;

/// An authority with what it has signed: `ca.pem`, and `cert.pem` and `key.pem` in a folder for each name.
#[derive(Debug)]
pub struct Authority(TempDir);

impl Authority {
    /// A new one, which nobody knows.
    pub fn new() -> Authority {
        let authority =
            Authority(tempfile::Builder::new().prefix("corten-tls-").tempdir().expect("a folder"));
        let (key, certificate) = (authority.file("ca-key.pem"), authority.file("ca.pem"));
        let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let files = ["-subj", "/CN=authority", "-keyout", path_text(&key), "-out", path_text(&certificate)];
        said("openssl", &[&kind[..], &files].concat());
        authority
    }

    /// A certificate for somebody at 127.0.0.1, and its key, with the authority's own beside them: a folder as DOCKER_CERT_PATH
    /// names one.
    pub fn sign(&self, name: &str) -> PathBuf {
        let folder = self.file(name);
        std::fs::create_dir(&folder).expect("a folder");
        let path = |name: &str| path_text(&folder.join(name)).to_owned();
        let (key, request, certificate, extension) =
            (path("key.pem"), path("request.pem"), path("cert.pem"), path("extension"));
        std::fs::write(&extension, "subjectAltName=IP:127.0.0.1").expect("a file");
        let subject = format!("/CN={name}");
        let kind =
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", &subject];
        said("openssl", &[&kind[..], &["-keyout", &key, "-out", &request]].concat());
        let (own, own_key) = (self.certificate(), self.file("ca-key.pem"));
        let signer = ["-CA", path_text(&own), "-CAkey", path_text(&own_key), "-CAcreateserial", "-days", "2"];
        let files = ["x509", "-req", "-in", &request, "-out", &certificate, "-extfile", &extension];
        said("openssl", &[&files[..], &signer].concat());
        std::fs::copy(&own, folder.join("ca.pem")).expect("the file is there");
        folder
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.file("ca.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

/// Leads from a port of loopback to a daemon's socket, for clients whose certificate the authority of `folder` has signed; the
/// address. It ends with the test.
pub fn door(folder: &Path, socket: PathBuf) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).expect("an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("usual versions")
        .with_client_cert_verifier(verifier.expect("a verifier"))
        .with_single_cert(vec![read("cert.pem")], key)
        .expect("a certificate and its key");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (listener, acceptor) =
                (TcpListener::from_std(listener).expect("a socket"), TlsAcceptor::from(Arc::new(config)));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, socket) = (acceptor.clone(), socket.clone());
                tokio::spawn(async move {
                    let mut client = acceptor.accept(stream).await?;
                    let mut daemon = UnixStream::connect(socket).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut daemon).await
                });
            }
        });
    });
    address
}

/// A folder with an executable `ssh` that notes its words in `words`, and runs what the other machine would with `program` as its
/// `docker`.
pub fn loopback_ssh(program: &Path, docker_host: &str) -> TempDir {
    let folder = tempfile::Builder::new().prefix("corten-ssh-").tempdir().expect("a folder");
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{folder}/words'\nwhile [ \"$1\" != -- ]; do shift; done\n\
         [ \"$2\" = nowhere ] && {{ echo 'ssh: no such machine' >&2; exit 255; }}\nshift 3\n\
         DOCKER_HOST='{docker_host}' exec '{program}' \"$@\"\n",
        folder = folder.path().display(),
        program = program.display(),
    );
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o755).open(folder.path().join("ssh")).expect("a file");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("it is written");
    folder
}
