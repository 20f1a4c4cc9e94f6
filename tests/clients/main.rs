//! The real clients against the real program: the official `openai` packages for Python and Node, `LangChain`,
//! `LiteLLM`, the AI SDK, two clients that speak `WebSocket`, curl, and the `standardwebhooks` packages, which verify
//! the callbacks, and the official parsers of Prometheus' text.
//!
//! Each test starts `reprise sandbox` and `reprise serve` as processes of their own, points one client's script
//! at the proxy and fails with everything that was printed. The scripts assert against the sandbox's bill: what
//! was asked for three times was paid for once.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `REPRISE_PYTHON` | the interpreter that has the Python packages; default `python3` |
//! | `REPRISE_NODE_PATH` | a folder holding `node_modules` with the Node packages; default Node's own resolution |
//! | `REPRISE_REQUIRE_CLIENTS=1` | a missing client is a failure; without it the suite is left out, visibly |

mod process;
mod script;
mod world;

use script::{Script, interpreter};

#[test]
fn official_python_sdk_pays_once() {
    openai_python(None);
}

#[test]
fn official_python_sdk_pays_once_over_https() {
    openai_python(Some("SSL_CERT_FILE"));
}

#[test]
fn official_python_sdk_comes_with_keys_that_are_made_and_removed() {
    python("python with keys", "team.py", "openai", "openai").run();
}

#[test]
fn official_prometheus_parsers_read_the_figures() {
    let package = "prometheus-client";
    python("Prometheus", "figures.py", "prometheus_client", package).run();
}

#[test]
fn official_node_sdk_pays_once() {
    openai_node(None);
}

#[test]
fn official_node_sdk_pays_once_over_https() {
    openai_node(Some("NODE_EXTRA_CA_CERTS"));
}

#[test]
fn curl_pays_once() {
    curl(None);
}

#[test]
fn curl_pays_once_over_https() {
    curl(Some("CURL_CA_BUNDLE"));
}

#[test]
fn langchain_pays_once() {
    python(
        "LangChain",
        "chain.py",
        "langchain_openai",
        "langchain-openai",
    )
    .run();
}

#[test]
fn litellm_pays_once() {
    python("LiteLLM", "lite.py", "litellm", "litellm").run();
}

#[test]
fn ai_sdk_pays_once() {
    let probe = "require('ai'), require('@ai-sdk/openai-compatible')";
    node("AI SDK", "aisdk.cjs", probe, "ai @ai-sdk/openai-compatible").run();
}

#[test]
fn python_web_sockets_pass() {
    python("websockets", "sockets.py", "websockets", "websockets").run();
}

#[test]
fn node_web_sockets_pass() {
    node("ws", "sockets.cjs", "require('ws')", "ws").run();
}

#[test]
fn python_webhook_library_verifies_callbacks() {
    let package = "standardwebhooks";
    python("python webhook", "webhook.py", package, package).run();
}

#[test]
fn node_webhook_library_verifies_callbacks() {
    let probe = "require('standardwebhooks')";
    node("node webhook", "webhook.cjs", probe, "standardwebhooks").run();
}

fn openai_python(roots: Option<&'static str>) {
    let script = python("python", "suite.py", "openai", "openai");
    Script { roots, ..script }.run();
}

fn openai_node(roots: Option<&'static str>) {
    let script = node("node", "suite.cjs", "require('openai')", "openai");
    Script { roots, ..script }.run();
}

fn curl(roots: Option<&'static str>) {
    Script {
        name: "curl",
        file: "suite.sh",
        command: vec!["bash".to_owned()],
        probe: ["-c", "curl --version | grep -q HTTP2"]
            .map(str::to_owned)
            .to_vec(),
        install: "a curl that speaks HTTP/2".to_owned(),
        env: Vec::new(),
        roots,
    }
    .run();
}

/// A script for the Python that `REPRISE_PYTHON` names, if it has `module`.
fn python(name: &'static str, file: &'static str, module: &str, package: &str) -> Script {
    let python = std::env::var("REPRISE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    // Found, not loaded: some of these take seconds to load.
    let probe = format!("import importlib.util as u; exit(u.find_spec('{module}') is None)");
    Script {
        name,
        file,
        command: vec![interpreter(&python), "-B".to_owned()],
        probe: vec!["-c".to_owned(), probe],
        install: format!("pip install {package}"),
        env: Vec::new(),
        roots: None,
    }
}

/// A script for Node with the packages below `REPRISE_NODE_PATH`, if `probe` finds them there.
fn node(name: &'static str, file: &'static str, probe: &str, packages: &str) -> Script {
    let env = match std::env::var("REPRISE_NODE_PATH") {
        Ok(folder) => vec![(
            "NODE_PATH",
            format!("{}/node_modules", interpreter(&folder)),
        )],
        Err(_) => Vec::new(),
    };
    Script {
        name,
        file,
        command: vec!["node".to_owned()],
        probe: vec!["-e".to_owned(), probe.to_owned()],
        install: format!("npm install {packages}"),
        env,
        roots: None,
    }
}
