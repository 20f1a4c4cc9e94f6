//! The proxies that the environment puts between us and upstream.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::header::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;

use super::address::BaseUrl;
use super::problem::Problem;

/// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in small letters or capitals;
/// the small ones go first, as with curl, and an empty one says nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Variable>,
    https: Option<Variable>,
    all: Option<Variable>,
    no: String,
}

#[derive(Clone, PartialEq, Eq)]
struct Variable {
    name: &'static str,
    value: String,
}

/// The proxy that a connection goes through. `Display` and `Debug` show no credentials.
#[derive(Clone)]
pub struct Detour {
    /// Its address: scheme (`http` or `https`), host, port.
    pub uri: Uri,
    /// `Proxy-Authorization`, from the credentials in the variable.
    pub authorization: Option<HeaderValue>,
}

impl Proxies {
    /// Reads the variables of `env`.
    pub fn of(env: &BTreeMap<String, String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = env.get(*name).filter(|value| !value.is_empty())?.clone();
                Some(Variable { name, value })
            })
        };
        // SECURITY: a web server sets HTTP_PROXY from a client's `Proxy` header (CVE-2016-5385).
        let http: &[&str] = if env.contains_key("REQUEST_METHOD") {
            &["http_proxy"]
        } else {
            &["http_proxy", "HTTP_PROXY"]
        };
        let no = first(&["no_proxy", "NO_PROXY"]);
        Self {
            http: first(http),
            https: first(&["https_proxy", "HTTPS_PROXY"]),
            all: first(&["all_proxy", "ALL_PROXY"]),
            no: no.map(|no| no.value).unwrap_or_default(),
        }
    }

    /// The proxy on the way to `url`; none leads to this machine itself.
    ///
    /// # Errors
    /// When the variable that counts names no proxy that can be used. SECURITY: going without one
    /// is what its owner did not want.
    pub fn on_the_way_to(&self, url: &BaseUrl) -> Result<Option<Detour>, Problem> {
        let own = if url.scheme().as_str() == "https" {
            &self.https
        } else {
            &self.http
        };
        let Some(Variable { name, value }) = own.as_ref().or(self.all.as_ref()) else {
            return Ok(None);
        };
        let Ok(target) = url.with("/") else {
            return Ok(None);
        };
        let all = Matcher::builder().all(value.as_str());
        if is_this_machine(url) || exempts(&self.no, &target) {
            return Ok(None);
        }
        let unusable = || {
            let rule = "must be a proxy that speaks HTTP, such as http://proxy.example:3128 \
                        (https:// too; no SOCKS); list upstream's host in NO_PROXY to go without";
            Problem::about(name, rule)
        };
        let found = all.build().intercept(&target).ok_or_else(unusable)?;
        let uri = found.uri().clone();
        let spoken = matches!(uri.scheme_str(), Some("http" | "https"));
        if !spoken || uri.host().is_none_or(str::is_empty) {
            return Err(unusable());
        }
        Ok(Some(Detour {
            uri,
            authorization: found.basic_auth().cloned(),
        }))
    }
}

/// Whether `NO_PROXY` has `target` in it: asked of a proxy that is sound whatever else is set.
fn exempts(no: &str, target: &Uri) -> bool {
    let any = Matcher::builder().all("http://proxy.invalid").no(no);
    any.build().intercept(target).is_none()
}

fn is_this_machine(url: &BaseUrl) -> bool {
    let host = url.authority().host().trim_matches(['[', ']', '.']);
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| {
            let address = address.to_canonical();
            address.is_loopback() || address.is_unspecified()
        })
}

impl fmt::Display for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.host().unwrap_or_default())?;
        match self.uri.port_u16() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detour({self})")
    }
}

/// SECURITY: the addresses may hold passwords, so only which variables are set is shown.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [&self.http, &self.https, &self.all];
        let names = set.into_iter().flatten().map(|variable| variable.name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables, upstream, and the proxy before it.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);

    fn proxies(env: &[(&str, &str)]) -> Proxies {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Proxies::of(&env.collect())
    }

    fn through(env: &[(&str, &str)], url: &str) -> Option<String> {
        let found = proxies(env).on_the_way_to(&BaseUrl::parse(url).unwrap());
        found.unwrap().map(|detour| detour.to_string())
    }

    #[test]
    fn the_variable_of_the_scheme_goes_before_the_one_for_all() {
        let (tls, plain) = ("https://api.example/v1", "http://api.example/v1");
        let table: [Case<'_>; 17] = [
            (&[], tls, None),
            (&[("HTTPS_PROXY", "http://p:3128")], tls, Some("p:3128")),
            (&[("https_proxy", "p:3128")], tls, Some("p:3128")),
            (&[("HTTPS_PROXY", "http://p")], plain, None),
            (&[("HTTP_PROXY", "http://p")], tls, None),
            (&[("HTTP_PROXY", "http://p")], plain, Some("p")),
            (
                &[("HTTP_PROXY", "http://p"), ("REQUEST_METHOD", "GET")],
                plain,
                None,
            ),
            (
                &[("http_proxy", "http://p"), ("REQUEST_METHOD", "GET")],
                plain,
                Some("p"),
            ),
            (
                &[("ALL_PROXY", "http://a"), ("HTTPS_PROXY", "http://p")],
                tls,
                Some("p"),
            ),
            (
                &[("ALL_PROXY", "http://a"), ("HTTPS_PROXY", "")],
                tls,
                Some("a"),
            ),
            (
                &[("https_proxy", "http://s"), ("HTTPS_PROXY", "http://p")],
                tls,
                Some("s"),
            ),
            (
                &[("ALL_PROXY", "http://a"), ("NO_PROXY", "api.example")],
                tls,
                None,
            ),
            (
                &[("ALL_PROXY", "http://a"), ("NO_PROXY", "x, .example")],
                tls,
                None,
            ),
            (&[("ALL_PROXY", "http://a"), ("NO_PROXY", "*")], tls, None),
            (
                &[("ALL_PROXY", "http://a"), ("no_proxy", "pi.example")],
                tls,
                Some("a"),
            ),
            (
                &[("ALL_PROXY", "http://a"), ("NO_PROXY", "10.0.0.0/8")],
                "https://10.1.2.3/v1",
                None,
            ),
            (
                &[("ALL_PROXY", "socks5://a"), ("NO_PROXY", "api.example")],
                tls,
                None,
            ),
        ];
        for (env, url, expected) in table {
            assert_eq!(through(env, url).as_deref(), expected, "{env:?} {url}");
        }
    }

    #[test]
    fn no_proxy_leads_to_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST:1",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9:5",
            "[::1]:5",
            "0.0.0.0",
        ] {
            let found = through(&[("ALL_PROXY", "http://a")], &format!("http://{host}/v1"));
            assert_eq!(found, None, "{host}");
        }
        let named = through(&[("ALL_PROXY", "http://a")], "http://localhost.example/v1");
        assert_eq!(named.as_deref(), Some("a"));
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_variable_alone() {
        for value in [
            "socks5://user:hunter2@p:1080",
            "ftp://hunter2",
            "http://",
            "hunter2 hunter2",
        ] {
            let proxies = proxies(&[("https_proxy", value)]);
            let problem = proxies.on_the_way_to(&BaseUrl::relaydance()).unwrap_err();
            let problem = problem.to_string();
            assert!(problem.starts_with("https_proxy: "), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://user:hunter%322@p:3128")]);
        let detour = proxies.on_the_way_to(&BaseUrl::relaydance()).unwrap();
        let detour = detour.unwrap();
        let sent = detour.authorization.as_ref().unwrap();
        assert_eq!(sent.as_bytes(), b"Basic dXNlcjpodW50ZXIyMg==");
        let shown = format!("{proxies:?} {detour} {detour:?} {:?}", detour.authorization);
        assert!(
            !shown.contains("hunter") && !shown.contains("dXNlc"),
            "{shown}"
        );
    }
}
