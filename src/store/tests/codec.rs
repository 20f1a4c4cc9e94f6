//! The form of a `.gen` file.

use proptest::prelude::*;

use super::super::codec::{Flaw, decode, encode};
use super::*;

fn file_of(entry: &Entry) -> Vec<u8> {
    encode(entry).unwrap()
}

#[test]
fn an_entry_comes_back_as_it_was() {
    for entry in [
        image(1),
        video(2, "task_1"),
        large(3, 0),
        large(4, 64 * 1024),
    ] {
        let file = Bytes::from(file_of(&entry));
        assert_eq!(decode(&entry.record.key, &file).unwrap(), entry);
    }
}

#[test]
fn the_first_line_is_what_the_documentation_says() {
    let file = file_of(&image(7));
    let (line, rest) = file.split_at(file.iter().position(|byte| *byte == b'\n').unwrap());
    let line: serde_json::Value = serde_json::from_slice(line).unwrap();
    assert_eq!(line["format"], 2);
    assert_eq!(line["record"]["key"], key(7).to_string());
    assert_eq!(line["record"]["headers"][3][1]["base64"], "Y2Fm6SD/");
    assert_eq!(rest, b"\n{\"n\":7}\nand a line more");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let entry = video(5, "task_bits");
    let file = file_of(&entry);
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let found = decode(&entry.record.key, &Bytes::from(damaged));
        assert!(
            found.is_err(),
            "bit {bit} of byte {:?}",
            char::from(file[bit / 8])
        );
    }
}

#[test]
fn every_truncation_and_extension_is_noticed() {
    let entry = video(5, "task_cut");
    let file = Bytes::from(file_of(&entry));
    for len in 0..file.len() {
        let found = decode(&entry.record.key, &file.slice(..len));
        assert!(matches!(found, Err(Flaw::Damaged(_))), "cut to {len}");
    }
    let longer = Bytes::from([file.as_ref(), b"x"].concat());
    assert!(decode(&entry.record.key, &longer).is_err());
}

/// Writes the file of a record text with a right checksum, as another version might.
fn forge(text: &str, sections: &[u8]) -> Bytes {
    let check = blake3::hash(&[text.as_bytes(), sections].concat());
    let line = format!("{{\"format\":2,\"blake3\":\"{check}\",\"record\":{text}}}\n");
    Bytes::from([line.as_bytes(), sections].concat())
}

#[test]
fn fields_of_later_versions_are_skipped_and_newer_formats_named() {
    let entry = image(9);
    let file = file_of(&entry);
    let text = String::from_utf8(file.clone()).unwrap();
    let line = text.lines().next().unwrap();
    let record = &line[line.find("\"record\":").unwrap() + 9..line.len() - 1];
    let sections = &file[line.len() + 1..];
    let more = record.replacen('{', "{\"colour\":{\"deep\":[1]},", 1);
    assert_eq!(decode(&key(9), &forge(&more, sections)).unwrap(), entry);
    let newer = Bytes::from(text.replacen("\"format\":2", "\"format\":3", 1));
    assert_eq!(decode(&key(9), &newer), Err(Flaw::Newer(3)));
}

#[test]
fn a_right_checksum_over_nonsense_is_no_entry() {
    let file = file_of(&image(9));
    let text = String::from_utf8(file).unwrap();
    let line = text.lines().next().unwrap();
    let record = &line[line.find("\"record\":").unwrap() + 9..line.len() - 1];
    let huge = record.replace("{\"len\":23}", "{\"len\":18446744073709551615}");
    assert_ne!(huge, record, "the test must change something");
    let cases = [
        (
            "another key's",
            forge(&record.replace("0909", "0808"), b"01234567890123456789012"),
        ),
        ("no object", forge("7", b"")),
        ("a body longer than memory", forge(&huge, b"short")),
        ("a body missing", forge(record, b"")),
        ("bytes left over", forge(record, &[b'x'; 24])),
        ("nothing", Bytes::new()),
        ("one line", Bytes::from_static(b"\n")),
        ("deep", Bytes::from("[".repeat(100_000))),
    ];
    for (name, file) in cases {
        assert!(
            matches!(decode(&key(9), &file), Err(Flaw::Damaged(_))),
            "{name}"
        );
    }
}

#[test]
fn an_entry_that_has_no_form_is_refused() {
    let mut entry = video(1, "task");
    entry.polls.pop();
    assert!(
        matches!(encode(&entry), Err(StoreError::Refused(_))),
        "poll without body"
    );
    let mut entry = image(1);
    entry.polls.push(Payload::Bytes(Bytes::new()));
    assert!(
        matches!(encode(&entry), Err(StoreError::Refused(_))),
        "body without poll"
    );
    let mut entry = image(1);
    entry.record.headers = vec![("x".into(), "y".repeat(5 * 1024 * 1024).as_str().into())];
    assert!(
        matches!(encode(&entry), Err(StoreError::Refused(_))),
        "runaway headers"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_an_entry_or_a_flaw(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&key(1), &Bytes::from(bytes)).is_err());
    }

    #[test]
    fn any_text_headers_and_money_come_back(
        texts in (any::<String>(), any::<String>(), any::<String>()),
        model in any::<Option<String>>(),
        values in proptest::collection::vec((any::<String>(), any::<Vec<u8>>()), 0..5),
        numbers in (any::<u16>(), any::<u64>(), proptest::num::f64::NORMAL, any::<Option<u64>>()),
        body in any::<Vec<u8>>(),
    ) {
        let mut entry = video(3, &texts.0);
        entry.record.path = texts.1;
        entry.record.client = texts.2;
        entry.record.model = model;
        entry.record.headers = values
            .into_iter()
            .map(|(name, value)| (name, HeaderBytes::from(value.as_slice())))
            .collect();
        (entry.record.status, entry.record.elapsed_ms) = (numbers.0, numbers.1);
        entry.record.usd = Some(numbers.2);
        if let Some(task) = &mut entry.record.task {
            task.total_tokens = numbers.3;
        }
        entry.body = Payload::Bytes(Bytes::from(body));
        let file = Bytes::from(file_of(&entry));
        prop_assert_eq!(decode(&key(3), &file).unwrap(), entry);
    }
}
