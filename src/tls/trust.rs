//! Whom we believe: the system's roots, and those of a file beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use super::provider;

/// Nobody can be believed: the roots cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of further roots is missing, unreadable, or holds no certificate.
    #[error("upstream.ca_file {path}: {reason}")]
    Roots {
        /// The file named in the configuration.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system's certificate store could not be used.
    #[error(
        "the system's certificates cannot be read: {0}; install ca-certificates or set upstream.ca_file"
    )]
    System(String),
}

/// The client side of TLS 1.2 and 1.3, which believes the system's roots and those of `ca_file`
/// (PEM); ALPN is for the connector to set.
///
/// Reads files, so it blocks.
///
/// # Errors
/// When the roots of either cannot be read.
pub fn client(ca_file: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let provider = provider();
    let extra = match ca_file {
        Some(path) => read_roots(path)?,
        None => Vec::new(),
    };
    let verifier = Verifier::new_with_extra_roots(extra, provider.clone())
        .map_err(|error| TrustError::System(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::System(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let fail = |reason: String| TrustError::Roots {
        path: path.to_owned(),
        reason,
    };
    let roots = CertificateDer::pem_file_iter(path)
        .map_err(|error| fail(error.to_string()))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(error.to_string()))?;
    if roots.is_empty() {
        return Err(fail(
            "it holds no certificate (PEM, -----BEGIN CERTIFICATE-----)".to_owned(),
        ));
    }
    Ok(roots)
}
