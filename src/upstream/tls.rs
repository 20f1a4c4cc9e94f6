//! Whom we believe: the system's roots, and those of `ca_file` beside them.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use super::SetupError;

/// The one cryptography provider of this program.
///
/// It is passed on explicitly everywhere: rustls' implicit default panics when two providers are
/// compiled in, which a dependency could bring about.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The client side of TLS 1.2 and 1.3 to the upstream; ALPN is set by the connector.
pub(super) fn client(ca_file: Option<&Path>) -> Result<ClientConfig, SetupError> {
    let provider = provider();
    let extra = match ca_file {
        Some(path) => read_roots(path)?,
        None => Vec::new(),
    };
    let verifier = Verifier::new_with_extra_roots(extra, provider.clone())
        .map_err(|error| SetupError::Verifier(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Verifier(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let fail = |reason: String| SetupError::Roots {
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
