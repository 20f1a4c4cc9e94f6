use super::*;

fn of(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    )])
}

fn ask(content_type: &'static str, body: &str) -> Option<(String, String)> {
    let headers = of(content_type);
    let address = said(&headers, &body.to_owned().into()).address?;
    let left = without(&headers, &body.to_owned().into()).unwrap();
    Some((address, String::from_utf8(left).unwrap()))
}

#[test]
fn an_address_is_found_and_cut_out_of_json() {
    let table = [
        (r#"{"a":1,"callback_url":"u"}"#, Some(("u", r#"{"a":1}"#))),
        (
            r#"{"metadata":{"callback_url":"u"},"a":1}"#,
            Some(("u", r#"{"metadata":{},"a":1}"#)),
        ),
        (
            r#"{ "a": 1.0, "metadata": {"r": "\u0031", "callback_url" :"u"} }"#,
            Some(("u", r#"{ "a": 1.0, "metadata": {"r": "\u0031"} }"#)),
        ),
        (
            r#"{"metadata":"{\"callback_url\":\"u\",\"r\":1}"}"#,
            Some(("u", r#"{"metadata":"{\"r\":1}"}"#)),
        ),
        (
            r#"{"callback_url":"top","metadata":{"callback_url":"u","b":2}}"#,
            Some(("u", r#"{"metadata":{"b":2}}"#)),
        ),
        (
            r#"{"metadata":{"b":2},"callback_url":"top"}"#,
            Some(("top", r#"{"metadata":{"b":2}}"#)),
        ),
        (
            r#"{"metadata":{"callback_url":""},"callback_url":"top"}"#,
            Some(("top", r#"{"metadata":{}}"#)),
        ),
        (r#"{"callback\u005furl":"u"}"#, Some(("u", "{}"))),
        (r#"{"callback_url":7,"a":1}"#, Some(("7", r#"{"a":1}"#))),
        (r#"{"callback_url":null}"#, None),
        (r#"{"callback_url":""}"#, None),
        (r#"{"metadata":{"x":{"callback_url":"u"}}}"#, None),
        (r#"{"metadata":"callback_url"}"#, None),
        (r#"[{"callback_url":"u"}]"#, None),
        (r#"{"callback_url":"u""#, None),
        (r#"{"a":1}"#, None),
    ];
    for (body, expected) in table {
        let found = ask("application/json", body);
        let found = found.as_ref().map(|(a, b)| (a.as_str(), b.as_str()));
        assert_eq!(found, expected, "{body}");
    }
}

#[test]
fn an_address_is_found_and_cut_out_of_a_form() {
    let form = |parts: &[(&str, &str)]| -> String {
        let part = |(name, value): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--b--\r\n"
    };
    let ask = |body: &str| ask("multipart/form-data; boundary=b", body);
    let (prompt, size) = (("prompt", "callback_url"), ("size", "1"));
    for name in [NAME, NESTED] {
        let body = form(&[prompt, (name, "u"), size]);
        assert_eq!(ask(&body), Some(("u".to_owned(), form(&[prompt, size]))));
    }
    let text = (METADATA, r#"{"callback_url":"u","a":1}"#);
    let left = (METADATA, r#"{"a":1}"#);
    let body = form(&[(NAME, "top"), text, size]);
    assert_eq!(ask(&body), Some(("u".to_owned(), form(&[left, size]))));
    assert_eq!(ask(&form(&[prompt, size])), None);
    assert_eq!(ask(&form(&[prompt, (NAME, "")])), None);
}

#[test]
fn names_count_in_any_case_as_relaydance_reads_them() {
    let table = [
        (r#"{"a":1,"Callback_URL":"u"}"#, r#"{"a":1}"#),
        (r#"{"CALLBAC\u212a_url":"u"}"#, "{}"),
        ("{\"callbac\u{212a}_url\":\"u\"}", "{}"),
        (
            r#"{"Metadata":{"callback_Url":"u","b":2}}"#,
            r#"{"Metadata":{"b":2}}"#,
        ),
        (
            r#"{"METADATA":"{\"CALLBACK_URL\":\"u\"}"}"#,
            r#"{"METADATA":"{}"}"#,
        ),
    ];
    for (body, left) in table {
        let found = ask("application/json", body);
        assert_eq!(found, Some(("u".to_owned(), left.to_owned())), "{body}");
        assert!(said(&of("application/json"), &Bytes::from(body.to_owned())).is_sure);
    }
    let form = "--b\r\nContent-Disposition: form-data; name=Callback_url\r\n\r\nu\r\n--b--\r\n";
    let found = ask("multipart/form-data; boundary=b", form);
    assert_eq!(found, Some(("u".to_owned(), "--b--\r\n".to_owned())));
}

#[test]
fn what_readers_may_take_differently_is_not_sure() {
    let (json, form) = ("application/json", "multipart/form-data; boundary=b");
    let named = |name| format!("--b\r\nContent-Disposition: {name}\r\n\r\nu\r\n--b--\r\n");
    let (starred, twice) = (
        named("form-data; name*=utf-8''callback_url"),
        named("form-data; name=\"callback_url\"; name=\"a\""),
    );
    let table = [
        (
            json,
            r#"{"metadata":{"callback_url":"u"},"metadata":{"callback_url":"v"}}"#,
            Some("v"),
        ),
        (
            json,
            r#"{"metadata":{"callback_url":"u"},"Metadata":{}}"#,
            None,
        ),
        (
            json,
            r#"{"callback_url":"u","callback_URL":"v"}"#,
            Some("v"),
        ),
        (
            json,
            r#"{"metadata":{"callback_url":"u","callback_url":"v"}}"#,
            Some("v"),
        ),
        (json, r#"{"metadata":"{\"callback_url\":\"u\""}"#, None),
        (json, r#"{"callback_url":"u""#, None),
        (json, "callback_url=u", None),
        (json, r#"[{"Callback_url":"u"}]"#, None),
        (form, r#"{"callback_url":"u"}"#, None),
        (form, &starred, None),
        (form, &twice, None),
    ];
    for (content_type, body, address) in table {
        let said = said(&of(content_type), &Bytes::from(body.to_owned()));
        assert_eq!(
            (said.address.as_deref(), said.is_sure),
            (address, false),
            "{body}"
        );
    }
    for body in [
        r#"{"prompt":"callback_url"}"#,
        r#"{"metadata":{"x":{"callback_url":"u"}}}"#,
        r#"{"metadata":{},"metadata":{}}"#,
        r#"{"prompt":"a""#,
        r#"{"metadata":{"b":1},"callback_url":"u"}"#,
    ] {
        assert!(
            said(&of(json), &Bytes::from(body.to_owned())).is_sure,
            "{body}"
        );
    }
}

#[test]
fn what_is_no_address_is_not_copied_whole() {
    let body = format!(r#"{{"callback_url":"{}"}}"#, "a".repeat(1 << 20));
    let address = said(&of("application/json"), &Bytes::from(body)).address;
    assert_eq!(address.map(|address| address.len()), Some(LONGEST));
}

#[test]
fn what_is_in_a_content_coding_is_looked_into_and_cut_in_its_plain_form() {
    let text = br#"{"callback_url":"u","a":1}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text).unwrap();
    let coded = Bytes::from(gzip.finish().unwrap());
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", "gzip".parse().unwrap());
    let found = said(&headers, &coded);
    assert_eq!((found.address.as_deref(), found.is_sure), (Some("u"), true));
    assert_eq!(without(&headers, &coded).unwrap(), br#"{"a":1}"#);
    // What cannot be undone is as it was: nothing is known of it.
    let plain = Bytes::from_static(text);
    let found = said(&headers, &plain);
    assert_eq!((found.address, found.is_sure), (None, true));
    assert_eq!(without(&headers, &plain), None);
}
