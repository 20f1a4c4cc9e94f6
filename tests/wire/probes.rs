//! Every request that two servers could read differently, with the one answer that it gets here.

use crate::house::{Answer, House, Socket};
use crate::upstream::Upstream;

/// How a probe ends.
enum End {
    /// With this status and code, and upstream hears nothing.
    Refused(u16, &'static str),
    /// Upstream hears it once, well formed.
    Passed,
}

use End::{Passed, Refused};

const BAD: End = Refused(400, "invalid_request");

const IMAGE: &str =
    "POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
const ECHO: &str = "POST /v1/files HTTP/1.1\r\nhost: localhost\r\n";
const GET: &str = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n";
const SECOND: &str = "GET /v1/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// What is wrong, the head it is put behind, and how it ends.
#[rustfmt::skip] // one probe, one line
const FRAMING: [(&str, &str, End); 33] = [
    ("CL.TE", "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", BAD),
    ("TE.CL", "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", BAD),
    ("TE.TE", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n", BAD),
    ("TE twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", BAD),
    ("TE xchunked", "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", BAD),
    ("TE identity", "transfer-encoding: identity\r\n\r\n", BAD),
    ("TE chunked, identity", "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", BAD),
    ("TE chunked, chunked", "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", BAD),
    ("TE gzip, chunked", "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BAD),
    ("TE in quotes", "transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n", BAD),
    ("TE and a vertical tab", "transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n", BAD),
    ("TE, a space before the colon", "transfer-encoding : chunked\r\n\r\n0\r\n\r\n", BAD),
    ("TE folded", "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n", BAD),
    ("TE empty", "transfer-encoding:\r\n\r\n0\r\n\r\n", BAD),
    ("CL.CL", "content-length: 5\r\ncontent-length: 6\r\n\r\n", BAD),
    ("CL list", "content-length: 5, 5\r\n\r\nabcde", BAD),
    ("CL +5", "content-length: +5\r\n\r\nabcde", BAD),
    ("CL -1", "content-length: -1\r\n\r\n", BAD),
    ("CL 0x5", "content-length: 0x5\r\n\r\nabcde", BAD),
    ("CL empty", "content-length:\r\n\r\n", BAD),
    ("CL beyond 64 bits", "content-length: 18446744073709551621\r\n\r\nabcde", BAD),
    ("a folded header", "x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n", BAD),
    ("a bare CR in a value", "x-a: b\rc: d\r\ncontent-length: 0\r\n\r\n", BAD),
    ("a NUL in a value", "x-a: b\0c\r\ncontent-length: 0\r\n\r\n", BAD),
    ("a header without a colon", "x-a\r\ncontent-length: 0\r\n\r\n", BAD),
    ("an odd header name", "x(a): b\r\ncontent-length: 0\r\n\r\n", BAD),
    ("no header name", ": b\r\ncontent-length: 0\r\n\r\n", BAD),
    ("two hosts", "host: localhost\r\ncontent-length: 0\r\n\r\n", BAD),
    ("two keys", "authorization: Bearer a\r\nauthorization: Bearer a\r\ncontent-length: 0\r\n\r\n", BAD),
    ("an odd expectation", "expect: 200-ok\r\ncontent-length: 0\r\n\r\n", Refused(417, "expectation_failed")),
    ("no expectation of a body", "expect: 100-Continue\r\ncontent-length: 0\r\n\r\n", Passed),
    ("the same length twice", "content-length: 2\r\ncontent-length: 2\r\n\r\n{}", Passed),
    ("one coding in capitals", "Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Passed),
];

/// What is wrong with a chunked body, and the body.
const CHUNKS: [(&str, &str); 9] = [
    ("a prefix before the size", "0x2\r\n{}\r\n0\r\n\r\n"),
    (
        "a size beyond 64 bits",
        "10000000000000002\r\n{}\r\n0\r\n\r\n",
    ),
    ("a negative size", "-2\r\n{}\r\n0\r\n\r\n"),
    ("a size that is none", "zz\r\n{}\r\n0\r\n\r\n"),
    ("a bare LF behind the size", "2\n{}\r\n0\r\n\r\n"),
    ("an extension with a bare LF", "2;a\n{}\r\n0\r\n\r\n"),
    ("a chunk longer than it says", "2\r\n{}}\r\n0\r\n\r\n"),
    ("a chunk without its line's end", "2\r\n{}0\r\n\r\n"),
    ("a space before the size", " 2\r\n{}\r\n0\r\n\r\n"),
];

/// What is wrong with a request line (and a host where it needs another), and how it ends.
#[rustfmt::skip] // one probe, one line
const LINES: [(&str, &str, End); 46] = [
    ("no host", "GET /v1/models HTTP/1.1\r\n", BAD),
    ("no host in 1.0", "GET /v1/models HTTP/1.0\r\n", BAD),
    ("TE in 1.0", "POST /v1/files HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n", BAD),
    ("an empty host", "GET /v1/models HTTP/1.1\r\nhost:\r\n", Refused(421, "host_not_allowed")),
    ("another target than host", "GET http://evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("another host than target", "GET http://localhost/v1/models HTTP/1.1\r\nhost: evil.example\r\n", BAD),
    ("a foreign target", "GET http://evil.example/v1/models HTTP/1.1\r\nhost: evil.example\r\n", Refused(421, "host_not_allowed")),
    ("a target with a user", "GET http://localhost@evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("our own whole target", "GET http://localhost/v1/models HTTP/1.1\r\nhost: localhost\r\n", Passed),
    ("HTTP/0.9", "GET /v1/models\r\nhost: localhost\r\n", BAD),
    ("HTTP/1.2", "GET /v1/models HTTP/1.2\r\nhost: localhost\r\n", BAD),
    ("HTTP/2.0", "GET /v1/models HTTP/2.0\r\nhost: localhost\r\n", BAD),
    ("http/1.1", "GET /v1/models http/1.1\r\nhost: localhost\r\n", BAD),
    ("a space in the target", "GET /v1/mod els HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("two spaces", "GET  /v1/models HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("a NUL in the target", "GET /v1/mod\0els HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("a control byte in the target", "GET /v1/mod\x01els HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("DEL in the target", "GET /v1/mod\x7fels HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("raw UTF-8 in the path", "GET /v1/m\u{f6}dels HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("raw UTF-8 in the query", "GET /v1/models?a=\u{f6} HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("a fragment", "GET /v1/models#/../x HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("a fragment in the query", "GET /v1/models?a#b HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("no target", "GET  HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("a method that is none", "G(T /v1/models HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("a method of its own", "FOO!BAR /v1/models HTTP/1.1\r\nhost: localhost\r\n", Passed),
    ("a method in small letters", "get /v1/models HTTP/1.1\r\nhost: localhost\r\n", Passed),
    ("CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n", Refused(405, "method_not_allowed")),
    ("CONNECT to ourselves", "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n", Refused(405, "method_not_allowed")),
    ("CONNECT with a path", "CONNECT /v1/models HTTP/1.1\r\nhost: localhost\r\n", Refused(405, "method_not_allowed")),
    ("TRACE", "TRACE /v1/models HTTP/1.1\r\nhost: localhost\r\n", Refused(405, "method_not_allowed")),
    ("OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n", Refused(404, "not_found")),
    ("GET *", "GET * HTTP/1.1\r\nhost: localhost\r\n", Refused(404, "not_found")),
    ("up and out", "GET /v1/../admin HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("up and in again", "GET /v1/../v1/models HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("up, encoded", "GET /v1/%2e%2e%2fadmin HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("up by a backslash", "GET /v1/..\\admin HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("up with a parameter", "GET /v1/..;/admin HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("an encoded NUL", "GET /v1/models%00/x HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("a NUL encoded twice", "GET /v1/models%2500 HTTP/1.1\r\nhost: localhost\r\n", BAD),
    ("two slashes first", "GET //v1/models HTTP/1.1\r\nhost: localhost\r\n", Refused(404, "not_found")),
    ("capitals", "GET /V1/models HTTP/1.1\r\nhost: localhost\r\n", Refused(404, "not_found")),
    ("below v1, encoded", "GET /v1%2fmodels HTTP/1.1\r\nhost: localhost\r\n", Refused(404, "not_found")),
    // What follows /v1/ is upstream's to understand, byte for byte.
    ("two slashes", "GET /v1//models HTTP/1.1\r\nhost: localhost\r\n", Passed),
    ("v1 twice", "GET /v1/v1/models HTTP/1.1\r\nhost: localhost\r\n", Passed),
    ("a parameter", "GET /v1/models;a=b HTTP/1.1\r\nhost: localhost\r\n", Passed),
    ("an encoded slash", "GET /v1/models%2Fx HTTP/1.1\r\nhost: localhost\r\n", Passed),
];

struct Trial {
    house: House,
    upstream: Upstream,
    wrong: Vec<String>,
}

impl Trial {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let house = House::with(upstream.behind()).await;
        Self {
            house,
            upstream,
            wrong: Vec::new(),
        }
    }

    /// One probe on a connection of its own, a second request right behind it.
    async fn probe(&mut self, what: &str, sent: &str, end: &End) {
        let mut socket = self.house.connect().await;
        socket.try_send(sent.as_bytes()).await;
        let answer = socket.answer().await;
        let heard = self.upstream.heard();
        let fits = match end {
            Refused(status, code) => {
                answer.status == *status && code_of(&answer) == *code && heard.is_empty()
            }
            Passed => answer.status == 200 && heard.len() == 1,
        };
        if !fits {
            self.wrong.push(format!(
                "{what}: {} {}, upstream heard {heard:?}",
                answer.status, answer.body
            ));
        }
        socket.finish().await;
    }

    fn end(self) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert_eq!(self.upstream.heard(), [""; 0], "nothing came later");
    }
}

fn code_of(answer: &Answer) -> String {
    assert!(answer.head.contains("x-request-id: "), "{answer:?}");
    answer.code()
}

impl Socket {
    /// Says no more, and reads what there is.
    async fn finish(&mut self) {
        self.shut().await;
        self.closed_at_last().await;
    }
}

#[tokio::test]
async fn a_length_that_can_be_read_in_two_ways_is_read_in_none() {
    let mut trial = Trial::new().await;
    for before in [IMAGE, ECHO] {
        for (what, head, end) in &FRAMING {
            let sent = format!("{before}{head}");
            trial.probe(what, &sent, end).await;
            if let Refused(..) = end {
                // Whatever stands behind it is not another request.
                trial.probe(what, &format!("{sent}{SECOND}"), end).await;
            }
        }
    }
    trial.end();
}

#[tokio::test]
async fn chunks_that_do_not_add_up_never_make_a_request() {
    let mut trial = Trial::new().await;
    for (what, chunks) in CHUNKS {
        let sent = format!("{IMAGE}transfer-encoding: chunked\r\n\r\n{chunks}{SECOND}");
        let broken = Refused(400, "incomplete_body");
        trial.probe(what, &sent, &broken).await;
        // What is passed through may have begun upstream; it does not end there.
        let mut socket = trial.house.connect().await;
        let sent = format!("{ECHO}transfer-encoding: chunked\r\n\r\n{chunks}{SECOND}");
        socket.try_send(sent.as_bytes()).await;
        socket.finish().await;
        assert_eq!(trial.upstream.heard(), [""; 0], "{what}");
    }
    trial.end();
}

#[tokio::test]
async fn odd_lines_and_targets() {
    let mut trial = Trial::new().await;
    for (what, line, end) in &LINES {
        trial.probe(what, &format!("{line}\r\n"), end).await;
    }
    trial.end();
}

#[tokio::test]
async fn lines_that_end_in_a_bare_lf_go_on_as_they_should() {
    let mut trial = Trial::new().await;
    for line in [GET, "\n\r\nGET /v1/models HTTP/1.1\r\nhost: localhost\r\n"] {
        let sent = format!("{line}x-a: b\r\n\r\n").replace("\r\n", "\n");
        trial.probe("bare LF", &sent, &Passed).await;
    }
    trial.end();
}

/// A body that comes with a request which needs none, or one that is not read.
#[tokio::test]
async fn no_body_is_taken_for_a_request() {
    let trial = Trial::new().await;
    let length = SECOND.len();
    for (line, status) in [
        ("GET /v1/models", 200),
        ("GET /healthz", 200),
        ("GET /nowhere", 404),
        ("OPTIONS /v1/models", 200),
        ("DELETE /v1/files/a", 200),
        ("TRACE /v1/models", 405),
        ("POST /v1/../x", 400),
    ] {
        for head in [
            format!("content-length: {length}\r\n\r\n{SECOND}"),
            format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{SECOND}\r\n0\r\n\r\n"),
        ] {
            let mut socket = trial.house.connect().await;
            let host = "host: localhost\r\n";
            // The second one is real; the first one's body is none.
            let after = format!("GET /v1/after HTTP/1.1\r\n{host}\r\n");
            socket
                .try_send(format!("{line} HTTP/1.1\r\n{host}{head}{after}").as_bytes())
                .await;
            assert_eq!(socket.answer().await.status, status, "{line}");
            socket.finish().await;
            for heard in trial.upstream.whole() {
                let first = heard.split("\r\n").next().unwrap();
                assert!(!first.contains("smuggled"), "{line}: {heard}");
            }
        }
    }
}

#[tokio::test]
async fn hop_by_hop_headers_stay_here_in_every_spelling() {
    let trial = Trial::new().await;
    let fields = [
        "Connection: Authorization, X-Listed, x-api-key, close-not",
        "connection: Content-Type , HOST",
        "Authorization: Bearer sk-client",
        "X-Listed: 1",
        "KEEP-ALIVE: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eDp5",
        "TE: gzip",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "x-api-key: sk-client",
        "X-Goog-Api-Key: sk-client",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: host=evil.example",
        "X-Original-URL: /admin",
        "X-HTTP-Method-Override: DELETE",
    ];
    let body = r#"{"model":"m","prompt":"p","api_base":"http://127.0.0.1:9","base_url":"http://127.0.0.1:9","api_key":"sk-b","extra_headers":{"host":"evil"}}"#;
    for path in [
        "/v1/images/generations",
        "/v1/chat/completions?key=sk-client&base_url=http://127.0.0.1:9",
        "/v1/files",
    ] {
        let fields = fields.join("\r\n");
        let length = body.len();
        let sent = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut socket = trial.house.connect().await;
        socket.send(sent).await;
        assert_eq!(socket.answer().await.status, 200, "{path}");
        // `heard` checks the host, the key and the hop-by-hop headers.
        let heard = trial.upstream.heard();
        assert_eq!(heard.len(), 1, "{path}");
        assert!(!heard[0].contains("sk-client"), "{}", heard[0]);
        assert!(heard[0].starts_with("POST /v1/"), "{}", heard[0]);
        assert!(
            heard[0].ends_with(body),
            "the body is as it was: {}",
            heard[0]
        );
    }
    trial.end();
}
