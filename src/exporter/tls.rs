//! Trust in TLS servers: by the system's authorities, a file of authorities, the thumbprint of one
//! certificate, or none. The handshake's signature is verified in any case: without it a pinned
//! certificate would prove nothing, since anybody can present it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::certificate::CertificateFault;
use super::{Error, Thumbprint};
use crate::state;

/// Maximum size of a file of certificates, in bytes: the bundles of common systems have half a
/// million.
const LARGEST_CA_FILE: u64 = 16 << 20;

/// Timeout of establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How a server's certificate is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The certificate is signed by one of the system's authorities.
    System,
    /// The certificate is signed by an authority in these PEM files.
    CaFiles(Vec<PathBuf>),
    /// The certificate has exactly this thumbprint.
    Thumbprint(Thumbprint),
    /// Any certificate is accepted.
    Insecure,
}

/// An HTTPS client with its verifier, which stores why it rejected a server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    verifier: Arc<Verifier>,
}

impl Client {
    /// A client for servers that `trust` accepts. The client keeps cookies, follows no redirect and
    /// uses no proxy: a vCenter and its hosts are in the local network, and only the settings read
    /// environment variables.
    pub(super) fn new(trust: &Trust) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Verifier::new(trust, &provider)?);
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .cookie_store(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("hyperexport/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::HttpClient)?;
        Ok(Self { http, verifier })
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Why the server at `host` was rejected, if the last handshake was rejected.
    pub(super) fn refusal(&self, host: &str) -> Option<Error> {
        let (seen, source) = self.verifier.refused()?;
        Some(match &self.verifier.check {
            CertificateCheck::Pin(pin) => Error::WrongThumbprint {
                host: host.to_owned(),
                expected: pin.to_string(),
                seen: pin.of_same_kind(&seen).to_string(),
            },
            _ => Error::Untrusted {
                host: host.to_owned(),
                seen: Thumbprint::sha256(&seen).to_string(),
                source: CertificateFault(source),
            },
        })
    }
}

#[derive(Debug)]
enum CertificateCheck {
    Pin(Thumbprint),
    Roots {
        webpki: Arc<WebPkiServerVerifier>,
        /// Certificates of a file: a server certificate that is itself in the file is trusted for
        /// its own names. WebPKI rejects self-signed certificates, which ESXi hosts have by
        /// default.
        listed: Vec<CertificateDer<'static>>,
    },
    Anybody,
}

#[derive(Debug)]
struct Verifier {
    check: CertificateCheck,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
    /// The certificate rejected last, and the reason; `None` after an accepted one.
    refused: Mutex<Option<(Vec<u8>, rustls::Error)>>,
}

impl Verifier {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let check = match trust {
            Trust::System => CertificateCheck::by_roots(system_roots()?, Vec::new(), provider)?,
            Trust::CaFiles(paths) => {
                let (roots, listed) = file_roots(paths)?;
                CertificateCheck::by_roots(roots, listed, provider)?
            }
            Trust::Thumbprint(pin) => CertificateCheck::Pin(*pin),
            Trust::Insecure => CertificateCheck::Anybody,
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { check, algorithms, refused: Mutex::new(None) })
    }

    fn refused(&self) -> Option<(Vec<u8>, rustls::Error)> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = match &self.check {
            CertificateCheck::Anybody => Ok(ServerCertVerified::assertion()),
            CertificateCheck::Pin(pin) if pin.of_same_kind(end_entity) == *pin => {
                Ok(ServerCertVerified::assertion())
            }
            CertificateCheck::Pin(_) => Err(rustls::Error::General("thumbprint differs".into())),
            CertificateCheck::Roots { listed, .. }
                if listed.iter().any(|known| known == end_entity) =>
            {
                let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, name)
                    .map(|()| ServerCertVerified::assertion())
            }
            CertificateCheck::Roots { webpki, .. } => {
                webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now)
            }
        };
        let refused = verdict.as_ref().err().map(|error| (end_entity.to_vec(), error.clone()));
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl CertificateCheck {
    fn by_roots(
        roots: RootCertStore,
        listed: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map(|webpki| Self::Roots { webpki, listed })
            .map_err(|error| Error::Tls(rustls::Error::General(error.to_string())))
    }
}

fn system_roots() -> Result<RootCertStore, Error> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::debug!(%error, "reading the system's certificates");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(loaded.certs);
    tracing::debug!(added, ignored, "trusted certificates of this system");
    if added == 0 {
        return Err(Error::NoRoots { place: "on this system".into() });
    }
    Ok(roots)
}

type Listed = (RootCertStore, Vec<CertificateDer<'static>>);

fn file_roots(paths: &[PathBuf]) -> Result<Listed, Error> {
    let (mut roots, mut listed) = (RootCertStore::empty(), Vec::new());
    for path in paths {
        let wrong = |source| Error::CaFile { path: path.clone(), source };
        let pem = state::read_small(path, LARGEST_CA_FILE).map_err(|error| wrong(error.into()))?;
        let before = listed.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(error.into()))?;
            listed.push(certificate.clone());
            roots.add(certificate).map_err(|error| wrong(error.into()))?;
        }
        if listed.len() == before {
            return Err(Error::NoRoots { place: format!("in {}", path.display()) });
        }
    }
    Ok((roots, listed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Client::new(&Trust::CaFiles(vec![file.path().to_owned()])).expect_err("empty");
        assert!(matches!(error, Error::NoRoots { .. }), "{error}");
        let error =
            Client::new(&Trust::CaFiles(vec!["/no/such/file".into()])).expect_err("missing");
        assert_eq!(error.to_string(), "reading certificates from /no/such/file");
    }
}
