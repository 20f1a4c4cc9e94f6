//! One client's script: is the client there, run it against a fresh world, report.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::world::{SECRET, World};

/// How long a whole suite may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Upstream's answer time in the world where clients lose patience: longer than three impatient attempts with
/// their back-off (0.5 s each, 0.5 s and 1 s between), so that every attempt of the SDK times out.
const SLOW: &str = "5s";

/// A key of the world that knows its clients.
const KEY: &str = "rp-the-key-of-the-client-suites";

/// The one that may ask twelve times a minute: as soon as that is used up, once in five seconds.
const HASTY_KEY: &str = "rp-the-hasty-key-of-the-client-suites";

/// The one whose budget no generation fits in.
const POOR_KEY: &str = "rp-the-poor-key-of-the-client-suites";

/// A client and the script that drives it.
pub(crate) struct Script {
    /// The client's name, for messages.
    pub(crate) name: &'static str,
    /// File name beside this file.
    pub(crate) file: &'static str,
    /// The interpreter and the arguments before the file.
    pub(crate) command: Vec<String>,
    /// Arguments to the interpreter that succeed only where the client is installed.
    pub(crate) probe: Vec<String>,
    /// What a person does to get it.
    pub(crate) install: String,
    /// Variables for the interpreter.
    pub(crate) env: Vec<(&'static str, String)>,
    /// The variable that names the authorities to believe, to come over HTTPS; `None`: plain HTTP.
    pub(crate) roots: Option<&'static str>,
}

impl Script {
    /// Runs the script; panics with all output unless it exits 0 within [`PATIENCE`].
    pub(crate) fn run(&self) {
        if !self.is_there() {
            return self.leave_out();
        }
        let tls = self.roots.is_some();
        let world = World::start(None, tls, "");
        let slow = World::start(Some(SLOW), tls, "");
        let guarded = World::start(Some(SLOW), false, &guarded());
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/clients")
            .join(self.file);
        let mut command = self.interpreter();
        command
            .args(&self.command[1..])
            .arg(file)
            .env("OPENAI_BASE_URL", world.base_url())
            .env("OPENAI_API_KEY", "any")
            .env("PROXY_HOME", world.home())
            .env("REPRISE", env!("CARGO_BIN_EXE_reprise"))
            .env("WEBHOOK_SECRET", SECRET)
            .env("SANDBOX_BILL", world.bill_url())
            .env("SLOW_BASE_URL", slow.base_url())
            .env("SLOW_BILL", slow.bill_url())
            .env("GUARDED_BASE_URL", guarded.base_url())
            .env("GUARDED_BILL", guarded.bill_url())
            .env("GUARDED_KEY", KEY)
            .env("HASTY_KEY", HASTY_KEY)
            .env("POOR_KEY", POOR_KEY);
        if let (Some(variable), Some(roots), Some(others)) =
            (self.roots, world.roots(), slow.roots())
        {
            let both = [roots.clone(), others].map(|file| std::fs::read(file).unwrap_or_default());
            std::fs::write(&roots, both.concat()).expect("both authorities in one file");
            command.env(variable, roots);
        }
        let mut script = Process::start(self.name, &mut command);
        let end = script.wait_for_end(PATIENCE);
        let verdict = match end {
            Some(status) if status.success() => return,
            Some(status) => format!("ended with {status}"),
            None => format!("was still running after {PATIENCE:?}"),
        };
        panic!(
            "the {} suite {verdict}\n{}{}--- with a slow upstream\n{}--- guarded\n{}",
            self.name,
            script.printed(),
            world.printed(),
            slow.printed(),
            guarded.printed()
        );
    }

    fn interpreter(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        // A system-wide proxy must not stand between the client and the loopback address.
        for name in [
            "http_proxy",
            "HTTP_PROXY",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn is_there(&self) -> bool {
        let probe = self.interpreter().args(&self.probe).output();
        probe.is_ok_and(|output| output.status.success())
    }

    fn leave_out(&self) {
        let line = format!("left out: {} client suite ({})", self.name, self.install);
        let required =
            std::env::var_os("REPRISE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
        assert!(
            !required,
            "{line}: REPRISE_REQUIRE_CLIENTS=1 does not allow that"
        );
        // The test harness captures the print macros, and a suite must not vanish silently.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// The configuration of a proxy that knows its clients and gives up on upstream before it answers.
fn guarded() -> String {
    let [hash, hasty, poor] = [KEY, HASTY_KEY, POOR_KEY].map(|key| blake3::hash(key.as_bytes()));
    format!(
        "upstream.response_timeout = '1s'\ncache.chat.unknown_outcome = 'ask'\n\
         clients.suite.key_hash = 'blake3:{hash}'\nclients.hasty.key_hash = 'blake3:{hasty}'\n\
         clients.hasty.requests_per_minute = 12\nclients.poor.key_hash = 'blake3:{poor}'\n\
         clients.poor.usd_per_day = 0.000001\n"
    )
}

/// A path given from the repository's root as one that holds from any working folder; a bare name stays as it is.
pub(crate) fn interpreter(given: &str) -> String {
    let path = Path::new(given);
    if path.is_absolute() || !given.contains('/') {
        return given.to_owned();
    }
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(path)
        .display()
        .to_string()
}
