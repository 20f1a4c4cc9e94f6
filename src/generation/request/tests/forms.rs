//! Which forms are the same.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use proptest::prelude::*;

use super::{Asked, Kind, video};

/// A form with boundary `B`, of parts that are written out without their line ends.
pub(super) fn form(parts: &[(&str, &str)]) -> Asked {
    form_with("B", parts)
}

fn form_with(boundary: &str, parts: &[(&str, &str)]) -> Asked {
    let mut body = String::new();
    for (head, content) in parts {
        body.extend(["--", boundary, "\r\nContent-Disposition: form-data; ", head]);
        body.extend(["\r\n\r\n", content, "\r\n"]);
    }
    body.extend(["--", boundary, "--\r\n"]);
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
            "file name with a word",
            "name=\"image\"; filename=\"my name.png\"",
        ),
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
    let text = |content| film(&[parts[0], ("name=\"metadata\"", content)]);
    let key = text(r#"{"seed": 1}"#);
    for content in [
        r#"{"seed": 1, "callback_url": "u"}"#,
        r#"{"priority": 2, "seed": 1}"#,
    ] {
        assert_eq!(text(content), key, "{content}");
    }
    assert_eq!(text(r#"{"callback_url":"u"}"#), text("{}"));
    assert_ne!(text(r#"{"seed": 2, "priority": 2}"#), key);
    let typed = "name=\"metadata\"; filename=\"m.json\"";
    assert_ne!(
        film(&[(typed, r#"{"seed":1,"priority":2}"#)]),
        film(&[(typed, r#"{"seed":1}"#)]),
        "a file is no field"
    );
    let image = |content| form(&[parts[0], ("name=\"metadata\"", content)]).key();
    assert_ne!(image(r#"{"a":1,"priority":2}"#), image(r#"{"a":1}"#));
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
            "another name in capitals",
            vec![
                prompt,
                ("name=\"image\"; filename=\"a\"; NAME=\"x\"", "PNG"),
            ],
        ),
        (
            "another name without a semicolon",
            vec![prompt, ("name=\"image\"; filename=\"a\"name=\"x\"", "PNG")],
        ),
        (
            "another name behind an escaped quote",
            vec![prompt, ("name=\"image\"; filename=\"a\\\"; name=\"", "PNG")],
        ),
        (
            "another name inside the file name",
            vec![prompt, ("name=\"image\"; filename=\"a; name=x\"", "PNG")],
        ),
        (
            "another name behind the encoded one",
            vec![prompt, ("name=\"image\"; filename*=a;Name=x", "PNG")],
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
        ("closed before it begins", with(format!("--B{text}"))),
        (
            "more on a delimiter's line",
            with(text.replacen("\r\n", " x\r\n", 1)),
        ),
        (
            "a delimiter of lines that end in LF",
            with(text.replace("\r\n\r\nm", "\r\n\r\nm\n--B\n")),
        ),
        (
            "a head that ends twice",
            with(text.replace("\r\n\r\nm", "\n\r\nm\r\nx: y\r\n\r\nm")),
        ),
        (
            "two names",
            with(text.replace(
                "\r\n\r\nm",
                "\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nm",
            )),
        ),
        (
            "a folded line",
            with(text.replace("\r\n\r\nm", "\r\n x: y\r\n\r\nm")),
        ),
        ("no name", with(text.replace("; name=\"model\"", ""))),
        (
            "no disposition",
            with(text.replace("Content-Disposition", "X-Disposition")),
        ),
        ("empty", with(String::new())),
        ("JSON", with("{\"model\":\"m\"}".to_owned())),
        ("1,001 parts", form(&vec![("name=\"model\"", "m"); 1001])),
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
        assert_ne!(identity.fingerprint, good.key(), "{name}");
        // Raw: one byte more is another generation, however little it means.
        let mut longer = odd.body.to_vec();
        longer.extend_from_slice(b"\r\n");
        let longer = Asked {
            body: longer.into(),
            ..odd.clone()
        };
        assert_ne!(longer.key(), identity.fingerprint, "{name}");
        let other = String::from_utf8_lossy(&odd.body).replacen("\r\nm", "\r\nn", 1);
        let changed = other.as_bytes() != &*odd.body;
        let other = Asked {
            body: other.into(),
            ..odd
        };
        assert_eq!(other.key() != identity.fingerprint, changed, "{name}");
    }
    assert_eq!(
        form(&vec![("name=\"model\"", "m"); 1000])
            .identify()
            .model
            .as_deref(),
        Some("m")
    );
    let bare = with(text.trim_end().to_owned());
    assert_eq!(bare.key(), good.key(), "a last line end says nothing");
}

proptest! {
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
