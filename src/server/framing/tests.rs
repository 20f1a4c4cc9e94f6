use super::*;

fn after(pieces: &[&[u8]]) -> Framing {
    let mut framing = Framing::default();
    for piece in pieces {
        framing.read(piece);
    }
    framing
}

/// What a client sent, where that leaves it, how many heads, and which one was ambiguous.
type Case = (&'static str, Place, u64, Option<u64>);

const CASES: [Case; 24] = [
    ("", Place::Opening, 0, None),
    ("\r\n\r\n", Place::Opening, 0, None),
    ("G", Place::Head, 0, None),
    ("GET / HTTP/1.1\r\nhost: a\r\n", Place::Head, 0, None),
    ("GET / HTTP/1.1\r\n\r\n", Place::Between, 1, None),
    ("GET / HTTP/1.1\n\n\r\n", Place::Between, 1, None),
    ("GET / HTTP/1.1\r\n\r\nGET", Place::Head, 1, None),
    (
        "P / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab",
        Place::Body,
        1,
        None,
    ),
    (
        "P / HTTP/1.1\r\nCONTENT-length:3\r\n\r\nabcGET",
        Place::Head,
        1,
        None,
    ),
    (
        "P / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        Place::Between,
        1,
        None,
    ),
    (
        "P / HTTP/1.1\r\nTE: chunked\r\ncontent-length: 1\r\n\r\n1",
        Place::Between,
        1,
        None,
    ),
    (
        "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"0\"\r\n0\r\n\r\n\r\n",
        Place::Body,
        1,
        None,
    ),
    (
        "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA \r\n0123456789\r\n0\r\n",
        Place::Body,
        1,
        None,
    ),
    (
        "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nsum: 7\r\n\r\n",
        Place::Between,
        1,
        None,
    ),
    (
        "P / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        Place::Between,
        2,
        None,
    ),
    (
        "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        Place::Body,
        1,
        Some(0),
    ),
    (
        "P / HTTP/1.1\r\ncontent-length: 3\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        Place::Body,
        1,
        Some(0),
    ),
    (
        "P / HTTP/1.1\ncOnTeNt-LeNgTh:\t0\ntRaNsFeR-eNcOdInG:\tchunked\n\n",
        Place::Body,
        1,
        Some(0),
    ),
    (
        "GET / HTTP/1.1\r\n\r\nP / HTTP/1.1\r\ncontent-length: x\r\ntransfer-encoding: gzip\r\n\r\n",
        Place::Body,
        2,
        Some(1),
    ),
    (
        "P / HTTP/1.1\r\ncontent-length: 57\r\n\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n12345678",
        Place::Between,
        1,
        None,
    ),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Place::Head, 0, None),
    (
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n123456789",
        Place::Beyond,
        0,
        None,
    ),
    ("PRI * HTTP/1.1\r\n\r\n", Place::Between, 1, None),
    (
        "P / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n",
        Place::Body,
        1,
        None,
    ),
];

#[test]
fn messages_are_followed_however_they_are_cut() {
    for (sent, place, heads, ambiguous) in CASES {
        for cut in 0..=sent.len() {
            let (one, two) = sent.as_bytes().split_at(cut);
            let bytes: Vec<&[u8]> = two.chunks(1).collect();
            for framing in [after(&[one, two]), after(&[&[one][..], &bytes].concat())] {
                assert_eq!(framing.place(), place, "{sent:?} cut at {cut}");
                assert_eq!(framing.heads(), heads, "{sent:?}");
                assert_eq!(framing.doubt().map(|(nth, _)| nth), ambiguous, "{sent:?}");
            }
        }
    }
}

#[test]
fn a_length_that_is_too_long_to_follow_is_refused() {
    let sent = format!(
        "P / HTTP/1.1\r\ncontent-length:{}5\r\n\r\n",
        " ".repeat(300)
    );
    assert_eq!(
        after(&[sent.as_bytes()]).doubt().map(|(nth, _)| nth),
        Some(0)
    );
    let long = format!("P / HTTP/1.1\r\nx-long:{}\r\n\r\n", "x".repeat(70_000));
    let framing = after(&[long.as_bytes()]);
    assert_eq!((framing.place(), framing.doubt()), (Place::Between, None));
    assert!(
        framing.line.start.capacity() < 4 * KEPT,
        "lines are not kept whole"
    );
}

/// hyper counts every digit of a chunk's size, and takes a bare line feed for a part of a trailer.
#[test]
fn what_hyper_may_read_otherwise_is_not_followed() {
    let head = "P / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let zeros = "0".repeat(KEPT);
    for (body, broken) in [
        (format!("{zeros}5\r\n"), true),
        (format!("{}\r\n", &zeros[1..]), false),
        (format!("1;{zeros}{zeros}\r\nx\r\n0\r\n"), false),
        ("0\r\n\n".to_owned(), true),
        ("0\r\na: b\n\nGET / HTTP/1.1\n\n\r\n\r\n".to_owned(), true),
        ("0\r\na: b\r\nc: d\n".to_owned(), true),
        (format!("0\r\na: {zeros}{zeros}\n"), true),
        (format!("0\r\na: {zeros}{zeros}\r\n\r\n"), false),
        ("0\r\na: b\r\n\r\n".to_owned(), false),
    ] {
        let sent = format!("{head}{body}");
        for cut in 0..=sent.len() {
            let (one, two) = sent.as_bytes().split_at(cut);
            let framing = after(&[one, two]);
            assert_eq!(framing.is_broken(), broken, "{body:?} cut at {cut}");
            assert_eq!(framing.heads(), 1, "{body:?}");
        }
        let mut after_it = after(&[sent.as_bytes()]);
        after_it.read(b"GET / HTTP/1.1\r\n\r\n");
        assert!(!broken || after_it.heads() == 1, "{body:?}");
    }
}
