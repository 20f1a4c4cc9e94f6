//! Who we are: a certificate and its private key, read from two files and checked together.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{CertificateError, Error, InconsistentKeys};

use super::reason::{day_of, plain};
use super::{dates, provider};
use crate::secret_file;

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The one with the certificate and its chain.
    Certificate,
    /// The one with the private key.
    Key,
}

/// What is wrong with one of the files, as words that name it and show nothing of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Which one.
    pub half: Half,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// A certificate, its chain, and the key that proves them ours.
#[derive(Debug)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    valid: Option<(Timestamp, Timestamp)>,
}

impl Identity {
    /// Reads both files (PEM: the server's own certificate first, then its chain; the key as
    /// PKCS#8, PKCS#1 or SEC1, not encrypted) and checks that they belong together.
    ///
    /// Reads files, so it blocks.
    ///
    /// # Errors
    /// What is wrong with either; both are looked at.
    pub fn read(cert_file: &Path, key_file: &Path) -> Result<Self, Vec<Flaw>> {
        let flaw = |half| move |reason| Flaw { half, reason };
        let chain = chain(cert_file).map_err(flaw(Half::Certificate));
        let key = key(key_file).map_err(flaw(Half::Key));
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
        };
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // A key that does not tell its public half is believed; a handshake would fail.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => {
                let reason = format!(
                    "the key in {} does not fit the first certificate in {}, which must be the \
                     server's own",
                    key_file.display(),
                    cert_file.display()
                );
                return Err(vec![flaw(Half::Key)(reason)]);
            }
        }
        Ok(Self::of(certified))
    }

    fn of(certified: CertifiedKey) -> Self {
        let own = certified.cert.first();
        Self {
            names: own.map(names).unwrap_or_default(),
            valid: own.and_then(|own| dates::of(own)),
            certified: Arc::new(certified),
        }
    }

    /// The hash of the certificate (DER), by which [`pinned`](super::pinned) knows us.
    pub fn fingerprint(&self) -> blake3::Hash {
        let own = self.certified.cert.first();
        blake3::hash(own.map(AsRef::as_ref).unwrap_or_default())
    }

    /// The names and addresses that it is for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether clients that ask for this host (a name or an address, without a port) take it.
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (Ok(name), Some(own)) = (ServerName::try_from(host), self.certified.cert.first())
        else {
            return false;
        };
        ParsedCertificate::try_from(own).is_ok_and(|own| verify_server_name(&own, &name).is_ok())
    }

    /// Why clients refuse it at the time `now`, if its dates are a reason.
    pub fn untimely(&self, now: Timestamp) -> Option<String> {
        let (from, until) = self.valid?;
        if now > until {
            return Some(format!("it expired on {}", day_of(until)));
        }
        (now < from).then(|| format!("it is valid only from {} on", day_of(from)))
    }

    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, error))?;
    let Some(own) = certificates.first() else {
        return Err(format!(
            "{shown} holds no certificate (PEM, -----BEGIN CERTIFICATE-----)"
        ));
    };
    ParsedCertificate::try_from(own)
        .map_err(|_| format!("{shown} begins with something that is no X.509 v3 certificate"))?;
    Ok(certificates)
}

fn key(path: &Path) -> Result<Arc<dyn SigningKey>, String> {
    let shown = path.display();
    let text = secret_file::read(path)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound if text.contains("BEGIN ENCRYPTED PRIVATE KEY") => {
            format!("the key in {shown} is encrypted: take its password off (openssl pkey)")
        }
        pem::Error::NoItemsFound => {
            format!("{shown} holds no private key (PEM, -----BEGIN PRIVATE KEY-----)")
        }
        // SECURITY: what else is wrong with it may be quoted from it.
        _ => format!("{shown} is no whole PEM file"),
    })?;
    let key = provider().key_provider.load_private_key(key);
    key.map_err(|_| {
        format!(
            "the key in {shown} is of no kind that is served with (ECDSA, Ed25519, RSA from 2048)"
        )
    })
}

fn unreadable(path: &Path, error: pem::Error) -> String {
    let shown = path.display();
    match error {
        pem::Error::Io(error) => format!("cannot read {shown}: {error}"),
        other => format!("{shown} is no whole PEM file: {other}"),
    }
}

/// What a certificate is for: rustls tells it when it is asked for a name that nobody has.
fn names(own: &CertificateDer<'static>) -> Vec<String> {
    let asked = ServerName::try_from("nobody.invalid");
    match (asked, ParsedCertificate::try_from(own)) {
        (Ok(asked), Ok(own)) => match verify_server_name(&own, &asked) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            })) => presented.iter().map(|name| plain(name)).collect(),
            Ok(()) | Err(_) => Vec::new(),
        },
        (Ok(_) | Err(_), _) => Vec::new(),
    }
}
