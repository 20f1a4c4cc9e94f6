//! A sandbox and a proxy in front of it, as two processes of the real program.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;

/// How long a program may take from its start until it accepts connections.
const PATIENCE: Duration = Duration::from_secs(10);

/// One simulated upstream and one proxy with an empty store; both end when this is dropped.
pub(crate) struct World {
    proxy: Process,
    sandbox: Process,
    proxy_addr: String,
    sandbox_addr: String,
    _home: TempDir,
}

impl World {
    /// Starts both; `answer_time` is how long upstream takes over a chat or an image (`"5s"`), `config` the
    /// text of proxy.toml.
    pub(crate) fn start(answer_time: Option<&str>, config: &str) -> World {
        let home = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(home.path().join("proxy.toml"), config).expect("proxy.toml is written");
        let mut sandbox_args = vec!["sandbox", "--listen", "127.0.0.1:0", "--job-time", "1s"];
        if let Some(time) = answer_time {
            sandbox_args.extend(["--answer-time", time]);
        }
        let (sandbox, sandbox_addr) = reprise("reprise sandbox", &sandbox_args, &home);

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
        let (proxy, proxy_addr) = reprise("reprise serve", &serve_args, &home);
        World {
            proxy,
            sandbox,
            proxy_addr,
            sandbox_addr,
            _home: home,
        }
    }

    /// What a client calls its base URL.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.proxy_addr)
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

/// Starts the program and waits for its `listening on http://ADDR`; gives the process and ADDR.
fn reprise(name: &str, args: &[&str], home: &TempDir) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprise"));
    // An environment of its own: a REPRISE_ variable or a proxy of whoever runs the tests must not reach it.
    command
        .args(args)
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("RELAYDANCE_API_KEY", "sk-upstream-of-the-client-suites");
    let process = Process::start(name, &mut command);
    let rest = process.wait_for("listening on http://", PATIENCE);
    let addr = rest
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || ".:[]".contains(*c))
        .collect();
    (process, addr)
}
