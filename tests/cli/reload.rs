//! The file is changed under a program that runs.

use std::time::Duration;

use reprise::sandbox::{Options, Sandbox};

use crate::call::{Reply, get, send};
use crate::program::{Home, Program};

/// What the log says of what cannot be taken over.
const STAYS: &str = "the configuration that was read before stays: ";

async fn sandbox() -> Sandbox {
    Sandbox::start(Options::default()).await.unwrap()
}

fn client(name: &str) -> String {
    let hash = blake3::hash(format!("sk-{name}").as_bytes()).to_hex();
    format!("[clients.{name}]\nkey_hash = \"blake3:{hash}\"\n")
}

async fn models(program: &Program, key: &str) -> Reply {
    let mut request = get(&program.url("/v1/models"));
    let key = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", key);
    send(request).await
}

/// Replaces a file as careful programs do.
fn replace(home: &Home, name: &str, text: &str) {
    let aside = home.write("aside", text);
    std::fs::rename(aside, home.path(name)).unwrap();
}

/// How often the program has said this.
fn count(program: &Program, words: &str) -> usize {
    program.printed().matches(words).count()
}

#[tokio::test]
async fn a_change_is_taken_up_without_a_word_to_the_program() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let mut program = home.serve(&sandbox).await;
    assert_eq!(models(&program, "sk-any").await.status, 200);

    home.write("proxy.toml", &client("anna"));
    program.says("changed=\"clients.anna (new)\"").await;
    assert_eq!(models(&program, "sk-anna").await.status, 200);
    assert_eq!(models(&program, "sk-any").await.status, 401);

    replace(
        &home,
        "proxy.toml",
        &[client("anna"), client("ben")].concat(),
    );
    program.says("changed=\"clients.ben (new)\"").await;
    assert_eq!(models(&program, "sk-ben").await.status, 200);

    replace(&home, "proxy.toml", "# nobody\n");
    program.says("no client key is left").await;
    for key in ["sk-anna", "sk-ben", "sk-any"] {
        assert_eq!(models(&program, key).await.code(), "invalid_api_key");
    }
    program.signal("TERM");
    assert_eq!(program.end().await.code, Some(0));
    let program = home.serve(&sandbox).await;
    assert_eq!(
        models(&program, "sk-any").await.status,
        200,
        "a restart opens"
    );
}

#[tokio::test]
async fn an_emptied_file_takes_no_limit_away() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let text = [&client("anna"), "[limits]\nrequests_per_minute = 2\n"].concat();
    home.write("proxy.toml", &text);
    let mut program = home.serve(&sandbox).await;
    replace(&home, "proxy.toml", "# nothing\n");
    program.says("is empty; restart to run without it").await;
    assert_eq!(models(&program, "sk-any").await.status, 401);
    for status in [200, 200, 429] {
        assert_eq!(models(&program, "sk-anna").await.status, status);
    }
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_every_problem_is_told_once() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    home.write("proxy.toml", &client("anna"));
    let mut program = home.serve(&sandbox).await;
    let bad = "[cache]\nscope = \"nobody\"\nmax_sise = 1\n[upstream]\nca_file = \"none.pem\"\n";
    home.write("proxy.toml", bad);
    for words in [
        "proxy.toml:2:9: `cache.scope` must be",
        "proxy.toml:3:1: unknown key `max_sise` in [cache]; did you mean `max_size`?",
        "proxy.toml:5:11: `upstream.ca_file`: cannot read",
    ] {
        program.says(&format!("{STAYS}{words}")).await;
    }
    assert_eq!(models(&program, "sk-anna").await.status, 200);
    assert_eq!(models(&program, "sk-any").await.status, 401);
    // Two looks later there is nothing new to say of it.
    tokio::time::sleep(Duration::from_millis(4500)).await;
    assert_eq!(count(&program, STAYS), 3, "{}", program.printed());

    home.write("proxy.toml", "listen = [");
    program.says(&format!("{STAYS}proxy.toml:1:")).await;
    std::fs::remove_file(home.path("proxy.toml")).unwrap();
    program.says("is gone; restart to run without it").await;
    assert_eq!(models(&program, "sk-anna").await.status, 200);
    home.write("proxy.toml", &client("anna"));
    program
        .says("the configuration was read again; nothing has changed")
        .await;
}

#[tokio::test]
async fn a_hang_up_has_it_read_at_once_and_flags_go_before_the_file() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let mut command = home.serving(&sandbox);
    command.env("REPRISE_CACHE__VIDEO__TTL", "9d");
    let mut program = Program::start(&mut command);
    let address = program.listening().await;
    program.signal("HUP");
    program
        .says("the configuration was read again; nothing has changed")
        .await;
    home.write(
        "proxy.toml",
        "listen = \"127.0.0.1:1\"\ndata_dir = \"elsewhere\"\ncache.video.ttl = \"1d\"\n\
         [upstream]\nbase_url = \"http://127.0.0.1:1/v1\"\nresponse_timeout = \"7s\"\n\
         [log]\nlevel = \"warn\"\n",
    );
    program.signal("HUP");
    // The level is another one by then, so the line itself is not to be seen.
    let quiet = async {
        while count(&program, " INFO request") < 1_000_000 {
            let before = count(&program, "request method=");
            assert_eq!(models(&program, "sk-any").await.status, 200);
            if count(&program, "request method=") == before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    crate::call::soon(quiet).await;
    assert_eq!(program.url(""), format!("http://{address}"));
    assert!(!home.path("elsewhere").exists());

    home.write("proxy.toml", "[log]\nformat = \"json\"\n");
    program.signal("HUP");
    program
        .says("\"changed\":\"upstream.response_timeout, log.format, log.level\"")
        .await;
}

#[tokio::test]
async fn what_only_a_start_can_change_is_named() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let mut command = home.command(&["serve"]);
    command.env("RELAYDANCE_API_KEY", crate::program::KEY);
    let upstream = format!("[upstream]\nbase_url = \"{}\"\n", sandbox.base_url());
    home.write(
        "proxy.toml",
        &["listen = \"127.0.0.1:0\"\n", &upstream].concat(),
    );
    let mut program = Program::start(&mut command);
    program.listening().await;
    replace(
        &home,
        "proxy.toml",
        &["listen = \"127.0.0.1:1\"\n", &upstream].concat(),
    );
    program.says("restart_needed_for=\"listen\"").await;
    assert_eq!(count(&program, "changed="), 0, "{}", program.printed());
    assert_eq!(models(&program, "sk-any").await.status, 200);
}

#[tokio::test]
async fn a_command_takes_the_last_key_of_a_file_out_of_a_program_that_runs() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    home.write("proxy.toml", &client("anna"));
    let mut program = home.serve(&sandbox).await;
    assert_eq!(models(&program, "sk-anna").await.status, 200);
    let gone = home.run(&["keys", "remove", "anna"]).await;
    assert_eq!(gone.code, Some(0), "{gone:?}");
    program.says("no client key is left").await;
    assert_eq!(models(&program, "sk-anna").await.status, 401);
}

#[tokio::test]
async fn a_pipe_is_read_at_start_and_never_again() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let pipe = home.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut command = home.serving(&sandbox);
    let mut program = Program::start(command.arg("--config").arg(&pipe));
    let writing = tokio::task::spawn_blocking(move || std::fs::write(pipe, client("anna")));
    program.listening().await;
    writing.await.unwrap().unwrap();
    program.signal("HUP");
    program.says("is read at start only").await;
    assert_eq!(models(&program, "sk-anna").await.status, 200);
    assert_eq!(models(&program, "sk-any").await.status, 401);
    program.signal("TERM");
    assert_eq!(program.end().await.code, Some(0));
}

#[tokio::test]
async fn another_upstream_key_in_its_file_is_the_one_that_is_sent() {
    use std::os::unix::fs::PermissionsExt;

    let (home, sandbox) = (Home::new(), sandbox().await);
    let put = |text: &str| {
        let aside = home.write("aside", text);
        std::fs::set_permissions(&aside, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::rename(aside, home.path("upstream.key")).unwrap();
    };
    put("sk-upstream-first");
    home.write(
        "proxy.toml",
        "[upstream]\napi_key_file = \"upstream.key\"\n",
    );
    let mut program = home.serve(&sandbox).await;
    models(&program, "sk-any").await;
    put("sk-upstream-second");
    program.says("changed=\"the upstream key\"").await;
    models(&program, "sk-any").await;
    let requests = sandbox.requests();
    let sent: Vec<_> = requests
        .iter()
        .map(|seen| seen.header("authorization"))
        .collect();
    assert_eq!(
        sent,
        [
            Some("Bearer sk-upstream-first"),
            Some("Bearer sk-upstream-second")
        ]
    );
    assert!(
        !program.printed().contains("sk-upstream"),
        "{}",
        program.printed()
    );
}
