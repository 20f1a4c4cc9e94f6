//! A way through an HTTP proxy: CONNECT (RFC 9110 §9.3.6), after which the line is upstream's.

use http::Uri;
use http::header::HeaderValue;
use http::uri::Scheme;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Obstacle;

/// The largest head of a proxy's answer, in bytes.
const MOST: usize = 16 * 1024;

/// Asks the proxy at the other end of `line` to connect it to the host and port of `to`.
///
/// SECURITY: nothing of the request goes to the proxy, only where to.
pub(super) async fn tunnel<T>(
    line: T,
    to: &Uri,
    authorization: Option<&HeaderValue>,
) -> Result<T, Obstacle>
where
    T: Read + Write + Unpin,
{
    let mut line = TokioIo::new(line);
    let broke = |error| Obstacle(format!("broke off: {error}"));
    let asked = question(to, authorization);
    line.write_all(&asked).await.map_err(broke)?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head is not ours to read, and it is short.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MOST {
            return Err(Obstacle("gave an endless answer to CONNECT".to_owned()));
        }
        let byte = line.read_u8().await.map_err(broke)?;
        head.push(byte);
    }
    match status(&head) {
        Some(200..300) => Ok(line.into_inner()),
        Some(407) => Err(Obstacle(
            match authorization {
                Some(_) => "does not take the credentials in its address (407)",
                None => {
                    "wants credentials (407): put them into its address, http://USER:PASSWORD@HOST"
                }
            }
            .to_owned(),
        )),
        Some(status) => Err(Obstacle(format!(
            "answered CONNECT with {status}: it makes no connection to upstream"
        ))),
        None => Err(Obstacle("does not speak HTTP/1.1".to_owned())),
    }
}

fn question(to: &Uri, authorization: Option<&HeaderValue>) -> Vec<u8> {
    let usual = if to.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    };
    let host = to.host().unwrap_or_default();
    let port = to.port_u16().unwrap_or(usual);
    let mut text =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(value) = authorization {
        text.extend_from_slice(b"Proxy-Authorization: ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// The status of an answer that begins with `HTTP/1.1 200 …`.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    let ends = matches!(rest.get(5), Some(b' ' | b'\r'));
    (ends && rest.get(1) == Some(&b' ')).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(answer: &[u8]) -> (Result<Vec<u8>, String>, String) {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(answer).await.unwrap();
        let to = Uri::from_static("https://api.example/v1");
        let basic = HeaderValue::from_static("Basic abc");
        let made = tunnel(TokioIo::new(ours), &to, Some(&basic)).await;
        let mut asked = vec![0; 1024];
        let length = theirs.read(&mut asked).await.unwrap();
        let asked = String::from_utf8(asked[..length].to_vec()).unwrap();
        drop(theirs);
        let rest = match made {
            Ok(line) => {
                let mut rest = Vec::new();
                TokioIo::new(line).read_to_end(&mut rest).await.unwrap();
                Ok(rest)
            }
            Err(obstacle) => Err(obstacle.to_string()),
        };
        (rest, asked)
    }

    #[tokio::test]
    async fn what_follows_the_head_is_upstreams() {
        let (rest, asked) =
            ask(b"HTTP/1.1 200 Connection established\r\nVia: a\r\n\r\nHELLO").await;
        assert_eq!(rest.unwrap(), b"HELLO");
        assert_eq!(
            asked,
            "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\
             Proxy-Authorization: Basic abc\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn every_other_answer_is_no_way() {
        let endless = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &vec![b'a'; 20_000]].concat();
        let table: [(&[u8], &str); 8] = [
            (b"HTTP/1.1 407 Who\r\n\r\n", "credentials"),
            (b"HTTP/1.0 502 Bad\r\n\r\n", "502"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://a\r\n\r\n", "302"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", "100"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "does not speak"),
            (b"SSH-2.0\r\n\r\n", "does not speak"),
            (b"\r\n\r\n", "does not speak"),
            (&endless, "endless"),
        ];
        for (answer, words) in table {
            let (made, _) = ask(answer).await;
            let reason = made.unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }
}
