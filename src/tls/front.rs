//! The server side: it shows one identity, and looks now and then whether the files hold another.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::{Flaw, Half, Identity};
use super::provider;

/// What is served with, and the files it came from.
#[derive(Debug)]
pub struct Front {
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
    seen: Mutex<Seen>,
}

/// What a look at the files brought.
#[derive(Clone, Debug)]
pub enum Look {
    /// Nothing to speak of.
    Same,
    /// Another identity, which new connections are shown from now on.
    Renewed(Arc<Identity>),
    /// Files that cannot be served with; what was shown is shown on.
    Refused(Vec<Flaw>),
}

/// What was seen of the files, so that each state of them is judged once.
#[derive(Debug)]
struct Seen {
    cert_file: PathBuf,
    key_file: PathBuf,
    judged: [Option<Stamp>; 2],
    /// A bad state that has been seen once. Two files are not replaced in one moment: what is wrong
    /// only in between is not spoken of.
    doubted: Option<[Option<Stamp>; 2]>,
}

impl Front {
    /// Reads the two files, which [`Identity::read`] describes. HTTP/2 and HTTP/1.1 are offered by
    /// ALPN, TLS 1.3 and 1.2 spoken, and nothing is taken before the handshake has ended: a client's
    /// early data could be sent twice by anybody, and MONEY: be a second run.
    ///
    /// Reads files, so it blocks.
    ///
    /// # Errors
    /// What is wrong with either of them.
    pub fn open(cert_file: &Path, key_file: &Path) -> Result<Self, Vec<Flaw>> {
        let judged = stamps(cert_file, key_file);
        let identity = Arc::new(Identity::read(cert_file, key_file)?);
        let shown = Arc::new(Shown(RwLock::new(identity)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                vec![Flaw {
                    half: Half::Certificate,
                    reason: error.to_string(),
                }]
            })?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.max_early_data_size = 0;
        Ok(Self {
            shown,
            config: Arc::new(config),
            seen: Mutex::new(Seen {
                cert_file: cert_file.to_owned(),
                key_file: key_file.to_owned(),
                judged,
                doubted: None,
            }),
        })
    }

    /// What a TLS acceptor needs.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Who we are at this moment.
    pub fn identity(&self) -> Arc<Identity> {
        self.shown.now()
    }

    /// Looks at these two files from the next look on.
    pub fn turn_to(&self, cert_file: &Path, key_file: &Path) {
        let mut seen = self.seen();
        cert_file.clone_into(&mut seen.cert_file);
        key_file.clone_into(&mut seen.key_file);
        (seen.judged, seen.doubted) = ([None; 2], None);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files, and takes up what is new and sound in them. `asked`: somebody wants to
    /// know, so that they are read even if they look the same, and what is wrong is told at once.
    ///
    /// Reads files, so it blocks.
    pub fn look(&self, asked: bool) -> Look {
        let mut seen = self.seen();
        let stamps = stamps(&seen.cert_file, &seen.key_file);
        if stamps == seen.judged && !asked {
            return Look::Same;
        }
        match Identity::read(&seen.cert_file, &seen.key_file) {
            Ok(identity) => {
                seen.judged = stamps;
                seen.doubted = None;
                if identity.is_same(&self.shown.now()) {
                    return Look::Same;
                }
                let identity = Arc::new(identity);
                self.shown.show(identity.clone());
                Look::Renewed(identity)
            }
            Err(flaws) if asked || seen.doubted.as_ref() == Some(&stamps) => {
                seen.judged = stamps;
                Look::Refused(flaws)
            }
            Err(_) => {
                seen.doubted = Some(stamps);
                Look::Same
            }
        }
    }
}

/// What every handshake asks; a session that is taken up again asks nothing.
#[derive(Debug)]
struct Shown(RwLock<Arc<Identity>>);

impl Shown {
    fn now(&self) -> Arc<Identity> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn show(&self, identity: Arc<Identity>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now().certified().clone())
    }
}

/// What tells a file from the one that stood in its place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
    length: u64,
}

fn stamps(cert_file: &Path, key_file: &Path) -> [Option<Stamp>; 2] {
    [cert_file, key_file].map(|path| {
        let file = fs::metadata(path).ok()?;
        Some(Stamp {
            file: (file.dev(), file.ino()),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            length: file.len(),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
        let (path, aside) = (folder.path().join(name), folder.path().join("aside"));
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(aside, &path).unwrap();
        path
    }

    fn pair(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn two_files_that_are_replaced_one_after_the_other_are_no_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (pair("a.example"), pair("b.example"));
        let cert = write(&folder, "cert", &first.0);
        let key = write(&folder, "key", &first.1);
        let front = Front::open(&cert, &key).unwrap();
        assert!(matches!(front.look(false), Look::Same));

        write(&folder, "cert", &second.0);
        assert!(matches!(front.look(false), Look::Same), "seen once");
        assert!(front.identity().is_for("a.example"));
        write(&folder, "key", &second.1);
        assert!(matches!(front.look(false), Look::Renewed(_)));
        assert!(front.identity().is_for("b.example"));
        assert!(matches!(front.look(false), Look::Same));
        assert!(matches!(front.look(true), Look::Same));
    }

    #[test]
    fn what_stays_bad_is_told_once_and_whenever_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (pair("a.example"), pair("b.example"));
        let cert = write(&folder, "cert", &first.0);
        let key = write(&folder, "key", &first.1);
        let front = Front::open(&cert, &key).unwrap();
        fs::remove_file(&cert).unwrap();
        let looks = [false, false, false, true, false].map(|asked| front.look(asked));
        let told = looks.map(|look| matches!(look, Look::Refused(_)));
        assert_eq!(told, [false, true, false, true, false]);
        write(&folder, "cert", &second.0);
        let Look::Refused(flaws) = front.look(true) else {
            panic!("the key is another one's");
        };
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        assert!(flaws[0].reason.contains("does not fit"), "{flaws:?}");
        assert!(front.identity().is_for("a.example"), "it stays");
        write(&folder, "cert", &first.0);
        assert!(matches!(front.look(false), Look::Same), "mended");
    }
}
