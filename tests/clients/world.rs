//! A sandbox and a proxy in front of it, as two processes of the real program.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

use crate::process::Process;

/// How long a program may take from its start until it accepts connections.
const PATIENCE: Duration = Duration::from_mins(1);

/// What callbacks are signed with.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Scripts are called back on loopback addresses, signed.
const CONFIG: &str = "[callbacks]\ndeliver = \"all\"\nallow = [\"127.0.0.0/8\"]\n\
    secret_env = \"REPRISE_CALLBACK_SECRET\"\n";

/// One simulated upstream and one proxy with an empty store; both end when this is dropped.
pub(crate) struct World {
    proxy: Process,
    sandbox: Process,
    proxy_addr: String,
    sandbox_addr: String,
    home: TempDir,
    tls: bool,
}

impl World {
    /// Starts both; `answer_time` is how long upstream takes over a chat or an image (`"5s"`), and with
    /// `tls` clients reach the proxy by HTTPS. `more` stands at the top of its proxy.toml.
    pub(crate) fn start(answer_time: Option<&str>, tls: bool, more: &str) -> World {
        let home = tempfile::tempdir().expect("a temporary folder");
        let config = home.path().join("proxy.toml");
        std::fs::write(config, format!("{more}{CONFIG}")).expect("a configuration file");
        if tls {
            certify(home.path());
        }
        let mut sandbox_args = vec!["sandbox", "--listen", "127.0.0.1:0", "--job-time", "1s"];
        if let Some(time) = answer_time {
            sandbox_args.extend(["--answer-time", time]);
        }
        let (sandbox, sandbox_addr) = reprise("reprise sandbox", &sandbox_args, &home, false);

        let upstream = format!("http://{sandbox_addr}/v1");
        let data = home.path().join("data").display().to_string();
        let serve_args = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            &upstream,
            "--data-dir",
            &data,
        ];
        let (proxy, proxy_addr) = reprise("reprise serve", &serve_args, &home, tls);
        World {
            proxy,
            sandbox,
            proxy_addr,
            sandbox_addr,
            home,
            tls,
        }
    }

    /// The certificate of the authority that a client has to believe.
    pub(crate) fn roots(&self) -> Option<PathBuf> {
        self.tls.then(|| self.home.path().join(ROOTS))
    }

    /// The folder with the proxy's `proxy.toml`.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// What a client calls its base URL.
    pub(crate) fn base_url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}/v1", self.proxy_addr)
    }

    /// Where the sandbox says what was paid for.
    pub(crate) fn bill_url(&self) -> String {
        format!("http://{}/sandbox/bill", self.sandbox_addr)
    }

    /// Both programs' output, for a failure's report.
    pub(crate) fn printed(&self) -> String {
        let (proxy, sandbox) = (self.proxy.printed(), self.sandbox.printed());
        format!("--- reprise serve\n{proxy}--- reprise sandbox\n{sandbox}")
    }
}

const ROOTS: &str = "roots.pem";

/// Leaves an authority's certificate, and one for this machine with its key, in `folder`.
fn certify(folder: &Path) {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "the client suites");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");

    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).expect("names");
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    for (name, text, mode) in [
        (ROOTS, authority.pem(), 0o644),
        ("cert.pem", certificate.pem(), 0o644),
        ("key.pem", key.serialize_pem(), 0o600),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    }
}

/// Starts the program and waits for its `listening on http://ADDR`; gives the process and ADDR.
fn reprise(name: &str, args: &[&str], home: &TempDir, tls: bool) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprise"));
    // An environment of its own: a REPRISE_ variable or a proxy of whoever runs the tests must not reach it.
    command
        .args(args)
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("REPRISE_CALLBACK_SECRET", SECRET)
        .env("RELAYDANCE_API_KEY", "sk-upstream-of-the-client-suites");
    let mut words = "listening on http://";
    if tls {
        words = "listening on https://";
        command
            .env("REPRISE_TLS__CERT_FILE", "cert.pem")
            .env("REPRISE_TLS__KEY_FILE", "key.pem");
    }
    let process = Process::start(name, &mut command);
    let rest = process.wait_for(words, PATIENCE);
    let addr = rest
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || ".:[]".contains(*c))
        .collect();
    (process, addr)
}
