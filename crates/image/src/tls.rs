//! How a client proves who it is and finds out who the other one is: certificates in files, for registries and for daemons.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Who may have signed the other one's certificate; paths are files of PEM.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// Somebody has said that it does not matter.
    Anybody,
    /// The authorities that this machine trusts, and these.
    MachineAnd(&'a [PathBuf]),
    Only(&'a Path),
}

/// What is wrong with a file, or with what stands in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error("{0}")]
    Protocol(rustls::Error),
}

/// A client's configuration; `identity` are the files of its certificate and its key.
pub fn configure(trust: Trust<'_>, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?;
    let mut roots = RootCertStore::empty();
    let builder = match trust {
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        Trust::MachineAnd(paths) => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            for path in paths {
                add(&mut roots, path)?;
            }
            builder.with_root_certificates(roots)
        }
        Trust::Only(path) => {
            add(&mut roots, path)?;
            builder.with_root_certificates(roots)
        }
    };
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| wrong(certificate, &error))
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    certificates(path)?
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate).map_err(|error| wrong(path, &error)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(wrong(path, &"there is no certificate in it")),
        read => read.map_err(|error| wrong(path, &error)),
    }
}

fn wrong(path: &Path, what: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), message: what.to_string() }
}

/// Takes any certificate, where somebody has said that it does not matter. Signatures are still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
