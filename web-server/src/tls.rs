//! HTTPS: certificate and key from files, read again when they change, so that a renewal needs no restart.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::TlsFiles;

/// How often the files are checked.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Why there is no HTTPS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{}: {message}", .path.display())]
    File {
        /// Path of the file.
        path: std::path::PathBuf,
        /// What is wrong, for people.
        message: String,
    },
    /// Certificate and key do not match, or their kind is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    /// Read by every handshake, replaced when the files change. No I/O is done while it is locked.
    current: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Arc::new(read(&files)?));
        Ok(Arc::new(Self { files, current }))
    }

    /// The configuration for the server.
    ///
    /// # Errors
    /// Never, with the versions of TLS that we have.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let versions = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = versions.with_safe_default_protocol_versions()?.with_no_client_auth();
        let resolver: Arc<Self> = Arc::clone(self);
        Ok(builder.with_cert_resolver(resolver))
    }

    /// Reads the files again whenever they have changed. Unusable files do not replace the certificate in use.
    pub async fn watch(self: Arc<Self>) {
        let mut known = changed(&self.files);
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = changed(&self.files);
            if now != known {
                known = now;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        match read(&self.files) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                tracing::info!("a new certificate is in use");
            }
            Err(error) => {
                tracing::error!(%error, "the changed certificate cannot be used; the old one stays")
            }
        }
    }
}

/// When the files were written last, and how long they are.
fn changed(files: &TlsFiles) -> [Option<(SystemTime, u64)>; 2] {
    let look = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [look(&files.cert), look(&files.key)]
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let wrong = |path: &Path, message: String| TlsError::File { path: path.to_owned(), message };
    let pem = |path: &Path| std::fs::read(path).map_err(|error: io::Error| wrong(path, error.to_string()));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem(&files.cert)?)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&files.cert, format!("is no certificate in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(wrong(&files.cert, "holds no certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem(&files.key)?)
        .map_err(|error| wrong(&files.key, format!("is no private key in PEM: {error}")))?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}
