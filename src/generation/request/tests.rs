//! Which requests are the same.

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

/// A form with boundary `B`, of parts that are written out without their line ends.
fn form(parts: &[(&str, &str)]) -> Asked {
    form_with("B", parts)
}

fn form_with(boundary: &str, parts: &[(&str, &str)]) -> Asked {
    let mut body = String::new();
    for (head, content) in parts {
        body +=
            &format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n");
    }
    body += &format!("--{boundary}--\r\n");
    let asked = Asked {
        kind: Kind::Images,
        path: "/v1/images/edits",
        ..video(&body)
    };
    asked.header(
        "content-type",
        &format!("multipart/form-data; boundary={boundary}"),
    )
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

#[test]
fn bodies_that_mean_the_same() {
    for (name, a, b) in [
        (
            "key order",
            r#"{"model":"m","prompt":"p"}"#,
            r#"{"prompt":"p","model":"m"}"#,
        ),
        (
            "key order deep down",
            r#"{"a":[{"b":1,"c":2}]}"#,
            r#"{"a":[{"c":2,"b":1}]}"#,
        ),
        (
            "white space",
            r#"{"a":[1,2]}"#,
            "\n{ \"a\" :\t[ 1,\r\n2 ] } ",
        ),
        (
            "escapes",
            r#"{"prompt":"a/é😀"}"#,
            r#"{"pro\u006dpt":"\u0061\/\u00e9\ud83d\ude00"}"#,
        ),
        ("5 and 5.0", r#"{"n":5}"#, r#"{"n":5.0}"#),
        ("5 and 5e0", r#"{"n":5}"#, r#"{"n":5e0}"#),
        ("-0 and 0", r#"{"n":-0}"#, r#"{"n":0}"#),
        ("user", r#"{"a":1}"#, r#"{"a":1,"user":"u-1"}"#),
        (
            "other user",
            r#"{"a":1,"user":{"x":[1]}}"#,
            r#"{"a":1,"user":null}"#,
        ),
        (
            "safety_identifier",
            r#"{"a":1}"#,
            r#"{"a":1,"safety_identifier":"s"}"#,
        ),
        (
            "callback_url on top",
            r#"{"a":1}"#,
            r#"{"callback_url":"https://c/1","a":1}"#,
        ),
        (
            "callback_url",
            r#"{"metadata":{"ratio":"16:9","callback_url":"https://c/1"}}"#,
            r#"{"metadata":{"callback_url":"https://c/2","ratio":"16:9"}}"#,
        ),
        (
            "escaped name",
            r#"{"a":1}"#,
            r#"{"a":1,"callback\u005furl":"https://c/1"}"#,
        ),
        (
            "all of metadata that is left out",
            r#"{"metadata":{"seed":1}}"#,
            r#"{"metadata":{"seed":1,"safety_identifier":"s","execution_expires_after":3600,
                "priority":2,"service_tier":"flex","callback_url":"https://c/"}}"#,
        ),
        (
            "metadata that becomes empty",
            r#"{"a":1}"#,
            r#"{"a":1,"metadata":{"priority":1}}"#,
        ),
        ("empty metadata", r#"{"a":1}"#, r#"{"a":1,"metadata":{ }}"#),
        ("seconds", r#"{"seconds":"5"}"#, r#"{"seconds":5}"#),
        (
            "seconds as a fraction",
            r#"{"seconds":"10"}"#,
            r#"{"seconds":10.0}"#,
        ),
        (
            "escaped seconds",
            r#"{"seconds":"\u0035"}"#,
            r#"{"seconds":5}"#,
        ),
    ] {
        assert_eq!(video(a).key(), video(b).key(), "{name}");
    }
}

#[test]
fn bodies_that_mean_something_else() {
    let long = "1".repeat(2000);
    for (name, a, b) in [
        (
            "seeds beyond 2^53",
            r#"{"seed":9007199254740993}"#,
            r#"{"seed":9007199254740992}"#,
        ),
        (
            "seeds of 64 bits",
            r#"{"seed":18446744073709551615}"#,
            r#"{"seed":18446744073709551614}"#,
        ),
        (
            "digits beyond a double",
            r#"{"t":0.1}"#,
            r#"{"t":0.10000000000000001}"#,
        ),
        (
            "numbers beyond a double",
            r#"{"t":1e400}"#,
            r#"{"t":1e401}"#,
        ),
        ("1 and \"1\"", r#"{"n":1}"#, r#"{"n":"1"}"#),
        ("1 and true", r#"{"n":1}"#, r#"{"n":true}"#),
        ("é composed and not", r#"{"p":"é"}"#, r#"{"p":"e\u0301"}"#),
        ("space at the end", r#"{"p":"a"}"#, r#"{"p":"a "}"#),
        ("case", r#"{"p":"a"}"#, r#"{"p":"A"}"#),
        ("case of a name", r#"{"p":"a"}"#, r#"{"P":"a"}"#),
        ("array order", r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        ("array nesting", r#"{"a":[[1],2]}"#, r#"{"a":[1,[2]]}"#),
        ("absent and null", r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
        ("absent and empty", r#"{"a":1}"#, r#"{"a":1,"b":{}}"#),
        ("empty list and object", r#"{"a":[]}"#, r#"{"a":{}}"#),
        (
            "moved between members",
            r#"{"a":"bc","d":""}"#,
            r#"{"a":"b","d":"c"}"#,
        ),
        ("stream", r#"{"a":1}"#, r#"{"a":1,"stream":false}"#),
        (
            "generate_audio",
            r#"{"metadata":{}}"#,
            r#"{"metadata":{"generate_audio":true}}"#,
        ),
        ("metadata null", r#"{"a":1}"#, r#"{"a":1,"metadata":null}"#),
        (
            "metadata as a list",
            r#"{"a":1}"#,
            r#"{"a":1,"metadata":[]}"#,
        ),
        (
            "metadata as text",
            r#"{"metadata":"{\"callback_url\":\"1\"}"}"#,
            r#"{"metadata":"{\"callback_url\":\"2\"}"}"#,
        ),
        ("priority on top", r#"{"a":1}"#, r#"{"a":1,"priority":1}"#),
        (
            "user in metadata",
            r#"{"metadata":{"a":1}}"#,
            r#"{"metadata":{"a":1,"user":"u"}}"#,
        ),
        (
            "deeper callback_url",
            r#"{"metadata":{"x":{"callback_url":"1"}}}"#,
            r#"{"metadata":{"x":{"callback_url":"2"}}}"#,
        ),
        (
            "metadata deeper down",
            r#"{"x":{"metadata":{}}}"#,
            r#"{"x":{}}"#,
        ),
        (
            "seconds with a zero",
            r#"{"seconds":"05"}"#,
            r#"{"seconds":5}"#,
        ),
        ("no seconds", r#"{"seconds":"0"}"#, r#"{"seconds":0}"#),
        ("broken seconds", r#"{"seconds":"5.0"}"#, r#"{"seconds":5}"#),
        (
            "negative seconds",
            r#"{"seconds":"-5"}"#,
            r#"{"seconds":-5}"#,
        ),
        ("empty seconds", r#"{"seconds":""}"#, r#"{"seconds":0}"#),
        ("other seconds", r#"{"seconds":"5"}"#, r#"{"seconds":"10"}"#),
        (
            "seconds and duration",
            r#"{"seconds":5}"#,
            r#"{"duration":5}"#,
        ),
        (
            "duration as text",
            r#"{"duration":"5"}"#,
            r#"{"duration":5}"#,
        ),
        (
            "seconds deeper down",
            r#"{"a":{"seconds":"5"}}"#,
            r#"{"a":{"seconds":5}}"#,
        ),
        (
            "seconds in a list",
            r#"{"seconds":["5"]}"#,
            r#"{"seconds":[5]}"#,
        ),
        (
            "absurd seconds",
            &format!("{{\"seconds\":\"{long}\"}}"),
            &format!("{{\"seconds\":\"{long}1\"}}"),
        ),
        ("a repeated key", r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (
            "a repeated key, otherwise written",
            r#"{"a":1,"a":2}"#,
            r#"{"a":1, "a":2}"#,
        ),
        (
            "an escaped repeated key",
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":2}"#,
        ),
        ("not JSON", "{\"a\":1", "{\"a\":1 "),
        ("a string and its text", "\"a\"", "a"),
        ("nothing and null", "", "null"),
        ("nothing and an empty object", "", "{}"),
    ] {
        assert_ne!(video(a).key(), video(b).key(), "{name}");
    }
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
        ("empty metadata", r#"{"a":1}"#, r#"{"a":1,"metadata":{}}"#),
        ("seconds", r#"{"seconds":"5"}"#, r#"{"seconds":5}"#),
    ] {
        assert_ne!(chat(a).key(), chat(b).key(), "{name}");
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
    assert_eq!(gzip(r#"{"model":"m"}"#).identify().model, None);
}

#[test]
fn forms_that_mean_the_same() {
    let parts = [
        ("name=\"prompt\"", "a cat"),
        ("name=\"image\"; filename=\"a.png\"", "PNG\r\n--x"),
    ];
    let key = form(&parts).key();
    assert_eq!(form_with("----other1234", &parts).key(), key, "boundary");
    for (name, head) in [
        ("file name", "name=\"image\"; filename=\"b c; d.png\""),
        (
            "file name in two forms",
            "name=\"image\"; filename=\"b\"; filename*=UTF-8''%C3%A9",
        ),
        (
            "encoded file name",
            "name=\"image\"; filename*=UTF-8''%C3%A9.png",
        ),
        ("empty file name", "name=\"image\"; filename=\"\""),
    ] {
        assert_eq!(form(&[parts[0], (head, parts[1].1)]).key(), key, "{name}");
    }
    for user in ["name=\"user\"", "name=\"safety_identifier\""] {
        assert_eq!(
            form(&[parts[0], (user, "u-1"), parts[1]]).key(),
            key,
            "{user}"
        );
    }
    let length = "name=\"image\"; filename=\"a\"\r\nContent-Length: 8";
    assert_eq!(
        form(&[parts[0], (length, parts[1].1)]).key(),
        key,
        "length of a part"
    );
    let film = |parts: &[(&str, &str)]| {
        Asked {
            kind: Kind::Video,
            ..form(parts)
        }
        .key()
    };
    for field in [
        "callback_url",
        "metadata[callback_url]",
        "metadata[priority]",
    ] {
        let head = format!("name=\"{field}\"");
        assert_eq!(
            film(&[parts[0], (&head, "x")]),
            film(&[parts[0]]),
            "{field}"
        );
    }
}

#[test]
fn forms_that_mean_something_else() {
    let prompt = ("name=\"prompt\"", "a cat");
    let image = ("name=\"image\"; filename=\"a.png\"", "PNG");
    let key = form(&[prompt, image]).key();
    let typed = "name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png";
    let coded = "name=\"image\"; filename=\"a.png\"\r\nContent-Transfer-Encoding: base64";
    for (name, parts) in [
        ("bytes of a file", vec![prompt, (image.0, "PNH")]),
        (
            "field name",
            vec![prompt, ("name=\"mask\"; filename=\"a.png\"", "PNG")],
        ),
        ("order", vec![image, prompt]),
        ("one less", vec![prompt]),
        ("one more", vec![prompt, image, image]),
        ("content type", vec![prompt, (typed, "PNG")]),
        ("transfer encoding", vec![prompt, (coded, "PNG")]),
        (
            "a value, not a file",
            vec![prompt, ("name=\"image\"", "PNG")],
        ),
        (
            "moved between parts",
            vec![("name=\"prompt\"", "a catP"), (image.0, "NG")],
        ),
        (
            "a second name",
            vec![
                prompt,
                ("name=\"image\"; filename=\"a\"; name=\"x\"", "PNG"),
            ],
        ),
        (
            "callback_url of an image",
            vec![prompt, image, ("name=\"callback_url\"", "x")],
        ),
    ] {
        assert_ne!(form(&parts).key(), key, "{name}");
    }
}

#[test]
fn forms_that_cannot_be_read_are_raw() {
    let good = form(&[("name=\"model\"", "m")]);
    let text = String::from_utf8(good.body.to_vec()).unwrap();
    let with = |body: String| Asked {
        body: body.into(),
        ..good.clone()
    };
    for (name, odd) in [
        ("text before", with(format!("x\r\n{text}"))),
        ("text after", with(format!("{text}x"))),
        ("a form after", with(format!("{text}{text}"))),
        ("cut off", with(text[..text.len() - 6].to_owned())),
        ("no name", with(text.replace("; name=\"model\"", ""))),
        (
            "no disposition",
            with(text.replace("Content-Disposition", "X-Disposition")),
        ),
        ("empty", with(String::new())),
        ("JSON", with("{\"model\":\"m\"}".to_owned())),
        ("1,001 parts", form(&[("name=\"model\"", "m"); 1001])),
        ("no boundary", {
            let mut asked = good.clone();
            asked.headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("multipart/form-data"),
            );
            asked
        }),
    ] {
        let identity = odd.identify();
        assert_eq!(identity.model, None, "{name}");
        assert_ne!(identity.fingerprint, good.key(), "{name}");
        // Raw: one byte more is another generation, however little it means.
        let mut longer = odd.body.to_vec();
        longer.extend_from_slice(b"\r\n");
        let longer = Asked {
            body: longer.into(),
            ..odd
        };
        assert_ne!(longer.key(), identity.fingerprint, "{name}");
    }
    assert_eq!(
        form(&[("name=\"model\"", "m"); 1000])
            .identify()
            .model
            .as_deref(),
        Some("m")
    );
    let bare = with(text.trim_end().to_owned());
    assert_eq!(bare.key(), good.key(), "a last line end says nothing");
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
        ("{\"model\":\"m\"", None, false, false),
        ("", None, false, false),
    ] {
        let identity = chat(body).identify();
        assert_eq!(identity.model.as_deref(), model, "{body}");
        assert_eq!(identity.stream, stream, "{body}");
        assert_eq!(identity.deterministic, deterministic, "{body}");
    }
    let long = format!("{{\"model\":\"{}\"}}", "m".repeat(257));
    assert_eq!(chat(&long).identify().model, None);
    let asked = form(&[("name=\"model\"", "m"), ("name=\"stream\"", "true")]).identify();
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
            form(&[("name=\"prompt\"", "a cat")]),
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

    #[test]
    fn no_form_makes_it_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "--B", "--", "\r\n", "\r\n", "\n", "Content-Disposition: form-data; name=\"a\"",
                "; filename=\"b\"", "; name=\"c", "Content-Type: x", "\r\n\r\n", "x", "\u{0}", ":",
                "--B--\r\n",
            ]),
            0..16,
        )
    ) {
        let asked = Asked { body: parts.concat().into(), ..form(&[]) };
        prop_assert_eq!(asked.key(), asked.key());
    }
}
