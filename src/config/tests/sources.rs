//! Flags, environment, file: which one counts, and where paths start.

use std::path::Path;
use std::time::Duration;

use super::super::{LogFormat, Ttl};
use super::{Scene, hash};

#[test]
fn the_environment_sets_every_kind_of_value() {
    let place = Scene::empty()
        .var("REPRISE_CACHE__VIDEO__TTL", "12h")
        .var("REPRISE_CACHE__MAX_REQUEST_BODY", "1000")
        .var("REPRISE_ALLOWED_HOSTS", "a.lan, b.lan:80,")
        .var("REPRISE_ALLOWED_ORIGINS", "[\"http://a\", 'http://b']")
        .var("REPRISE_MEDIA__ARCHIVE", "true")
        .var("REPRISE_CALLBACKS__ATTEMPTS", "8")
        .var("REPRISE_LIMITS__USD_PER_DAY", "0")
        .var("REPRISE_CLIENTS__ALICE__KEY_HASH", &hash("k"))
        .var("REPRISE_LOG__FORMAT", "json")
        .var("REPRISE_SHUTDOWN_GRACE", "")
        .var("REPRISE_ADMIN_TOKEN", "secret")
        .var("REPRISE_CALLBACK_SECRET", "secret")
        .var("REPRISE_PORT_8787_TCP", "tcp://10.0.0.1:8787")
        .var("REPRISE_SERVICE_HOST", "10.0.0.1")
        .var("OTHER_VARIABLE", "x");
    let config = place.config();
    assert_eq!(config.cache.video.ttl, Ttl::For(Duration::from_hours(12)));
    assert_eq!(config.cache.max_request_body, 1000);
    assert_eq!(config.allowed_hosts, ["a.lan", "b.lan:80"]);
    assert_eq!(config.allowed_origins, ["http://a", "http://b"]);
    assert_eq!(config.clients.keys().collect::<Vec<_>>(), ["alice"]);
    assert_eq!(config.clients["alice"].key_hash, blake3::hash(b"k"));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(
        config.shutdown_grace,
        Duration::from_secs(30),
        "empty is not set"
    );
}

#[test]
fn problems_of_the_environment_name_the_variable() {
    let table = [
        (
            "REPRISE_CACHE__VIDEO__TTL",
            "soon",
            "must be \"forever\" or a duration",
        ),
        ("REPRISE_MEDIA__ARCHIVE", "1", "must be true or false"),
        (
            "REPRISE_CALLBACKS__ATTEMPTS",
            "many",
            "must be a whole number from 1 to 100",
        ),
        (
            "REPRISE_ALLOWED_HOSTS",
            "a,*",
            "must be a host or host:port",
        ),
        ("REPRISE_ALLOWED_HOSTS", "[a]", "must be a list such as"),
        (
            "REPRISE_CLIENTS__LOCAL__KEY_HASH",
            "x",
            "must be \"blake3:\"",
        ),
        ("REPRISE_LISTENN", "x", "did you mean `REPRISE_LISTEN`?"),
        ("REPRISE_listen", "x", "did you mean `REPRISE_LISTEN`?"),
        (
            "REPRISE_CACHE_VIDEO_TTL",
            "1h",
            "did you mean `REPRISE_CACHE__VIDEO__TTL`?",
        ),
        (
            "REPRISE_COLOUR_SCHEME",
            "x",
            "unknown variable; a key of proxy.toml is",
        ),
        (
            "REPRISE_LIMITS__USD_PER_DAY",
            "nan",
            "must be a number of US dollars",
        ),
    ];
    for (variable, value, expected) in table {
        let problems = Scene::empty().var(variable, value).problems();
        let line = problems.lines().find(|line| line.contains(expected));
        assert!(
            line.is_some_and(|l| l.starts_with(&format!("{variable}: "))),
            "{problems}"
        );
    }
}

#[test]
fn a_variable_that_a_key_names_is_no_stranger() {
    let place = Scene::empty().var("REPRISE_KEY", "sk-x");
    assert!(
        place
            .problems()
            .starts_with("REPRISE_KEY: unknown variable"),
        "{}",
        place.problems()
    );
    for key in [
        "upstream.api_key_env",
        "callbacks.secret_env",
        "console.token_env",
    ] {
        let place = Scene::with(&format!("{key} = 'REPRISE_KEY'")).var("REPRISE_KEY", "sk-x");
        assert_eq!(place.problems(), "", "{key}");
    }
}

#[test]
fn flags_go_before_the_environment_before_the_file() {
    let mut place = Scene::with(
        "listen = '127.0.0.1:1'\n[upstream]\nbase_url = 'http://file'\n[log]\nformat = 'text'",
    );
    assert_eq!(place.config().listen.port(), 1);
    place = place
        .var("REPRISE_LISTEN", "127.0.0.1:2")
        .var("REPRISE_UPSTREAM", "http://variable/v1")
        .var("REPRISE_LOG__FORMAT", "json")
        .var("REPRISE_DATA_DIR", "data");
    let config = place.config();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.upstream.base_url.to_string(), "http://variable/v1");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.data_dir, place.path("data"));
    place.sources.listen = Some("127.0.0.1:3".to_owned());
    place.sources.upstream = Some("http://flag/v1".to_owned());
    place.sources.log_format = Some("text".to_owned());
    place.sources.data_dir = Some("elsewhere".into());
    let config = place.config();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.upstream.base_url.to_string(), "http://flag/v1");
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.data_dir, place.path("elsewhere"));
}

#[test]
fn a_value_that_is_overridden_must_still_be_sound() {
    let place = Scene::with("listen = 'nowhere'").var("REPRISE_LISTEN", "127.0.0.1:2");
    assert!(
        place.problems().starts_with("proxy.toml:1:10: "),
        "{}",
        place.problems()
    );
}

#[test]
fn two_upstreams_are_one_too_many() {
    let place = Scene::empty()
        .var("REPRISE_UPSTREAM", "http://a/v1")
        .var("REPRISE_UPSTREAM__BASE_URL", "http://b/v1");
    assert!(
        place.problems().contains("differs from REPRISE_UPSTREAM"),
        "{}",
        place.problems()
    );
    let place = place.var("REPRISE_UPSTREAM__BASE_URL", "http://a/v1");
    assert_eq!(place.config().upstream.base_url.to_string(), "http://a/v1");
}

#[test]
fn the_file_is_the_first_that_is_named_or_found() {
    let port = |place: &Scene| place.config().listen.port();
    let mut place = Scene::empty().file(".config/reprise/proxy.toml", "listen = '127.0.0.1:1'");
    assert_eq!(port(&place), 1);
    place = place.file("xdg/reprise/proxy.toml", "listen = '127.0.0.1:2'");
    let xdg = place.path("xdg").to_str().unwrap().to_owned();
    place = place.var("XDG_CONFIG_HOME", "relative");
    assert_eq!(port(&place), 1, "a relative XDG folder counts as none");
    place = place.var("XDG_CONFIG_HOME", &xdg);
    assert_eq!(port(&place), 2);
    place = place.file("proxy.toml", "listen = '127.0.0.1:3'");
    assert_eq!(port(&place), 3);
    place = place
        .file("named/a.toml", "listen = '127.0.0.1:4'")
        .var("REPRISE_CONFIG", "named/a.toml");
    assert_eq!(port(&place), 4);
    place = place.file("named/b.toml", "listen = '127.0.0.1:5'");
    place.sources.flag_config = Some("named/b.toml".into());
    assert_eq!(port(&place), 5);
    assert_eq!(place.loaded().file, Some(place.path("named/b.toml")));

    place.sources.flag_config = Some("named/none.toml".into());
    let problems = place.problems();
    assert!(
        problems.starts_with("--config: cannot read named/none.toml: "),
        "{problems}"
    );
    place.sources.flag_config = None;
    place = place.var("REPRISE_CONFIG", "none.toml");
    assert!(
        place.problems().starts_with("REPRISE_CONFIG: cannot read"),
        "{}",
        place.problems()
    );
}

#[test]
fn paths_start_where_they_were_written() {
    let mut place = Scene::empty()
        .file(
            "etc/proxy.toml",
            "data_dir = 'kept'\n[upstream]\nca_file = 'ca.pem'",
        )
        .var("REPRISE_UPSTREAM__API_KEY_FILE", "secret/key");
    place.sources.flag_config = Some("etc/proxy.toml".into());
    let config = place.config();
    assert_eq!(config.data_dir, place.path("etc/kept"));
    assert_eq!(config.upstream.ca_file, Some(place.path("etc/ca.pem")));
    assert_eq!(config.upstream.api_key_file, Some(place.path("secret/key")));
    let absolute = Scene::with("data_dir = '/srv/reprise'").config();
    assert_eq!(absolute.data_dir, Path::new("/srv/reprise"));
}

#[test]
fn data_needs_a_place() {
    let mut place = Scene::empty().var("XDG_DATA_HOME", "/xdg");
    assert_eq!(place.config().data_dir, Path::new("/xdg/reprise"));
    place.sources.env.clear();
    assert!(
        place
            .problems()
            .starts_with("data_dir: there is no home folder"),
        "{}",
        place.problems()
    );
    place.sources.data_dir = Some("d".into());
    assert_eq!(place.config().data_dir, place.path("d"));
}
