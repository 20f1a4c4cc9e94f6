use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::{Kind, Request};
use super::{Extent, Quality};

fn identified(kind: Kind, headers: &HeaderMap, body: &Bytes) -> Extent {
    let request = Request {
        kind,
        path: "/v1/x",
        query: None,
        scope: None,
        take: 1,
        headers,
        body,
    };
    request.identify().extent
}

/// The same of a body that is hashed raw.
fn of_raw(kind: Kind, headers: &HeaderMap, body: &Bytes) -> Extent {
    let mut headers = headers.clone();
    headers.insert("content-encoding", "unknown".parse().unwrap());
    identified(kind, &headers, body)
}

/// What the pass of the fingerprint finds, which is what a body that is hashed raw shows.
fn of(kind: Kind, body: &Json) -> Extent {
    let body = Bytes::from(body.to_string());
    let extent = identified(kind, &HeaderMap::new(), &body);
    assert_eq!(of_raw(kind, &HeaderMap::new(), &body), extent, "{body:?}");
    extent
}

fn video(body: &Json) -> Extent {
    of(Kind::Video, body)
}

#[test]
fn the_length_of_a_clip() {
    for (name, body, frames) in [
        ("nothing", json!({}), 120),
        ("text", json!({"seconds": "8"}), 192),
        ("number", json!({"seconds": 8}), 192),
        ("a fraction is rounded up", json!({"seconds": 0.51}), 13),
        (
            "duration first",
            json!({"duration": "4", "seconds": "8"}),
            96,
        ),
        (
            "seconds next",
            json!({"seconds": 4, "metadata": {"duration": 8}}),
            96,
        ),
        ("metadata last", json!({"metadata": {"duration": "7"}}), 168),
        (
            "metadata as text",
            json!({"metadata": "{\"duration\": 7}"}),
            168,
        ),
        (
            "frames first of all",
            json!({"duration": 8, "metadata": {"frames": 29}}),
            29,
        ),
        (
            "nonsense",
            json!({"seconds": "soon", "duration": [], "metadata": 5}),
            120,
        ),
        (
            "nonsense is passed by",
            json!({"duration": "soon", "seconds": 4}),
            96,
        ),
        (
            "zero says nothing",
            json!({"duration": 0, "seconds": 4}),
            96,
        ),
        ("the model chooses", json!({"duration": -1}), 360),
        (
            "the model chooses by itself",
            json!({"model": "doubao-seedance-2-5-720p"}),
            360,
        ),
        (
            "not when it is told",
            json!({"model": "doubao-seedance-2-5-720p", "seconds": 5}),
            120,
        ),
        (
            "absurd",
            json!({"seconds": 1e300, "metadata": {"frames": 0}}),
            14_400,
        ),
        ("below zero", json!({"seconds": -7}), 120),
        (
            "no number",
            json!({"seconds": "inf", "duration": "NaN"}),
            120,
        ),
    ] {
        assert_eq!(video(&body).frames, frames, "{name}");
    }
    assert!((video(&json!({"seconds": 8})).seconds() - 8.0).abs() < 1e-9);
}

#[test]
fn the_picture_of_a_clip() {
    let at = |resolution: &str, ratio: &str| json!({"metadata": {"resolution": resolution, "ratio": ratio}});
    for (name, body, size) in [
        ("nothing", json!({}), (1280, 720)),
        (
            "by name",
            json!({"model": "doubao-seedance-2-0-1080p"}),
            (1920, 1080),
        ),
        (
            "by a name without one",
            json!({"model": "doubao-seedance-2-0-fast-260128"}),
            (1280, 720),
        ),
        (
            "2k by name",
            json!({"model": "minimax-h3-2k"}),
            (2560, 1440),
        ),
        (
            "metadata before the name",
            json!({"model": "x-4k", "metadata": {"resolution": "480P"}}),
            (864, 496),
        ),
        (
            "the name before size",
            json!({"model": "x-480p", "size": "1280x720"}),
            (864, 496),
        ),
        (
            "size",
            json!({"model": "sora-2", "size": "720X1280"}),
            (720, 1280),
        ),
        ("an absurd size", json!({"size": "99999999x2"}), (1280, 720)),
        ("square", at("720p", "1:1"), (960, 960)),
        ("upright", at("720p", "9:16"), (720, 1280)),
        ("upright and small", at("480p", "3:4"), (560, 752)),
        ("wide", at("1080p", "21:9"), (2206, 946)),
        ("adaptive", at("1080p", "adaptive"), (1920, 1080)),
        ("unknown words", at("huge", "1:0"), (1280, 720)),
        (
            "another ratio keeps the area",
            at("720p", "2:1"),
            (1357, 678),
        ),
        (
            "as text",
            json!({"metadata": "{\"resolution\":\"480p\",\"ratio\":\"1:1\"}"}),
            (640, 640),
        ),
        (
            "not at the top",
            json!({"resolution": "480p", "ratio": "1:1"}),
            (1280, 720),
        ),
    ] {
        let extent = video(&body);
        assert_eq!((extent.width, extent.height), size, "{name}");
    }
}

#[test]
fn how_many_and_how_long() {
    let chat = |body: Json| of(Kind::Chat, &body);
    for (body, most) in [
        (json!({}), None),
        (json!({"max_tokens": 5}), Some(5)),
        (json!({"max_completion_tokens": 6}), Some(6)),
        (json!({"max_output_tokens": "7"}), Some(7)),
        (
            json!({"max_tokens": 5, "max_completion_tokens": 9}),
            Some(9),
        ),
        (json!({"max_tokens": null}), None),
        (json!({"max_tokens": -3}), Some(0)),
        (json!({"max_tokens": 1e99}), Some(u32::MAX)),
    ] {
        assert_eq!(chat(body.clone()).max_tokens, most, "{body}");
    }
    let image = |body: Json| of(Kind::Images, &body);
    assert_eq!(image(json!({"n": 3})).count, 3);
    assert_eq!(image(json!({"n": "3"})).count, 3);
    assert_eq!(image(json!({"n": 0})).count, 1);
    assert_eq!(image(json!({"n": 1e9})).count, 128);
    assert_eq!(image(json!({"quality": "hd"})).quality, Quality::High);
    assert_eq!(image(json!({"quality": 7})).quality, Quality::Auto);
    let plain = image(json!({"size": "auto"}));
    assert_eq!((plain.width, plain.height), (1024, 1024));
    let body = json!({"messages": ["Zürich"]});
    assert_eq!(chat(body.clone()).body, body.to_string().len() as u64);
    // The members of a video mean nothing elsewhere, and the other way round.
    assert_eq!(chat(json!({"metadata": {"duration": 9}})).frames, 120);
}

#[test]
fn a_body_that_is_hashed_raw_is_read_as_well() {
    let body = Bytes::from_static(
        br#"{"model":"x-480p","seconds":4,"seconds":"8","metadata":{"ratio":"1:1","ratio":"1:1"}}"#,
    );
    let extent = identified(Kind::Video, &HeaderMap::new(), &body);
    assert_eq!((extent.frames, extent.width), (192, 640));
    assert_eq!(of_raw(Kind::Video, &HeaderMap::new(), &body), extent);
    for body in ["", "{", "[1]", "null", "--", "--x\r\n", "\u{1f980}"] {
        let body = Bytes::from_static(body.as_bytes());
        let extent = of_raw(Kind::Video, &HeaderMap::new(), &body);
        assert_eq!(
            (extent.frames, extent.body),
            (120, body.len() as u64),
            "{body:?}"
        );
    }
}

fn form(parts: &[(&str, &str)]) -> (HeaderMap, Bytes) {
    let part = |(head, value): &(&str, &str)| {
        format!("--bound\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    };
    let body = parts.iter().map(part).collect::<String>() + "--bound--\r\n";
    let content_type = "multipart/form-data; boundary=\"bound\"";
    let headers = [(http::header::CONTENT_TYPE, content_type.parse().unwrap())];
    (HeaderMap::from_iter(headers), body.into())
}

#[test]
fn forms_say_the_same() {
    let (headers, body) = form(&[
        ("name=\"model\"", "m-480p"),
        ("name=\"seconds\"", "8"),
        ("name=\"ratio\"", "1:1"),
        ("name=\"input_reference\"; filename=\"a.png\"", "123456789"),
        ("name=\"metadata[resolution]\"", "720p"),
    ]);
    let extent = identified(Kind::Video, &headers, &body);
    assert_eq!(
        (extent.frames, extent.width, extent.height),
        (192, 960, 960)
    );
    assert_eq!(extent.body, 6 + 1 + 3 + 4, "a file is no text");
    assert_eq!(of_raw(Kind::Video, &headers, &body), extent);

    let (headers, body) = form(&[("name=\"metadata\"", "{\"resolution\":\"1080p\"}")]);
    assert_eq!(identified(Kind::Video, &headers, &body).height, 1080);
    let (headers, body) = form(&[("name=\"n\"", "4"), ("name=\"duration\"", "9")]);
    assert_eq!(identified(Kind::Images, &headers, &body).count, 4);
}

proptest! {
    #[test]
    fn nothing_is_beyond_its_bounds(
        members in proptest::collection::vec(
            ("duration|seconds|size|n|max_tokens|quality|metadata|model", "-?[0-9]{0,30}(\\.[0-9]|e[0-9]{1,3})?|\"[0-9x:pk-]{0,12}\"|\\{\"(frames|duration|ratio)\":[0-9]{1,20}\\}"),
            0..6,
        ),
    ) {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let body = Bytes::from(format!("{{{}}}", members.join(",")));
        for kind in Kind::ALL {
            let extent = identified(kind, &HeaderMap::new(), &body);
            prop_assert!((1..=14_400).contains(&extent.frames));
            prop_assert!((1..=8192).contains(&extent.width) && (1..=8192).contains(&extent.height));
            prop_assert!((1..=128).contains(&extent.count));
            prop_assert_eq!(of_raw(kind, &HeaderMap::new(), &body), extent);
        }
    }
}
