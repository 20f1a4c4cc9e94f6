//! What all rows share: a folder on the disk, the upstreams, an authority for TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::options::Options;
use crate::process::Process;

/// Lives as long as the run.
pub(crate) struct World {
    pub(crate) options: Options,
    /// The API, plain.
    pub(crate) upstream: Process,
    /// The API with TLS.
    pub(crate) secure: Process,
    /// The authority that the one with TLS is to be trusted by.
    pub(crate) authority: PathBuf,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new(options: Options) -> Self {
        allow_connections();
        // Beside what was built, so on a disk like any other; /tmp may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [authority, certificate, key] = shown(folder.path());
        let upstream = part(folder.path(), |command| command.arg("upstream")).await;
        let secure = part(folder.path(), |command| {
            command.arg("upstream").arg(certificate).arg(key)
        })
        .await;
        Self {
            options,
            upstream,
            secure,
            authority,
            folder,
        }
    }

    /// A folder that nobody has used yet.
    pub(crate) fn folder(&self) -> PathBuf {
        let name = uuid::Uuid::now_v7().simple().to_string();
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    /// Starts one of the small programs.
    pub(crate) async fn part(&self, say: impl FnOnce(&mut Command) -> &mut Command) -> Process {
        part(self.folder.path(), say).await
    }
}

async fn part(folder: &Path, say: impl FnOnce(&mut Command) -> &mut Command) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    say(command.arg("part"));
    Process::start(&mut command, folder).await
}

/// The files of an authority, and of a certificate that it has signed.
fn shown(folder: &Path) -> [PathBuf; 3] {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "the authority of a benchmark");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1", "localhost"].map(str::to_owned)).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let files = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
    let texts = [issuer.pem(), certificate.pem(), key.serialize_pem()];
    for (file, text) in files.iter().zip(texts) {
        std::fs::write(file, text).unwrap();
    }
    files
}

/// As many connections as wanted, or as many as a proxy has descriptors for: three for each.
pub(crate) fn connections(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit};
    let most = getrlimit(Resource::Nofile).current;
    let most = most.and_then(|most| usize::try_from(most).ok());
    most.map_or(wanted, |most| wanted.min((most / 3).saturating_sub(200)))
}

/// Takes as many descriptors as the system gives; children have them too.
fn allow_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = Some(65_536);
    let most = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: wanted,
        maximum: most.max(wanted),
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: most,
                maximum: most,
            },
        );
    }
}
