use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use futures_util::stream;
use http_body_util::{Full, StreamBody};
use proptest::prelude::*;

use super::*;

const KEY: &str = "aabaabaac";

/// A body that comes in these pieces and says this length, with an error or trailers at its end.
struct Pieces {
    pieces: VecDeque<Result<Frame<Bytes>, BodyError>>,
    length: Option<u64>,
}

impl Pieces {
    fn new(pieces: &[&str], length: Option<u64>) -> Self {
        let pieces = pieces.iter().map(|piece| piece.to_string().into());
        let pieces = pieces.map(|piece| Ok(Frame::data(piece))).collect();
        Self { pieces, length }
    }

    fn then(mut self, end: Result<Frame<Bytes>, BodyError>) -> Self {
        self.pieces.push_back(end);
        self
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.pieces.pop_front();
        if let (Some(Ok(frame)), Some(length)) = (&frame, &mut self.length) {
            *length -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or(SizeHint::default(), SizeHint::with_exact)
    }
}

async fn clean(body: Pieces) -> Response<Scrubbed<Pieces>> {
    let mut response = Response::new(body);
    if let Some(length) = response.body().length {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Scrub::new(&KEY.into()).clean(response).await
}

fn told(response: &Response<Scrubbed<Pieces>>) -> Option<u64> {
    let length = response.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().unwrap().parse().ok()
}

/// Reads to the end as hyper's writer does, which takes `is_end_stream` at its word.
async fn read(mut body: Scrubbed<Pieces>) -> Result<(String, Option<HeaderMap>), BodyError> {
    let (mut text, mut trailers) = (Vec::new(), None);
    while !body.is_end_stream() {
        let before = body.size_hint().exact();
        let Some(frame) = body.frame().await else {
            break;
        };
        match frame?.into_data() {
            Ok(data) => {
                assert!(!data.is_empty());
                if let Some(before) = before {
                    let after = body.size_hint().exact();
                    assert_eq!(after, Some(before - data.len() as u64));
                }
                text.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((String::from_utf8(text)?, trailers))
}

/// Words that are likely to be, to hold, or to begin the key.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just(KEY.to_owned()),
        (0..KEY.len()).prop_map(|cut| KEY[..cut].to_owned()),
        (0..KEY.len()).prop_map(|cut| KEY[cut..].to_owned()),
        "[abcx]{0,4}",
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.concat())
}

fn cut<'a>(text: &'a str, at: &[prop::sample::Index]) -> Vec<&'a str> {
    let mut cuts: Vec<_> = at.iter().map(|at| at.index(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn any_pieces_give_what_the_whole_gives(
        text in text(),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let pieces = cut(&text, &at);
        let length = text.len() as u64;
        let expected = text.replace(KEY, "***");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let streamed = clean(Pieces::new(&pieces, None)).await;
            assert_eq!(read(streamed.into_body()).await.unwrap().0, expected);

            let whole = clean(Pieces::new(&pieces, Some(length))).await;
            assert_eq!(told(&whole), Some(expected.len() as u64));
            assert_eq!(whole.body().size_hint().exact(), told(&whole));
            assert_eq!(read(whole.into_body()).await.unwrap().0, expected);
        });
        let needle = Arc::new(Needle::new(KEY.as_bytes()));
        let mut sieve = Sieve::of_same_length(needle);
        let mut seen = Vec::new();
        for piece in pieces {
            sieve.push(piece.to_owned().into(), &mut |piece| seen.extend_from_slice(&piece));
        }
        sieve.finish(&mut |piece| seen.extend_from_slice(&piece));
        assert_eq!(seen, text.replace(KEY, &"*".repeat(KEY.len())).into_bytes());
    }
}

#[tokio::test]
async fn a_long_body_keeps_the_length_that_it_told() {
    let long = "x".repeat(70_000);
    let pieces = [&long, "aabaab", "aac", &long];
    let length = pieces.iter().map(|piece| piece.len() as u64).sum();
    let response = clean(Pieces::new(&pieces, Some(length))).await;
    assert_eq!(told(&response), Some(length));
    assert_eq!(response.body().size_hint().exact(), Some(length));
    let text = read(response.into_body()).await.unwrap().0;
    assert_eq!(text, format!("{long}*********{long}"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_made_whole() {
    for length in [None, Some(100)] {
        for pieces in [&["a key: aabaabaac, "][..], &["no key, ", "aabaab"], &[]] {
            let body = Pieces::new(pieces, length).then(Err("cut".into()));
            let response = clean(body).await;
            assert_eq!(told(&response), length, "nothing is corrected");
            let mut body = response.into_body();
            let mut seen = Vec::new();
            let error = loop {
                assert!(!body.is_end_stream());
                match body.frame().await.unwrap() {
                    Ok(frame) => seen.extend_from_slice(&frame.into_data().unwrap()),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.to_string(), "cut");
            let seen = String::from_utf8(seen).unwrap();
            assert!(!seen.contains("aab"), "a part of the key: {seen}");
            assert!(body.frame().await.is_none());
        }
    }
}

#[tokio::test]
async fn trailers_come_last_and_without_the_key() {
    for length in [None, Some(3)] {
        let mut sent = HeaderMap::new();
        sent.append("x-sum", HeaderValue::from_static("is aabaabaac."));
        sent.append("x-sum", HeaderValue::from_static("7"));
        let body = Pieces::new(&["aab"], length).then(Ok(Frame::trailers(sent)));
        let (text, trailers) = read(clean(body).await.into_body()).await.unwrap();
        assert_eq!(text, "aab", "what was held back comes before the trailers");
        let trailers = trailers.unwrap();
        let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
        assert_eq!(sums, ["is ***.", "7"]);
    }
}

#[tokio::test]
async fn a_coded_body_keeps_its_trailers_without_the_key() {
    for (text, shown) in [("no key", None), (KEY, Some("***"))] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(text.as_bytes()).unwrap();
        let coded = Bytes::from(gzip.finish().unwrap());
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", HeaderValue::from_static("is aabaabaac."));
        let mut body = Pieces::new(&[], Some(coded.len() as u64));
        body.pieces.push_back(Ok(Frame::data(coded.clone())));
        let mut response = Response::new(body.then(Ok(Frame::trailers(trailers))));
        let coding = HeaderValue::from_static("gzip");
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, coding);
        let response = Scrub::new(&KEY.into()).clean(response).await;
        let is_coded = response.headers().contains_key(header::CONTENT_ENCODING);
        assert_eq!(is_coded, shown.is_none(), "{text}");
        let read = response.into_body().collect().await.unwrap();
        assert_eq!(read.trailers().unwrap()["x-sum"], "is ***.");
        assert_eq!(read.to_bytes(), shown.map_or(coded, Bytes::from), "{text}");
    }
}

#[tokio::test]
async fn heads_are_without_the_key() {
    let mut response = Response::new(Pieces::new(&[], None));
    let headers = response.headers_mut();
    headers.append("x-echo", HeaderValue::from_static("Bearer aabaabaac"));
    headers.append(
        "x-echo",
        HeaderValue::from_bytes(b"\xffaabaabaacaabaabaac").unwrap(),
    );
    headers.append("x-other", HeaderValue::from_static("aabaaba"));
    let reason = ReasonPhrase::try_from(&b"No aabaabaac here"[..]).unwrap();
    response.extensions_mut().insert(reason);
    let response = Scrub::new(&KEY.into()).clean(response).await;
    let echoes: Vec<_> = response.headers().get_all("x-echo").iter().collect();
    assert_eq!(echoes[0], "Bearer ***");
    assert_eq!(echoes[1].as_bytes(), b"\xff******");
    assert_eq!(response.headers()["x-other"], "aabaaba");
    let reason = response.extensions().get::<ReasonPhrase>().unwrap();
    assert_eq!(reason.as_bytes(), b"No *** here");
}

#[tokio::test]
async fn only_a_possible_beginning_of_the_key_is_held_back() {
    let (send, receive) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let frames = stream::unfold(receive, |mut receive| async {
        let piece = receive.recv().await?;
        Some((Ok::<_, BodyError>(Frame::data(piece)), receive))
    });
    let response = Response::new(StreamBody::new(Box::pin(frames)));
    let response = Scrub::new(&KEY.into()).clean(response).await;
    let mut body = response.into_body();
    for (piece, seen) in [
        ("data: a\n\n", "data: a\n\n"),
        ("data: aab", "data: "),
        ("x", "aabx"),
    ] {
        send.send(Bytes::from(piece)).unwrap();
        let frame = tokio::time::timeout(Duration::from_secs(5), body.frame());
        let frame = frame.await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), seen);
    }
}

#[tokio::test]
async fn short_keys_and_answers_without_a_body_are_left_alone() {
    let never = |never: Infallible| match never {};
    let response = Response::new(Full::from("a test").map_err(never));
    let response = Scrub::new(&"test".into()).clean(response).await;
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "a test"
    );

    let mut to_head = Response::new(Pieces::new(&[], Some(0)));
    let headers = to_head.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(55));
    let to_head = Scrub::new(&KEY.into()).clean(to_head).await;
    assert_eq!(told(&to_head), Some(55));
    assert!(to_head.body().is_end_stream());
}
