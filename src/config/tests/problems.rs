//! What is said about a file that is wrong.

use std::path::Path;
use std::time::Duration;

use super::super::reader::Reader;
use super::super::settings::Settings;
use super::super::{file, resolve};
use super::{Scene, hash};

/// What a file says, and the one problem with it.
#[rustfmt::skip] // one problem, one line
const ONE_PROBLEM: &[(&str, &str)] = &[
    // Keys that do not exist.
    ("[cache.video]\nttll = '3d'", "proxy.toml:2:1: unknown key `ttll` in [cache.video]; did you mean `ttl`?"),
    ("lisen = ''", "proxy.toml:1:1: unknown key `lisen` at the top; did you mean `listen`?"),
    ("[cach]", "proxy.toml:1:2: unknown section [cach]; did you mean [cache]?"),
    ("[cache.vidoe]\nmode = 'on'", "proxy.toml:1:8: unknown section [cache.vidoe]; did you mean [cache.video]?"),
    ("poll_interval = '3s'", "proxy.toml:1:1: unknown key `poll_interval` at the top; did you mean `jobs.poll_interval`?"),
    ("[upstream]\n  api_key = 'sk-secret'", "proxy.toml:2:3: unknown key `api_key` in [upstream]; did you mean `api_key_env`?"),
    ("[log]\nverbosity = 3", "proxy.toml:2:1: unknown key `verbosity` in [log]; known here: format, level"),
    ("[prices.\"grok-4.3\"]\nper_imag = 1", "proxy.toml:2:1: unknown key `per_imag` in [prices.\"grok-4.3\"]; did you mean `per_image`?"),
    ("[limits]\n'*' = 1", "unknown key `*` in [limits]"),
    ("\"li\\u001bsten\" = 1", "unknown key `li\\u{1b}sten` at the top; did you mean `listen`?"),
    // Keys and sections taken for each other.
    ("cache = 'on'", "proxy.toml:1:1: `cache` is a section: write [cache]"),
    ("[[upstream]]", "proxy.toml:1:3: `upstream` is a section: write [upstream]"),
    ("[clients]\nalice = 3", "proxy.toml:2:1: `clients.alice` is a section: write [clients.alice]"),
    ("[listen]", "proxy.toml:1:1: `listen` must be text in quotes, not a section"),
    // Types.
    ("listen = 8787", "proxy.toml:1:10: `listen` must be text in quotes, not a whole number"),
    ("listen = 2026-01-01", "proxy.toml:1:10: `listen` must be text in quotes, not a date or time"),
    ("shutdown_grace = 30", "proxy.toml:1:18: `shutdown_grace` must be a duration such as \"30s\""),
    ("allowed_hosts = 'a'", "proxy.toml:1:17: `allowed_hosts` must be a list such as [\"a\", \"b\"], not text"),
    ("allowed_hosts = ['a', 1]", "proxy.toml:1:23: `allowed_hosts` must be text in quotes, not a whole number"),
    ("[media]\narchive = 'yes'", "proxy.toml:2:11: `media.archive` must be true or false, not text"),
    ("[callbacks]\nattempts = '8'", "proxy.toml:2:12: `callbacks.attempts` must be a whole number from 1 to 100"),
    ("[callbacks]\nattempts = 0x65", "proxy.toml:2:12: `callbacks.attempts` must be a whole number from 1 to 100"),
    // Durations.
    ("shutdown_grace = '99ms'", "must be at least \"100ms\""),
    ("shutdown_grace = '0d'", "must be at least \"100ms\""),
    ("shutdown_grace = '36526d'", "must be at most a hundred years"),
    ("shutdown_grace = '99999999999999999999999d'", "must be at most a hundred years"),
    ("shutdown_grace = '1.5s'", "must be a duration"),
    ("shutdown_grace = '30 s'", "must be a duration"),
    ("shutdown_grace = '-30s'", "must be a duration"),
    ("shutdown_grace = '30'", "must be a duration"),
    ("shutdown_grace = 's'", "must be a duration"),
    ("shutdown_grace = ''", "must be a duration"),
    ("shutdown_grace = 'forever'", "must be a duration"),
    ("[cache.audio]\nttl = 'never'", "must be \"forever\" or a duration"),
    // Sizes.
    ("[cache]\nmax_request_body = '64mib'", "must be a size such as \"64MiB\""),
    ("[cache]\nmax_request_body = 0", "must be 1 or more bytes"),
    ("[cache]\nmax_request_body = '4097MiB'", "must be 4294967296 or fewer bytes (\"4GiB\")"),
    ("[cache]\nmax_request_body = -1", "must be a size"),
    ("[cache]\nmax_request_body = 'MiB'", "must be a size"),
    ("[cache]\nmax_request_body = 1.5", "must be a size"),
    ("[cache]\nmax_request_body = '99999999TiB'", "must be fewer bytes than 2^64"),
    ("[server]\nmax_header_bytes = '4KiB'", "must be 8192 or more bytes"),
    ("[server]\nmax_header_bytes = '17MiB'", "must be 16777216 or fewer bytes"),
    // Words.
    ("[cache]\nscope = 'all'", "proxy.toml:2:9: `cache.scope` must be \"shared\" or \"client\""),
    ("[cache.chat]\nmode = ''", "must be \"on\", \"off\" or \"deterministic\""),
    ("[cache.video]\nmode = 'deterministic'", "proxy.toml:2:8: `cache.video.mode` must be \"on\" or \"off\""),
    ("[log]\nlevel = 'inof'", "must be off, error, warn, info, debug or trace"),
    ("[log]\nlevel = 'info,reprise=loud'", "must be off, error, warn, info, debug or trace"),
    // Addresses.
    ("listen = ':8787'", "write \"127.0.0.1:8787\""),
    ("listen = 'example.com:80'", "not a host name"),
    ("[upstream]\nbase_url = 'relaydance.com'", "with http:// or https:// before it"),
    ("[upstream]\nbase_url = 'https://me:pw@relaydance.com'", "no user name and no password"),
    ("allowed_origins = ['*']", "proxy.toml:1:20: `allowed_origins` must be an origin"),
    ("[media]\nallow = ['10.1.0.0/8']", "the network's first address: 10.0.0.0/8"),
    // Paths.
    ("data_dir = '~/reprise'", "`~` stands for nothing here"),
    ("data_dir = ''", "must be a path, not empty"),
    // SECURITY: a secret in the wrong line.
    ("[upstream]\napi_key_env = 'sk-secret'", "not the secret itself"),
    ("[upstream]\napi_key_file = 'a'\napi_key_env = 'B'", "proxy.toml:2:16: api_key_env names another"),
    // Clients.
    ("[clients.alice]", "proxy.toml:1:10: a client needs its key_hash"),
    ("[clients.alice]\nkey_hash = 'sk-secret'", "must be \"blake3:\" and 64 hex digits"),
    ("[clients.alice]\nkey_hash = 'blake3:00'", "must be \"blake3:\" and 64 hex digits"),
    // Prices.
    ("[prices.a]", "proxy.toml:1:9: a price needs a model and one of per_million_tokens"),
    ("[prices.a]\nper_image = -1", "must be a number of US dollars"),
    ("[prices.a]\nper_image = nan", "must be a number of US dollars"),
    ("[prices.a]\nper_image = inf", "must be a number of US dollars"),
    ("[prices.a]\nper_image = '1'", "must be a number of US dollars"),
    // TOML itself.
    ("listen = ", "proxy.toml:1:10: "),
    ("listen = '1.1.1.1:1'\nlisten = '1.1.1.1:1'", "proxy.toml:2:1: duplicate key"),
    ("[cache]\n\n[cache]", "proxy.toml:3:2: duplicate key"),
    ("shutdown_grace = 30s", "proxy.toml:1:"),
];

#[test]
fn each_problem_names_its_line_and_rule() {
    let mut wrong = Vec::new();
    for (toml, expected) in ONE_PROBLEM {
        let problems = Scene::with(toml).problems();
        let told = problems.starts_with("proxy.toml:") && problems.contains(expected);
        let quiet = !problems.contains("secret'") && !problems.contains("sk-");
        if !told || !quiet || problems.lines().count() != 1 {
            wrong.push(format!("{toml}\n→ {problems}\n≠ {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn client_names_are_plain() {
    for (name, sound) in [
        ("alice", true),
        ("A.b_c-9", true),
        (&"a".repeat(64), true),
        (&"a".repeat(65), false),
        ("local", false),
        ("al ice", false),
        ("älice", false),
        ("", false),
    ] {
        let place = Scene::with(&format!("[clients.\"{name}\"]\nkey_hash = '{}'", hash("k")));
        assert_eq!(
            place.problems().is_empty(),
            sound,
            "{name}: {}",
            place.problems()
        );
    }
}

#[test]
fn one_key_is_one_client() {
    let toml = format!(
        "[clients.a]\nkey_hash = '{0}'\n[clients.b]\nkey_hash = '{0}'",
        hash("k")
    );
    let problems = Scene::with(&toml).problems();
    assert!(
        problems.starts_with("proxy.toml:3:10: has the same key_hash as client a"),
        "{problems}"
    );
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let mut place = Scene::with(
        "listen = ':1'\nallowed_hosts = ['*', 'ok', '/']\n[cache.video]\nttll = '3d'\nmode = 1\n\
         [nothing]\nx = 1\n[upstream]\nbase_url = '/'\n",
    )
    .var("REPRISE_LOG__LEVEL", "loud")
    .var("REPRISE_LISTENN", "x");
    place.sources.log_format = Some("xml".to_owned());
    let problems = place.problems();
    let places: Vec<&str> = problems
        .lines()
        .map(|line| line.split_once(": ").expect("a place").0)
        .collect();
    let expected = [
        "proxy.toml:1:10",
        "proxy.toml:2:18",
        "proxy.toml:2:29",
        "proxy.toml:4:1",
        "proxy.toml:5:8",
        "proxy.toml:6:2",
        "proxy.toml:9:12",
        "REPRISE_LISTENN",
        "REPRISE_LOG__LEVEL",
        "--log-format",
    ];
    assert_eq!(places, expected, "{problems}");
}

#[test]
fn a_file_that_is_no_toml_is_told_line_by_line() {
    let problems =
        Scene::with("listen = \n[cache\nscope = 'x'\n\n[log]\nlevell = 'info'").problems();
    let lines: Vec<&str> = problems.lines().collect();
    assert!(
        lines.iter().any(|line| line.starts_with("proxy.toml:1:")),
        "{problems}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("proxy.toml:2:")),
        "{problems}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("did you mean `level`?")),
        "{problems}"
    );
}

#[test]
fn what_could_not_be_read_is_told_in_its_place() {
    let problems = Scene::with("[d\n[cache.video]\nttl==").problems();
    let places: Vec<&str> = problems
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(places, ["proxy.toml:1:3:", "proxy.toml:3:5:"], "{problems}");
}

#[test]
fn columns_are_counted_in_characters() {
    let problems = Scene::with("allowed_hosts = ['ä', '*']\r\nlog.level = 'x'").problems();
    let lines: Vec<&str> = problems.lines().collect();
    assert!(lines[0].starts_with("proxy.toml:1:18: "), "{problems}");
    assert!(lines[1].starts_with("proxy.toml:1:23: "), "{problems}");
    assert!(lines[2].starts_with("proxy.toml:2:13: "), "{problems}");
}

#[test]
fn odd_files_are_refused_or_read() {
    let marked = Scene::with("\u{feff}shutdown_grace = '1s'");
    assert_eq!(marked.config().shutdown_grace, Duration::from_secs(1));
    let empty = Scene::with("");
    assert_eq!(empty.loaded().file, Some(empty.path("proxy.toml")));

    let bytes = Scene::empty().file("proxy.toml", b"# a\n# \xff\n");
    assert_eq!(bytes.problems(), "proxy.toml:2:3: is not UTF-8");
    let large = Scene::with(&"# much\n".repeat(200_000));
    assert!(
        large.problems().contains("larger than 1 MiB"),
        "{}",
        large.problems()
    );
    let folder = Scene::empty().file("proxy.toml/x", "");
    assert!(
        folder
            .problems()
            .starts_with("proxy.toml: cannot be read: "),
        "{}",
        folder.problems()
    );
    let deep = Scene::with(&format!("listen = {}", "[".repeat(100_000)));
    assert!(
        deep.problems().starts_with("proxy.toml:1:"),
        "{}",
        deep.problems()
    );
}

#[test]
fn half_a_certificate_is_none() {
    let problems = Scene::with("[tls]\ncert_file = 'a'").problems();
    assert!(
        problems.contains("proxy.toml:2:13: HTTPS needs both files: set tls.key_file"),
        "{problems}"
    );
}

proptest::proptest! {
    #[test]
    fn whatever_is_written_ends_in_a_configuration_or_in_problems(
        lines in proptest::collection::vec("[a-z_*.\\[\\]\"'={}#, 0-9ä\r\n-]{0,12}|\\[cache\\]|\\[clients\\.a\\]|ttl = '1h'|listen = ", 0..12),
    ) {
        let text = lines.join("\n");
        let mut settings = Settings::default();
        file::read(&text, "proxy.toml", &mut settings);
        let mut reader = Reader::of(&settings, Path::new("/"), Path::new("/"));
        let config = resolve::resolve(&mut reader, Some("/data".into()));
        let wrong = settings.problems.len() + reader.problems.len();
        proptest::prop_assert!(wrong > 0 || config.data_dir.is_absolute());
        for problem in settings.problems.iter().chain(&reader.problems) {
            let line = problem.to_string();
            proptest::prop_assert!(line.starts_with("proxy.toml:"), "{}", line);
            proptest::prop_assert!(!line.contains('\n'), "{}", line);
        }
    }
}
