//! What a body says that is hashed as its raw bytes.
//!
//! MONEY: it may be in a content coding, repeat a name, go on behind its end or be nested deeper than we
//! canonicalise, and still be one that upstream reads and charges for. So it is read here as the most
//! lenient reader would: whoever has a budget cannot hide what a request costs. Nothing of this goes into
//! a fingerprint.

use bytes::Bytes;

use super::extent::{Member, Value};
use super::facts::Facts;
use super::strings::{self, Level};
use super::{Kind, multipart, percent, top};
use crate::message::coding::{self, Coding};

/// The longest plain form of a body in a content coding that is read, in bytes.
pub const LONGEST_PLAIN: u64 = 128 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `body` in its plain form, when it is in this coding; else as it is. RelayDance's gateway undoes `gzip`
/// and `br` and passes over other names.
pub(super) fn plain(body: &Bytes, coding: &[u8]) -> Bytes {
    let coding = std::str::from_utf8(coding).ok().and_then(Coding::named);
    let plain = coding.and_then(|coding| coding::decoded(coding, body, LONGEST_PLAIN));
    plain.map_or_else(|| body.clone(), Bytes::from)
}

/// What `body` says.
pub(super) fn facts(body: &Bytes, content_type: Option<&str>, kind: Kind) -> Facts {
    let content_type = content_type.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        return multipart::facts(body, content_type, kind).unwrap_or_else(|| Facts::unread(body));
    }
    let mut facts = Facts::unread(body);
    let bare = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if bare.trim_ascii_start().starts_with(b"{") {
        // What is no UTF-8 has replacement characters for some readers.
        let text = String::from_utf8_lossy(bare);
        of_object(text.as_bytes(), kind, &mut facts);
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        of_pairs(body, kind, &mut facts);
    }
    facts
}

fn of_object(json: &[u8], kind: Kind, facts: &mut Facts) {
    if let Some([stream, temperature, seed]) =
        top::beginning(json, ["stream", "temperature", "seed"])
    {
        facts.stream = stream.is_some_and(|stream| stream.get() == "true");
        let temperature = temperature.and_then(|number| number.get().parse::<f64>().ok());
        facts.deterministic = temperature == Some(0.0) || seed.is_some_and(top::is_set);
    }
    let names = Member::TOP.map(|(name, _)| name);
    let sizes = top::loosely(json, names).into_iter().flatten();
    for ((_, member), said) in Member::TOP.into_iter().zip(sizes) {
        facts.size.note_raw(member, said);
    }
    if let Some([model, metadata]) = top::loosely(json, ["model", "metadata"]) {
        if let Some(name) = model.and_then(top::text) {
            facts.note_model(name.as_bytes());
        }
        if let Some(metadata) = metadata.filter(|_| kind == Kind::Video) {
            match top::text(metadata) {
                Some(text) => facts.size.note_metadata(text.as_bytes()),
                None => facts.size.note_metadata(metadata.get().as_bytes()),
            }
        }
    }
    if facts.model.is_none() {
        facts.model = model_in_ruins(json);
    }
}

/// The model's name in what our parser does not take for JSON: readers differ on escapes.
fn model_in_ruins(json: &[u8]) -> Option<String> {
    let mut facts = Facts::default();
    strings::each(json, |levels, string| {
        if let [Level::Object(name)] = levels
            && strings::read(name).is_some_and(|name| top::is_called(&name, "model"))
            && let Some(model) = strings::read(string)
        {
            facts.note_model(model.as_bytes());
        }
        true
    });
    facts.model
}

fn of_pairs(body: &[u8], kind: Kind, facts: &mut Facts) {
    for pair in body.split(|byte| *byte == b'&') {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || percent::decode(halves.next().unwrap_or_default());
        let (name, value) = (half(), half());
        if name.eq_ignore_ascii_case(b"model") {
            facts.note_model(&value);
        } else if let Some(member) = Member::in_form(kind, &name) {
            facts.size.note(member, Value::Text(&value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use http::HeaderMap;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::super::{Identity, Request};
    use super::*;

    fn identified(headers: &[(&'static str, &str)], body: impl AsRef<[u8]>) -> Identity {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let request = Request {
            kind: Kind::Video,
            path: "/v1/videos",
            query: None,
            scope: None,
            take: 1,
            headers: &map,
            body: &Bytes::copy_from_slice(body.as_ref()),
        };
        request.identify()
    }

    /// The model, the frames and the height.
    fn said(identity: &Identity) -> (Option<&str>, u32, u32) {
        let extent = &identity.extent;
        (identity.model.as_deref(), extent.frames, extent.height)
    }

    fn coded(text: &[u8]) -> [(&'static str, Vec<u8>); 4] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text).unwrap();
        zlib.write_all(text).unwrap();
        let mut brotli = Vec::new();
        let params = ::brotli::enc::BrotliEncoderParams::default();
        ::brotli::BrotliCompress(&mut &*text, &mut brotli, &params).unwrap();
        [
            ("gzip", gzip.finish().unwrap()),
            ("deflate", zlib.finish().unwrap()),
            ("br", brotli),
            ("zstd", compress_to_vec(text, CompressionLevel::Fastest)),
        ]
    }

    #[test]
    fn what_is_in_a_content_coding_is_read_and_hashed_as_it_is() {
        let text = br#"{"model":"m","seconds":8,"metadata":{"resolution":"480p"}}"#;
        let plain = identified(&[], text);
        let mut names = vec![plain.fingerprint];
        for (coding, body) in coded(text) {
            let identity = identified(&[("content-encoding", coding)], &body);
            assert_eq!(said(&identity), (Some("m"), 192, 496), "{coding}");
            assert_eq!(identity.extent, plain.extent, "{coding}");
            assert!(!names.contains(&identity.fingerprint), "{coding}");
            names.push(identity.fingerprint);
            // The same meaning in other bytes is another request.
            let spaced = [text.as_slice(), b" "].concat();
            let (_, other) = coded(&spaced)
                .into_iter()
                .find(|(name, _)| *name == coding)
                .unwrap();
            let other = identified(&[("content-encoding", coding)], other);
            assert_eq!(said(&other), said(&identity));
            assert_ne!(other.fingerprint, identity.fingerprint, "{coding}");
        }
    }

    #[test]
    fn a_coding_that_is_only_said_hides_nothing() {
        let text = br#"{"model":"m","seconds":8}"#;
        for headers in [
            &[("content-encoding", "unknown")][..],
            &[("content-encoding", "gzip")],
            &[("content-encoding", "gzip, br")],
        ] {
            let identity = identified(headers, text);
            assert_eq!(said(&identity), (Some("m"), 192, 720), "{headers:?}");
        }
        let [(_, gzip), ..] = coded(text);
        let twice = [
            ("content-encoding", "gzip"),
            ("content-encoding", "identity"),
        ];
        assert_eq!(identified(&twice, &gzip).model.as_deref(), Some("m"));
        let cut = gzip.get(..gzip.len() - 4).unwrap();
        let broken = identified(&[("content-encoding", "gzip")], cut);
        assert_eq!(said(&broken), (None, 120, 720));
    }

    #[test]
    fn what_only_lenient_readers_take_is_read() {
        for body in [
            &br#"{"model":"m","seconds":8} and more"#[..],
            br#"{"model":"m","seconds":8}{"model":"other","seconds":1}"#,
            br#"{"model":"other","seconds":1,"model":"m","seconds":8}"#,
            br#"{"model":"m","seconds":8,"model":null,"seconds":null}"#,
            br#"{"model":"m","seconds":8,"a":1,"a":2}"#,
            br#"{"MODEL":"m","Seconds":8,"a":1,"a":2}"#,
            b"\xef\xbb\xbf{\"model\":\"m\",\"seconds\":8}",
            b"{\"model\":\"m\",\"seconds\":8,\"size\":\"\xff\"}",
        ] {
            let identity = identified(&[], body);
            let text = String::from_utf8_lossy(body);
            assert_eq!(said(&identity), (Some("m"), 192, 720), "{text}");
        }
        for ruin in [
            r#"{"\ud800":1,"model":"m"}"#,
            r#"{"model":"m","a":'"#,
            r#"{"a":{"model":"x"},"Model":"\u006d","b":[{"model":"y"}],}"#,
        ] {
            assert_eq!(identified(&[], ruin).model.as_deref(), Some("m"), "{ruin}");
        }
        assert_eq!(identified(&[], r#"["model","m"]"#).model, None);
    }

    #[test]
    fn names_in_any_case_are_one_in_both_ways_of_reading() {
        for (body, expected) in [
            (r#"{"Model":"m","SECONDS":8}"#, (Some("m"), 192, 720)),
            (r#"{"model":"a","Model":"m"}"#, (Some("m"), 120, 720)),
            (r#"{"Model":"a","model":"m"}"#, (Some("m"), 120, 720)),
            (r#"{"model":"m","Model":7}"#, (Some("m"), 120, 720)),
            (r#"{"duration":8,"Duration":null}"#, (None, 192, 720)),
            (
                r#"{"Metadata":{"Resolution":"480p","frames":9}}"#,
                (None, 9, 496),
            ),
            (
                r#"{"Metadata":"{\"resolution\":\"480p\"}"}"#,
                (None, 120, 496),
            ),
        ] {
            let canonical = identified(&[], body);
            let raw = identified(&[("content-encoding", "unknown")], body);
            assert_eq!(said(&canonical), expected, "{body}");
            assert_eq!(said(&raw), expected, "{body}");
        }
        // The fingerprint takes no notice of it.
        let (lower, upper) = (r#"{"model":"m"}"#, r#"{"Model":"m"}"#);
        assert_ne!(
            identified(&[], lower).fingerprint,
            identified(&[], upper).fingerprint
        );
    }

    #[test]
    fn forms_that_are_hashed_raw_are_read() {
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let form = part("model", "m") + &part("seconds", "8") + "--b--\r\n";
        let headers = &[("content-type", "multipart/form-data; boundary=b")][..];
        for odd in [
            format!("before\r\n{form}"),
            format!("{form}after"),
            part("model", "m") + &part("seconds", "8") + &part("model", "other") + "--b--\r\n",
            form.replace(
                "Content-D",
                "Content-Type: a\r\nContent-Type: b\r\nContent-D",
            ),
        ] {
            let identity = identified(headers, &odd);
            assert_eq!(said(&identity), (Some("m"), 192, 720), "{odd}");
        }
        let [(coding, gzip), ..] = coded(form.as_bytes());
        let headers = [headers, &[("content-encoding", coding)]].concat();
        assert_eq!(said(&identified(&headers, gzip)), (Some("m"), 192, 720));
        let pairs = &[("content-type", "application/x-www-form-urlencoded")];
        let identity = identified(pairs, "prompt=a&model=%6d&seconds=8");
        assert_eq!(said(&identity), (Some("m"), 192, 720));
    }
}
