//! The real clients against the real program: the official `openai` packages for Python and Node, curl, and
//! the `standardwebhooks` packages, which verify the callbacks.
//!
//! Each test starts `reprise sandbox` and `reprise serve` as processes of their own, points one client's script
//! at the proxy and fails with everything that was printed. The scripts assert against the sandbox's bill: what
//! was asked for three times was paid for once.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `REPRISE_PYTHON` | the interpreter that has the packages; default `python3` |
//! | `REPRISE_NODE_PATH` | a folder holding `node_modules` with them; default Node's own resolution |
//! | `REPRISE_REQUIRE_CLIENTS=1` | a missing client is a failure; without it the suite is left out, visibly |

mod process;
mod script;
mod world;

use script::{Script, interpreter};

#[test]
fn official_python_sdk_pays_once() {
    python(None);
}

#[test]
fn official_python_sdk_pays_once_over_https() {
    python(Some("SSL_CERT_FILE"));
}

#[test]
fn official_node_sdk_pays_once() {
    node(None);
}

#[test]
fn official_node_sdk_pays_once_over_https() {
    node(Some("NODE_EXTRA_CA_CERTS"));
}

#[test]
fn curl_pays_once() {
    curl(None);
}

#[test]
fn curl_pays_once_over_https() {
    curl(Some("CURL_CA_BUNDLE"));
}

fn python(roots: Option<&'static str>) {
    let python = std::env::var("REPRISE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    Script {
        name: "python",
        file: "suite.py",
        command: vec![interpreter(&python), "-B".to_owned()],
        probe: vec!["-c", "import openai"],
        install: "pip install openai",
        env: Vec::new(),
        roots,
    }
    .run();
}

fn node(roots: Option<&'static str>) {
    let env = match std::env::var("REPRISE_NODE_PATH") {
        Ok(folder) => vec![(
            "NODE_PATH",
            format!("{}/node_modules", interpreter(&folder)),
        )],
        Err(_) => Vec::new(),
    };
    Script {
        name: "node",
        file: "suite.cjs",
        command: vec!["node".to_owned()],
        probe: vec!["-e", "require('openai')"],
        install: "npm install openai",
        env,
        roots,
    }
    .run();
}

fn curl(roots: Option<&'static str>) {
    Script {
        name: "curl",
        file: "suite.sh",
        command: vec!["bash".to_owned()],
        probe: vec!["-c", "curl --version | grep -q HTTP2"],
        install: "a curl that speaks HTTP/2",
        env: Vec::new(),
        roots,
    }
    .run();
}

#[test]
fn python_webhook_library_verifies_callbacks() {
    let python = std::env::var("REPRISE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    Script {
        name: "python webhook",
        file: "webhook.py",
        command: vec![interpreter(&python), "-B".to_owned()],
        probe: vec!["-c", "import standardwebhooks"],
        install: "pip install standardwebhooks",
        env: Vec::new(),
        roots: None,
    }
    .run();
}

#[test]
fn node_webhook_library_verifies_callbacks() {
    let env = match std::env::var("REPRISE_NODE_PATH") {
        Ok(folder) => vec![(
            "NODE_PATH",
            format!("{}/node_modules", interpreter(&folder)),
        )],
        Err(_) => Vec::new(),
    };
    Script {
        name: "node webhook",
        file: "webhook.cjs",
        command: vec!["node".to_owned()],
        probe: vec!["-e", "require('standardwebhooks')"],
        install: "npm install standardwebhooks",
        env,
        roots: None,
    }
    .run();
}
