//! Which requests are the same.

mod forms;

use super::*;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

const VIDEOS: &str = "/v1/video/generations";

/// A request to be named: a JSON video request unless said otherwise.
#[derive(Clone)]
struct Asked {
    kind: Kind,
    path: &'static str,
    query: Option<&'static str>,
    scope: Option<&'static str>,
    take: u32,
    headers: HeaderMap,
    body: Bytes,
}

fn video(body: &str) -> Asked {
    Asked {
        kind: Kind::Video,
        path: VIDEOS,
        query: None,
        scope: None,
        take: 1,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn chat(body: &str) -> Asked {
    Asked {
        kind: Kind::Chat,
        path: "/v1/chat/completions",
        ..video(body)
    }
}

impl Asked {
    fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn identify(&self) -> Identity {
        Request {
            kind: self.kind,
            path: self.path,
            query: self.query,
            scope: self.scope,
            take: self.take,
            headers: &self.headers,
            body: &self.body,
        }
        .identify()
    }

    fn key(&self) -> Fingerprint {
        self.identify().fingerprint
    }
}

/// Pairs of bodies of a video request: name, one, the other.
const SAME: &str = r#"
key order | {"model":"m","prompt":"p"} | {"prompt":"p","model":"m"}
key order deep down | {"a":[{"b":1,"c":2}]} | {"a":[{"c":2,"b":1}]}
white space | {"a":[1,2]} | { "a" : [ 1, 2 ] }
escapes | {"prompt":"a/é😀"} | {"pro\u006dpt":"\u0061\/\u00e9\ud83d\ude00"}
5 and 5.0 | {"n":5} | {"n":5.0}
5 and 5e0 | {"n":5} | {"n":5e0}
-0 and 0 | {"n":-0} | {"n":0}
user | {"a":1} | {"a":1,"user":"u-1"}
other user | {"a":1,"user":{"x":[1]}} | {"a":1,"user":null}
safety_identifier | {"a":1} | {"a":1,"safety_identifier":"s"}
callback_url on top | {"a":1} | {"callback_url":"https://c/1","a":1}
callback_url | {"metadata":{"r":"1","callback_url":"c/1"}} | {"metadata":{"callback_url":"c/2","r":"1"}}
escaped name | {"a":1} | {"a":1,"callback\u005furl":"https://c/1"}
safety_identifier below | {"metadata":{"seed":1}} | {"metadata":{"seed":1,"safety_identifier":"s"}}
expiry | {"metadata":{"seed":1}} | {"metadata":{"seed":1,"execution_expires_after":3600}}
priority | {"metadata":{"seed":1}} | {"metadata":{"seed":1,"priority":2}}
tier | {"metadata":{"seed":1}} | {"metadata":{"service_tier":"flex","seed":1}}
metadata that becomes empty | {"a":1} | {"a":1,"metadata":{"priority":1,"callback_url":"c"}}
empty metadata | {"a":1} | {"a":1,"metadata":{ }}
metadata as text | {"metadata":"{\"callback_url\":\"1\",\"r\":1}"} | {"metadata":"{\"callback_url\":\"2\",\"r\":1}"}
metadata as text, cut | {"metadata":"{\"r\": 1, \"priority\": 2}"} | {"metadata":"{\u0022r\u0022: 1}"}
metadata as text, escaped name | {"metadata":"{\"r\":1,\"service\\u005ftier\":\"flex\"}"} | {"metadata":"{\"r\":1}"}
metadata as text that becomes empty | {"a":1} | {"a":1,"metadata":"{\"callback_url\":\"c\",\"safety_identifier\":\"s\"}"}
seconds | {"seconds":"5"} | {"seconds":5}
seconds as a fraction | {"seconds":"10"} | {"seconds":10.0}
escaped seconds | {"seconds":"\u0035"} | {"seconds":5}
"#;

const DIFFERENT: &str = r#"
seeds beyond 2^53 | {"seed":9007199254740993} | {"seed":9007199254740992}
seeds of 64 bits | {"seed":18446744073709551615} | {"seed":18446744073709551614}
digits beyond a double | {"t":0.1} | {"t":0.10000000000000001}
numbers beyond a double | {"t":1e400} | {"t":1e401}
1 and "1" | {"n":1} | {"n":"1"}
1 and true | {"n":1} | {"n":true}
é composed and not | {"p":"é"} | {"p":"e\u0301"}
space at the end | {"p":"a"} | {"p":"a "}
case | {"p":"a"} | {"p":"A"}
case of a name | {"p":"a"} | {"P":"a"}
array order | {"a":[1,2]} | {"a":[2,1]}
array nesting | {"a":[[1],2]} | {"a":[1,[2]]}
absent and null | {"a":1} | {"a":1,"b":null}
absent and empty | {"a":1} | {"a":1,"b":{}}
empty list and object | {"a":[]} | {"a":{}}
moved between members | {"a":"bc","d":""} | {"a":"b","d":"c"}
stream | {"a":1} | {"a":1,"stream":false}
model | {"model":"a"} | {"model":"b"}
generate_audio | {"metadata":{}} | {"metadata":{"generate_audio":true}}
metadata null | {"a":1} | {"a":1,"metadata":null}
metadata as a list | {"a":1} | {"a":1,"metadata":[]}
metadata as text, and as an object | {"metadata":"{\"r\":1}"} | {"metadata":{"r":1}}
metadata as text, cut, and as an object | {"metadata":"{\"r\":1,\"priority\":1}"} | {"metadata":{"r":1}}
metadata as text, otherwise written | {"metadata":"{\"r\":1}"} | {"metadata":"{\"r\": 1}"}
metadata as text, another value | {"metadata":"{\"r\":1,\"priority\":1}"} | {"metadata":"{\"r\":2,\"priority\":1}"}
metadata as text, deeper | {"metadata":"{\"x\":{\"priority\":1}}"} | {"metadata":"{\"x\":{\"priority\":2}}"}
metadata as text, repeated | {"metadata":"{\"priority\":1,\"priority\":1}"} | {"metadata":"{\"priority\":2,\"priority\":2}"}
metadata as text, no object | {"metadata":"[{\"priority\":1}]"} | {"metadata":"[{\"priority\":2}]"}
metadata as text, of an object's text | {"metadata":"\"{\\\"priority\\\":1}\""} | {"metadata":"\"{\\\"priority\\\":2}\""}
empty text for metadata | {"a":1} | {"a":1,"metadata":""}
priority on top | {"a":1} | {"a":1,"priority":1}
user in metadata | {"metadata":{"a":1}} | {"metadata":{"a":1,"user":"u"}}
deeper callback_url | {"metadata":{"x":{"callback_url":"1"}}} | {"metadata":{"x":{"callback_url":"2"}}}
metadata deeper down | {"x":{"metadata":{}}} | {"x":{}}
seconds with a zero | {"seconds":"05"} | {"seconds":5}
no seconds | {"seconds":"0"} | {"seconds":0}
broken seconds | {"seconds":"5.0"} | {"seconds":5}
negative seconds | {"seconds":"-5"} | {"seconds":-5}
empty seconds | {"seconds":""} | {"seconds":0}
other seconds | {"seconds":"5"} | {"seconds":"10"}
seconds and duration | {"seconds":5} | {"duration":5}
duration as text | {"duration":"5"} | {"duration":5}
seconds deeper down | {"a":{"seconds":"5"}} | {"a":{"seconds":5}}
seconds in a list | {"seconds":["5"]} | {"seconds":[5]}
a repeated key | {"a":1,"a":2} | {"a":2}
a repeated key, otherwise written | {"a":1,"a":2} | {"a":1, "a":2}
an escaped repeated key | {"a":1,"\u0061":2} | {"a":2}
not JSON | {"a":1 | {"a": 1
a string and its text | "a" | a
nothing and null |  | null
nothing and an empty object |  | {}
"#;

/// The lines of a table.
fn rows(table: &str) -> impl Iterator<Item = [&str; 3]> {
    table.trim().lines().map(|line| {
        let columns: Vec<_> = line.split(" | ").collect();
        columns.try_into().expect("three columns")
    })
}

#[test]
fn bodies_that_mean_the_same() {
    for [name, a, b] in rows(SAME) {
        assert_eq!(video(a).key(), video(b).key(), "{name}");
    }
    let spaced = "\n{\t\"a\"\r\n:[\n1 ] }\n";
    assert_eq!(video(spaced).key(), video("{\"a\":[1]}").key());
}

#[test]
fn bodies_that_mean_something_else() {
    for [name, a, b] in rows(DIFFERENT) {
        assert_ne!(video(a).key(), video(b).key(), "{name}");
    }
    let seconds = |digits: usize| format!("{{\"seconds\":\"{}\"}}", "1".repeat(digits));
    assert_ne!(video(&seconds(2000)).key(), video(&seconds(2001)).key());
}

#[test]
fn rules_for_video_hold_for_video_alone() {
    for (name, a, b) in [
        (
            "callback_url",
            r#"{"a":1}"#,
            r#"{"a":1,"callback_url":"https://c/"}"#,
        ),
        (
            "metadata",
            r#"{"metadata":{"a":1}}"#,
            r#"{"metadata":{"a":1,"priority":1}}"#,
        ),
        (
            "metadata as text",
            r#"{"metadata":"{\"a\":1}"}"#,
            r#"{"metadata":"{\"a\":1,\"priority\":1}"}"#,
        ),
        (
            "metadata that becomes empty",
            r#"{"a":1}"#,
            r#"{"a":1,"metadata":{"priority":1}}"#,
        ),
        ("seconds", r#"{"seconds":"5"}"#, r#"{"seconds":5}"#),
    ] {
        assert_ne!(chat(a).key(), chat(b).key(), "{name}");
    }
    for kind in Kind::ALL {
        let key = |body| Asked { kind, ..chat(body) }.key();
        let empty = r#"{"a":1,"metadata":{ }}"#;
        assert_eq!(key(r#"{"a":1}"#), key(empty), "{kind:?}");
    }
    for name in ["user", "safety_identifier"] {
        let with = format!("{{\"a\":1,\"{name}\":\"x\"}}");
        assert_eq!(chat(r#"{"a":1}"#).key(), chat(&with).key(), "{name}");
    }
}

#[test]
fn around_the_body() {
    let plain = video(r#"{"a":1}"#);
    let with = |change: fn(&mut Asked)| {
        let mut asked = plain.clone();
        change(&mut asked);
        asked.key()
    };
    let key = plain.key();
    for (name, other) in [
        ("path", with(|asked| asked.path = "/v1/videos")),
        (
            "spelling of the path",
            with(|asked| asked.path = "/v1/video//generations"),
        ),
        ("kind", with(|asked| asked.kind = Kind::Images)),
        ("query", with(|asked| asked.query = Some("a=1"))),
        ("scope", with(|asked| asked.scope = Some("alice"))),
        ("empty scope", with(|asked| asked.scope = Some(""))),
        ("take", with(|asked| asked.take = 2)),
        (
            "version",
            plain
                .clone()
                .header("anthropic-version", "2023-06-01")
                .key(),
        ),
        ("beta", plain.clone().header("anthropic-beta", "x").key()),
        (
            "OpenAI's beta",
            plain.clone().header("OpenAI-Beta", "x").key(),
        ),
        (
            "content encoding",
            plain.clone().header("content-encoding", "gzip").key(),
        ),
    ] {
        assert_ne!(other, key, "{name}");
    }
    for (name, same) in [
        ("empty query", with(|asked| asked.query = Some(""))),
        (
            "key in the query",
            with(|asked| asked.query = Some("key=sk-1")),
        ),
        (
            "another header",
            plain.clone().header("x-openwebui-user-id", "7").key(),
        ),
        (
            "content type",
            plain
                .clone()
                .header("content-type", "application/json")
                .key(),
        ),
        (
            "curl -d",
            plain
                .clone()
                .header("content-type", "application/x-www-form-urlencoded")
                .key(),
        ),
        (
            "credentials",
            plain.clone().header("authorization", "Bearer x").key(),
        ),
        (
            "identity",
            plain.clone().header("content-encoding", "Identity").key(),
        ),
    ] {
        assert_eq!(same, key, "{name}");
    }
}

#[test]
fn headers_and_query_in_their_order() {
    let plain = video("{}");
    let beta = |values: &[&str]| {
        let add = |asked: Asked, value: &&str| asked.header("anthropic-beta", value);
        values.iter().fold(plain.clone(), add).key()
    };
    assert_eq!(beta(&["a", "b"]), beta(&["a", "b"]));
    assert_ne!(beta(&["a", "b"]), beta(&["b", "a"]));
    assert_ne!(beta(&["a", "b"]), beta(&["ab"]));
    assert_ne!(
        plain.clone().header("anthropic-beta", "x").key(),
        plain.clone().header("openai-beta", "x").key()
    );
    let query = |query| {
        Asked {
            query: Some(query),
            ..plain.clone()
        }
        .key()
    };
    assert_ne!(query("a=1&b=2"), query("b=2&a=1"));
    assert_ne!(query("a=%31"), query("a=1"));
    assert_eq!(query("a=1&key=x"), query("%6bey=y&a=1"));
}

#[test]
fn encoded_bodies_are_hashed_as_they_are() {
    let gzip = |body: &str| video(body).header("content-encoding", "gzip");
    assert_ne!(gzip(r#"{"a":1}"#).key(), gzip(r#"{ "a":1}"#).key());
    let brotli = video("x").header("content-encoding", "br");
    assert_ne!(gzip("x").key(), brotli.key());
}

#[test]
fn what_a_body_says_of_itself() {
    for (body, model, stream, deterministic) in [
        (
            r#"{"model":"m","stream":true,"temperature":0}"#,
            Some("m"),
            true,
            true,
        ),
        (
            r#"{"model":"\u006d","stream":false,"temperature":-0.0}"#,
            Some("m"),
            false,
            true,
        ),
        (
            r#"{"model":"","stream":"true","temperature":0.1}"#,
            None,
            false,
            false,
        ),
        (
            r#"{"model":7,"stream":1,"temperature":"0","seed":null}"#,
            None,
            false,
            false,
        ),
        (r#"{"seed":0}"#, None, false, true),
        (
            r#"{"x":{"model":"m","stream":true,"temperature":0,"seed":1}}"#,
            None,
            false,
            false,
        ),
        (r#"["model"]"#, None, false, false),
        // Hashed raw, but upstream may well read it.
        (
            r#"{"model":"a","model":"m","stream":true,"seed":1}"#,
            Some("m"),
            true,
            true,
        ),
        (
            r#"{"model":"m","temperature":0.0,"a":1,"a":2}"#,
            Some("m"),
            false,
            true,
        ),
        ("{\"model\":\"m\"", Some("m"), false, false),
        ("", None, false, false),
    ] {
        let identity = chat(body).identify();
        assert_eq!(identity.model.as_deref(), model, "{body}");
        assert_eq!(identity.stream, stream, "{body}");
        assert_eq!(identity.deterministic, deterministic, "{body}");
    }
    let long = format!("{{\"model\":\"{}\"}}", "m".repeat(257));
    assert_eq!(chat(&long).identify().model, None);
    let asked = forms::form(&[("name=\"model\"", "m"), ("name=\"stream\"", "true")]).identify();
    assert_eq!((asked.model.as_deref(), asked.stream), (Some("m"), true));
}

/// The format is stored in the names of kept files: a change loses everything that was paid for.
#[test]
fn golden_fingerprints() {
    let mut full = chat(r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"n":1.50}"#)
        .header("openai-beta", "a");
    full.query = Some("x=1");
    full.scope = Some("alice");
    full.take = 3;
    let long = format!(
        "{{\"prompt\":\"{}\",\"l\":[{}0]}}",
        "é".repeat(2000),
        "0,".repeat(9000)
    );
    for (name, asked, expected) in [
        (
            "JSON",
            video(r#"{"model":"m","prompt":"a cat","seconds":"5"}"#),
            "40ebe9f0e859e4a23805fa51dd156d35b3aa1e3b970bd5561795c8777d852b24",
        ),
        (
            "everything",
            full,
            "5de3536a20aef9b318600dd4cc77499cefeafed84d8bf70342e8daf785f2b16e",
        ),
        (
            "long values",
            video(&long),
            "7de9320795bffa6d4895f1976d302bbfe00a9a159e10f386eb154232b264d68c",
        ),
        (
            "form",
            forms::form(&[("name=\"prompt\"", "a cat")]),
            "b7fee7303d2ef35959f4fcbe4d5ff0ba32dfb2cbbe340811145e0c4acf2fe8d0",
        ),
        (
            "raw",
            video("not JSON").header("content-encoding", "br"),
            "7e9695521eb014de65cb862ea6c578ad9a5f78b1aafeebfc222250bb194f2596",
        ),
    ] {
        assert_eq!(asked.key().to_string(), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn no_request_makes_it_panic(
        body: Vec<u8>, query in prop::option::of("[a-z%=&0-9]{0,12}"), take: u32, as_form: bool,
    ) {
        let mut headers = HeaderMap::new();
        if as_form {
            let form = HeaderValue::from_static("multipart/form-data; boundary=B");
            headers.insert(CONTENT_TYPE, form);
        }
        let body = Bytes::from(body);
        let request = Request {
            kind: Kind::Video,
            path: VIDEOS,
            query: query.as_deref(),
            scope: None,
            take,
            headers: &headers,
            body: &body,
        };
        prop_assert_eq!(request.identify(), request.identify());
    }
}

#[test]
fn the_context_is_the_one_of_the_format() {
    let format = "reprise 2026-11 generation key, format 1";
    assert_eq!(CONTEXT, blake3::hazmat::hash_derive_key_context(format));
}
