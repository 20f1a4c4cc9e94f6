//! Frames, good and bad, from a client's end of the line.

use tokio::io::DuplexStream;

use super::*;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65536 => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    bytes
}

async fn heard(bytes: Vec<u8>) -> io::Result<Result<Said, Problem>> {
    let (server, mut client) = tokio::io::duplex(1024 * 1024);
    client.write_all(&bytes).await.unwrap();
    drop(client);
    Talk::new(server).hear().await
}

fn text(payload: &str) -> Said {
    Said::Message {
        opcode: TEXT,
        payload: payload.into(),
    }
}

#[tokio::test]
async fn what_is_heard() {
    let parts = [
        frame(0x01, b"a "),
        frame(0x89, b"?"),
        frame(0x00, "lö".as_bytes()),
    ];
    let (server, mut client) = tokio::io::duplex(4096);
    client.write_all(&parts.concat()).await.unwrap();
    client.write_all(&frame(0x80, b"ng one")).await.unwrap();
    let mut talk = Talk::new(server);
    let ping = talk.hear().await.unwrap().unwrap();
    assert_eq!(ping, Said::Ping(b"?".to_vec()), "between two frames");
    assert_eq!(talk.hear().await.unwrap().unwrap(), text("a löng one"));
    for length in [0, 125, 126, 65_535, 65_536, 300_000] {
        let payload = vec![7; length];
        let said = heard(frame(0x82, &payload)).await.unwrap();
        let opcode = BINARY;
        assert_eq!(said, Ok(Said::Message { opcode, payload }), "{length}");
    }
}

#[tokio::test]
async fn what_is_against_the_rules() {
    let unmasked = vec![0x81, 1, b'x'];
    let too_long = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes()].concat();
    for (name, bytes, problem) in [
        ("no mask", unmasked, Problem::Protocol),
        ("a reserved bit", frame(0xc1, b"x"), Problem::Protocol),
        ("an unknown message", frame(0x83, b"x"), Problem::Protocol),
        ("an unknown signal", frame(0x8b, b"x"), Problem::Protocol),
        (
            "nothing to go on with",
            frame(0x80, b"x"),
            Problem::Protocol,
        ),
        ("a ping in pieces", frame(0x09, b"x"), Problem::Protocol),
        ("a long ping", frame(0x89, &[0; 126]), Problem::Protocol),
        ("half a code", frame(0x88, &[3]), Problem::Protocol),
        ("no such code", frame(0x88, &[3, 0xed]), Problem::Protocol),
        ("no text", frame(0x81, &[0xff]), Problem::NotText),
        ("no reason", frame(0x88, &[3, 0xe8, 0xff]), Problem::NotText),
        ("too long", too_long, Problem::TooLarge),
        (
            "a message in a message",
            [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
            Problem::Protocol,
        ),
    ] {
        assert_eq!(heard(bytes).await.unwrap(), Err(problem), "{name}");
    }
    let cut = frame(0x81, b"abc")[..7].to_vec();
    let error = heard(cut).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn what_is_said() {
    let said = async |payload: &[u8]| {
        let (server, client) = tokio::io::duplex(1024 * 1024);
        Talk::new(server).say(TEXT, payload).await.unwrap();
        whole(client).await
    };
    assert_eq!(said(b"abc").await, b"\x81\x03abc");
    assert_eq!(said(&[0; 126]).await[..4], [0x81, 126, 0, 126]);
    assert_eq!(said(&vec![0; 65_536]).await[..4], [0x81, 127, 0, 0]);
    let (server, client) = tokio::io::duplex(4096);
    let close = Close::read(b"\x03\xe8bye".to_vec()).unwrap();
    let (ended, bytes) = tokio::join!(Talk::new(server).close(&close), whole(client));
    ended.unwrap();
    assert_eq!(bytes, b"\x88\x05\x03\xe8bye");
}

async fn whole(mut stream: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}
