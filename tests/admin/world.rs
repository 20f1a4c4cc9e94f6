//! A home folder, the simulated upstream, and the program run in between.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use reprise::sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::call::{PATIENCE, Reply, request, send, try_send};

/// The upstream key of every proxy.
const KEY: &str = "sk-upstream-of-the-admin-tests";

pub(crate) const IMAGES: &str = "/v1/images/generations";
pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const EMBEDDINGS: &str = "/v1/embeddings";
pub(crate) const VIDEO: &str = "/v1/video/generations";

pub(crate) struct World {
    home: TempDir,
    pub(crate) sandbox: Sandbox,
}

/// What a command that ended left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            sandbox: Sandbox::start(Options::default()).await.unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reprise"));
        command
            .args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("REPRISE_DATA_DIR", self.data())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that ends by itself.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, &[]).await
    }

    pub(crate) async fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Ended {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = crate::call::soon(ended).await.unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command with `--json` that has to end well.
    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let ended = self.run(&args).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{args:?}");
        serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("no JSON: {ended:?}"))
    }

    /// The states of the jobs that are listed.
    pub(crate) async fn states(&self, all: bool) -> Vec<String> {
        let args: &[&str] = if all { &["--all"] } else { &[] };
        let args: Vec<&str> = ["jobs", "list"].iter().chain(args).copied().collect();
        let jobs = self.json(&args).await;
        let states = jobs.as_array().unwrap().iter();
        states
            .map(|job| job["state"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A proxy before the sandbox that accepts.
    pub(crate) async fn serve(&self) -> Proxy {
        self.serve_with(&[]).await
    }

    pub(crate) async fn serve_with(&self, env: &[(&str, &str)]) -> Proxy {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0", "--upstream"]);
        command
            .arg(self.sandbox.base_url())
            .env("RELAYDANCE_API_KEY", KEY)
            .env("REPRISE_CACHE__MIN_FREE", "0")
            .env("REPRISE_JOBS__MIN_POLL_INTERVAL", "100ms")
            .env("REPRISE_JOBS__POLL_INTERVAL", "1h")
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        tokio::task::spawn_blocking(move || Proxy::start(&mut command))
            .await
            .unwrap()
    }

    /// The admin token that was made.
    pub(crate) fn token(&self) -> String {
        let text = std::fs::read_to_string(self.data().join("admin-token")).unwrap();
        text.trim().to_owned()
    }

    /// Sends `body` to `path`, has the proxy killed when it has arrived upstream, and says the key.
    pub(crate) async fn leave_unknown(&self, path: &str, body: &Value) -> String {
        let proxy = self.serve().await;
        let gate = self.sandbox.hold(&format!("POST {path}"));
        let lost = tokio::spawn(try_send(proxy.post(path, body)));
        crate::call::soon(gate.arrived(1)).await;
        proxy.kill();
        assert!(lost.await.unwrap().is_err());
        gate.release();
        let jobs = self.json(&["jobs", "list"]).await;
        let unknown = jobs.as_array().unwrap().last().unwrap().clone();
        assert_eq!(unknown["state"], "unknown", "{jobs}");
        unknown["key"].as_str().unwrap().to_owned()
    }
}

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    child: Child,
    origin: String,
    /// What it says, from the start on, until it has ended.
    said: mpsc::Receiver<String>,
}

impl Proxy {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (say, said) = mpsc::channel();
        // Read to the end whether or not anyone looks: a full pipe would stop the program.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        let mut before = Vec::new();
        let origin = loop {
            let line = said
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("it never listened: {before:?}"));
            if let Some(addr) = line.strip_prefix("listening on ") {
                break addr.to_owned();
            }
            before.push(line);
        };
        Self {
            child,
            origin,
            said,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn post(
        &self,
        path: &str,
        body: &Value,
    ) -> http::Request<http_body_util::Full<bytes::Bytes>> {
        let json = [("content-type", "application/json")];
        request("POST", &self.url(path), &json, &body.to_string())
    }

    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Reply {
        send(self.post(path, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        send(request("GET", &self.url(path), &[], "")).await
    }

    /// Calls the admin API.
    pub(crate) async fn admin(&self, method: &str, path: &str, token: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        send(request(method, &self.url(path), &headers, body)).await
    }

    /// `kill -9`, and the end of it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an operator does, and gives what it said since it listened.
    pub(crate) async fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        let ended = tokio::task::spawn_blocking(move || {
            let code = self.child.wait().unwrap().code();
            (code, self.said.iter().collect::<Vec<_>>().join("\n"))
        });
        let (code, said) = crate::call::soon(ended).await.unwrap();
        assert_eq!(code, Some(0), "{said}");
        said
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn chat(prompt: &str) -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]})
}

pub(crate) fn image(prompt: &str) -> Value {
    json!({"model": "grok-imagine-image", "prompt": prompt, "n": 1})
}

pub(crate) fn video(prompt: &str) -> Value {
    json!({"model": "doubao-seedance-2-0-720p", "prompt": prompt, "seconds": "5"})
}

/// Every file below a folder with its content. What goes while it is looked at is left out.
pub(crate) fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
            continue;
        }
        match std::fs::read(&path) {
            Ok(content) => {
                files.insert(path, content);
            }
            Err(gone) => assert_eq!(gone.kind(), ErrorKind::NotFound, "{}", path.display()),
        }
    }
    files
}
