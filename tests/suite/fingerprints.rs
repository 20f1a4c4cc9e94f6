//! When two requests are the same generation, told by what reaches upstream.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reprise::generation::{Kind, Request};
use serde_json::json;

use crate::house::{Call, Client, Form, House};

const IMAGES: &str = "/v1/images/generations";
const VIDEO: &str = "/v1/video/generations";

/// Whether two requests ask for one generation or for two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Are {
    Same,
    Two,
}
use Are::{Same, Two};

/// Rows of a table, each sent in turn; all that are wrong are told at the end.
struct Table {
    house: House,
    client: Client,
    wrong: String,
}

impl Table {
    async fn new() -> Self {
        let house = House::new().await;
        let picture = json!({"created": 1, "data": [{"b64_json": "AAAA"}]});
        // Most rows are no requests that an upstream would take, so its answer is written here.
        house
            .sandbox
            .on("POST /v1/images")
            .answer(200, "application/json", picture.to_string())
            .always();
        Self {
            client: house.client(),
            house,
            wrong: String::new(),
        }
    }

    async fn row(&mut self, name: &str, first: Call, second: Call, expected: Are) {
        let before = self.house.sandbox.count("POST ");
        let first = first.send().await;
        let second = second.send().await;
        assert_eq!((first.status, second.status), (200, 200), "{name}");
        let are = match self.house.sandbox.count("POST ") - before {
            1 => Same,
            2 => Two,
            sent => panic!("{name}: {sent} were sent"),
        };
        let told = if second.cache_status() == "reprise; fwd=miss; stored" {
            Two
        } else {
            Same
        };
        if (are, told) != (expected, expected) {
            let _ = writeln!(
                self.wrong,
                "{name}: {are:?}, told {:?}",
                second.cache_status()
            );
        }
    }

    /// Two JSON bodies, in which `@` stands for something that no other row has.
    async fn json(&mut self, path: &str, (name, first, second, expected): Bodies) {
        let call = |body: &str| {
            let body = body.replace('@', name);
            self.client.post(path).json_text(body)
        };
        self.row(name, call(first), call(second), expected).await;
    }

    fn done(self) {
        assert!(self.wrong.is_empty(), "\n{}", self.wrong);
    }
}

type Bodies = (&'static str, &'static str, &'static str, Are);

#[rustfmt::skip]
const ANY_JSON: [Bodies; 34] = [
    ("key order", r#"{"prompt":"@","n":1}"#, r#"{"n":1,"prompt":"@"}"#, Same),
    ("inner key order", r#"{"p":"@","x":{"a":1,"b":2}}"#, r#"{"p":"@","x":{"b":2,"a":1}}"#, Same),
    ("white space", r#"{"prompt":"@","x":[1,2]}"#, "{ \"prompt\" :\t\"@\",\r\n \"x\": [ 1 , 2 ] }\n", Same),
    ("escaped letters", r#"{"prompt":"@ aé/😀"}"#, r#"{"prompt":"@ \u0061\u00e9\/\ud83d\ude00"}"#, Same),
    ("escaped key", r#"{"prompt":"@"}"#, r#"{"\u0070rompt":"@"}"#, Same),
    ("5 and 5.0", r#"{"p":"@","x":5}"#, r#"{"p":"@","x":5.0}"#, Same),
    ("5 and 5e0", r#"{"p":"@","x":5}"#, r#"{"p":"@","x":5e0}"#, Same),
    ("5 and 50E-1", r#"{"p":"@","x":5}"#, r#"{"p":"@","x":50E-1}"#, Same),
    ("0 and -0.0", r#"{"p":"@","x":0}"#, r#"{"p":"@","x":-0.0}"#, Same),
    ("5 and 6", r#"{"p":"@","x":5}"#, r#"{"p":"@","x":6}"#, Two),
    ("5 and its text", r#"{"p":"@","x":5}"#, r#"{"p":"@","x":"5"}"#, Two),
    ("beyond 2^53", r#"{"p":"@","seed":9007199254740992}"#, r#"{"p":"@","seed":9007199254740993}"#, Two),
    ("23 digits", r#"{"p":"@","seed":12345678901234567890123}"#, r#"{"p":"@","seed":12345678901234567890124}"#, Two),
    ("more digits than a double", r#"{"p":"@","x":0.1}"#, r#"{"p":"@","x":0.10000000000000001}"#, Two),
    ("larger than a double", r#"{"p":"@","x":1e400}"#, r#"{"p":"@","x":1e401}"#, Two),
    ("space at the end", r#"{"prompt":"@"}"#, r#"{"prompt":"@ "}"#, Two),
    ("capitals", r#"{"prompt":"@ a"}"#, r#"{"prompt":"@ A"}"#, Two),
    ("composed letters", r#"{"prompt":"@ \u00e9"}"#, r#"{"prompt":"@ e\u0301"}"#, Two),
    ("absent and null", r#"{"prompt":"@"}"#, r#"{"prompt":"@","seed":null}"#, Two),
    ("array order", r#"{"p":"@","x":[1,2]}"#, r#"{"p":"@","x":[2,1]}"#, Two),
    ("stream", r#"{"prompt":"@"}"#, r#"{"prompt":"@","stream":false}"#, Two),
    ("half a letter", r#"{"prompt":"@ \ud800"}"#, r#"{"prompt":"@ \ufffd"}"#, Two),
    ("user", r#"{"prompt":"@","user":"a"}"#, r#"{"user":"b","prompt":"@"}"#, Same),
    ("no user", r#"{"prompt":"@","user":"a"}"#, r#"{"prompt":"@"}"#, Same),
    ("safety identifier", r#"{"prompt":"@","safety_identifier":"a"}"#, r#"{"prompt":"@"}"#, Same),
    ("inner user", r#"{"p":"@","x":{"user":"a"}}"#, r#"{"p":"@","x":{"user":"b"}}"#, Two),
    ("callback of an image", r#"{"prompt":"@","callback_url":"https://a.example"}"#, r#"{"prompt":"@"}"#, Two),
    ("metadata of an image", r#"{"prompt":"@","metadata":{"priority":1}}"#, r#"{"prompt":"@","metadata":{"priority":2}}"#, Two),
    ("empty metadata of an image", r#"{"prompt":"@","metadata":{}}"#, r#"{"prompt":"@"}"#, Same),
    ("seconds of an image", r#"{"prompt":"@","seconds":5}"#, r#"{"prompt":"@","seconds":"5"}"#, Two),
    ("repeated key, other space", r#"{"p":"@","n":1,"n":2}"#, r#"{"p":"@","n":1, "n":2}"#, Two),
    ("repeated key, same bytes", r#"{"p":"@","n":1,"n":2}"#, r#"{"p":"@","n":1,"n":2}"#, Same),
    ("inner repeated key", r#"{"p":"@","x":[{"n":1,"n":2}]}"#, r#"{"p":"@","x":[{"n":1,"n":2}] }"#, Two),
    ("something after the end", r#"{"prompt":"@"}"#, r#"{"prompt":"@"}}"#, Two),
];

#[tokio::test]
async fn json_counts_by_its_meaning_and_nothing_else_is_folded() {
    let mut table = Table::new().await;
    for row in ANY_JSON {
        table.json(IMAGES, row).await;
    }
    table.done();
}

#[rustfmt::skip]
const VIDEO_JSON: [Bodies; 21] = [
    ("seconds as text", r#"{"model":"m","prompt":"@","seconds":5}"#, r#"{"model":"m","prompt":"@","seconds":"5"}"#, Same),
    ("seconds as text and fraction", r#"{"model":"m","prompt":"@","seconds":5.0}"#, r#"{"model":"m","prompt":"@","seconds":"5"}"#, Same),
    ("seconds with a zero", r#"{"model":"m","prompt":"@","seconds":5}"#, r#"{"model":"m","prompt":"@","seconds":"05"}"#, Two),
    ("other seconds", r#"{"model":"m","prompt":"@","seconds":5}"#, r#"{"model":"m","prompt":"@","seconds":"6"}"#, Two),
    ("duration as text", r#"{"model":"m","prompt":"@","duration":5}"#, r#"{"model":"m","prompt":"@","duration":"5"}"#, Two),
    ("callback", r#"{"model":"m","prompt":"@","callback_url":"https://a.example"}"#, r#"{"model":"m","prompt":"@"}"#, Same),
    ("inner callback", r#"{"model":"m","prompt":"@","metadata":{"seed":1,"callback_url":"https://a.example"}}"#, r#"{"model":"m","prompt":"@","metadata":{"seed":1}}"#, Same),
    ("only a callback", r#"{"model":"m","prompt":"@","metadata":{"callback_url":"https://a.example"}}"#, r#"{"model":"m","prompt":"@"}"#, Same),
    ("empty metadata", r#"{"model":"m","prompt":"@","metadata":{}}"#, r#"{"model":"m","prompt":"@"}"#, Same),
    ("safety", r#"{"model":"m","prompt":"@","metadata":{"safety_identifier":"a"}}"#, r#"{"model":"m","prompt":"@","metadata":{"safety_identifier":"b"}}"#, Same),
    ("expiry", r#"{"model":"m","prompt":"@","metadata":{"execution_expires_after":3600}}"#, r#"{"model":"m","prompt":"@","metadata":{"execution_expires_after":7200}}"#, Same),
    ("priority", r#"{"model":"m","prompt":"@","metadata":{"priority":1}}"#, r#"{"model":"m","prompt":"@","metadata":{"priority":2}}"#, Same),
    ("tier", r#"{"model":"m","prompt":"@","metadata":{"service_tier":"flex"}}"#, r#"{"model":"m","prompt":"@","metadata":{"service_tier":"default"}}"#, Same),
    ("user of a video", r#"{"model":"m","prompt":"@","user":"a","safety_identifier":"x"}"#, r#"{"model":"m","prompt":"@","user":"b"}"#, Same),
    ("inner seed", r#"{"model":"m","prompt":"@","metadata":{"seed":1}}"#, r#"{"model":"m","prompt":"@","metadata":{"seed":2}}"#, Two),
    ("priority at the top", r#"{"model":"m","prompt":"@","priority":1}"#, r#"{"model":"m","prompt":"@","priority":2}"#, Two),
    ("absent audio", r#"{"model":"m","prompt":"@"}"#, r#"{"model":"m","prompt":"@","metadata":{"generate_audio":true}}"#, Two),
    ("deep callback", r#"{"model":"m","prompt":"@","metadata":{"x":{"callback_url":"a"}}}"#, r#"{"model":"m","prompt":"@","metadata":{"x":{"callback_url":"b"}}}"#, Two),
    ("metadata as text", r#"{"model":"m","prompt":"@","metadata":"{\"r\":1,\"callback_url\":\"a\"}"}"#, r#"{"model":"m","prompt":"@","metadata":"{\"r\":1,\"callback_url\":\"b\"}"}"#, Same),
    ("other metadata as text", r#"{"model":"m","prompt":"@","metadata":"{\"r\":1,\"callback_url\":\"a\"}"}"#, r#"{"model":"m","prompt":"@","metadata":"{\"r\":2,\"callback_url\":\"a\"}"}"#, Two),
    ("other model", r#"{"model":"m","prompt":"@"}"#, r#"{"model":"n","prompt":"@"}"#, Two),
];

#[tokio::test]
async fn a_video_leaves_out_who_is_called_and_how_urgent_it_is() {
    let mut table = Table::new().await;
    for path in [VIDEO, "/v1/videos"] {
        for row in VIDEO_JSON {
            table.json(path, row).await;
        }
    }
    assert_eq!(
        table.house.billed(),
        u64::try_from(table.house.sandbox.count("POST ")).unwrap()
    );
    table.done();
}

#[tokio::test]
async fn path_query_headers_and_take() {
    let mut table = Table::new().await;
    let client = table.client.clone();
    let edit = "/v1/images/edits";
    let plain = |name: &str, path: &str| {
        let body = json!({"prompt": name});
        client.post(path).json(&body)
    };
    let with_query = |name: &str, query: &str| plain(name, &format!("{IMAGES}{query}"));
    for (name, first, second, expected) in [
        ("query", "", "?a=1", Two),
        ("query order", "?a=1&b=2", "?b=2&a=1", Two),
        ("query escapes", "?a=%41", "?a=A", Two),
        ("credential in the query", "", "?key=sk-one", Same),
        ("another credential", "?key=sk-one", "?key=sk-two", Same),
        ("credential beside a query", "?a=1", "?key=sk-one&a=1", Same),
        ("a longer name", "", "?keys=1", Two),
    ] {
        let (first, second) = (with_query(name, first), with_query(name, second));
        table.row(name, first, second, expected).await;
    }
    let first = plain("path", IMAGES);
    table.row("path", first, plain("path", edit), Two).await;
    for (header, value, expected) in [
        ("anthropic-version", "2023-06-01", Two),
        ("anthropic-beta", "a", Two),
        ("openai-beta", "a", Two),
        ("reprise-take", "1", Same),
        ("reprise-take", "2", Two),
        ("idempotency-key", "one", Same),
        ("user-agent", "curl", Same),
        ("accept", "text/event-stream", Same),
        ("accept-encoding", "gzip", Same),
        ("x-api-key", "sk-someone", Same),
        ("x-request-id", "1", Same),
        ("content-encoding", "identity", Same),
        ("content-encoding", "x-unknown", Two),
    ] {
        let name = format!("{header}: {value}");
        let first = plain(&name, IMAGES);
        let second = plain(&name, IMAGES).header(header, value);
        table.row(&name, first, second, expected).await;
    }
    let (first, second) = (plain("key", IMAGES), plain("key", IMAGES).key("sk-someone"));
    table.row("client key", first, second, Same).await;
    let body = r#"{"prompt":"as curl -d sends it"}"#;
    let first = client.post(IMAGES).json_text(body);
    let second = client
        .post(IMAGES)
        .raw("application/x-www-form-urlencoded", body);
    table.row("curl -d", first, second, Same).await;
    let first = client.post(IMAGES).raw("", "no content type");
    let second = client.post(IMAGES).raw("", "no content  type");
    table.row("raw bytes", first, second, Two).await;
    table.done();
}

#[tokio::test]
async fn forms_count_by_their_parts() {
    let mut table = Table::new().await;
    let client = table.client.clone();
    let base = |boundary: &str, name: &str| Form::new(boundary).text("prompt", name);
    let png = |form: Form, file: &str, bytes: &[u8]| form.file("image", (file, "image/png"), bytes);
    let mut row = async |name: &str, first: Form, second: Form, expected| {
        let path = "/v1/images/edits";
        let (first, second) = (
            client.post(path).form(&first),
            client.post(path).form(&second),
        );
        table.row(name, first, second, expected).await;
    };
    let n = "boundary";
    row(
        n,
        png(base("AaB", n), "a", b"1"),
        png(base("xXx", n), "a", b"1"),
        Same,
    )
    .await;
    let n = "file name";
    row(
        n,
        png(base("A", n), "a.png", b"1"),
        png(base("A", n), "b.png", b"1"),
        Same,
    )
    .await;
    let n = "bytes";
    row(
        n,
        png(base("A", n), "a", b"1"),
        png(base("A", n), "a", b"2"),
        Two,
    )
    .await;
    let n = "type of a part";
    let jpeg = base("A", n).file("image", ("a", "image/jpeg"), b"1");
    row(n, png(base("A", n), "a", b"1"), jpeg, Two).await;
    let n = "order of parts";
    let (one, two) = (base("A", n), base("A", n));
    row(
        n,
        one.text("a", "1").text("b", "2"),
        two.text("b", "2").text("a", "1"),
        Two,
    )
    .await;
    let n = "field name";
    row(
        n,
        base("A", n).text("a", "1"),
        base("A", n).text("b", "1"),
        Two,
    )
    .await;
    let n = "user in a form";
    row(
        n,
        base("A", n).text("user", "a"),
        base("A", n).text("user", "b"),
        Same,
    )
    .await;
    let n = "boundary within bytes";
    row(
        n,
        png(base("A", n), "a", b"1\r\n--B--"),
        png(base("C", n), "a", b"1\r\n--B--"),
        Same,
    )
    .await;
    let n = "a form that cannot be parsed";
    let kind = "multipart/form-data; boundary=A";
    let (first, second) = (
        client.post("/v1/images/edits").raw(kind, "--A\r\nbroken"),
        client.post("/v1/images/edits").raw(kind, "--A\r\nbroken "),
    );
    table.row(n, first, second, Two).await;
    table.done();
}

#[tokio::test]
async fn the_key_in_cache_status_is_the_library_s() {
    let house = House::new().await;
    let body = Bytes::from_static(br#"{"model": "gpt-image-2", "prompt": "a key"}"#);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let ask = |take: u32, query: Option<&'static str>| Request {
        kind: Kind::Images,
        path: IMAGES,
        query,
        scope: None,
        take,
        headers: &headers,
        body: &body,
    };
    let call = |target: &str| house.client().post(target).json_text(body.clone());
    call(IMAGES).send().await;
    let told = call(IMAGES).send().await;
    assert_eq!(told.key(), ask(1, None).identify().fingerprint.short());
    assert_eq!(told.key().len(), 16);

    let call = || call("/v1/images/generations?x=1&key=sk").header("reprise-take", "7");
    call().send().await;
    let expected = ask(7, Some("x=1")).identify().fingerprint.short();
    assert_eq!(call().send().await.key(), expected);
}
