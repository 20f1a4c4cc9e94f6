//! Links replaced in an answer's bytes.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use serde::de::IgnoredAny;

/// The most bytes that one byte of a text takes in JSON: `\u0026`.
const WIDEST: usize = 6;

/// `body` with every string value that is one of `links`, however it is escaped, replaced by what
/// stands there for it. Nothing else changes by a byte: names of members, white space, the order of
/// members and strings that merely contain a link stay as they are, and so does a body that is no
/// JSON. The same bytes when there is nothing to replace.
pub fn rewrite<S: std::hash::BuildHasher>(
    body: &Bytes,
    links: &HashMap<String, String, S>,
) -> Bytes {
    let Some(longest) = links.keys().map(String::len).max() else {
        return body.clone();
    };
    let mut places = Vec::new();
    let mut strings = Strings { body, at: 0 };
    while let Some(token) = strings.next_value() {
        if token.len() <= longest.saturating_mul(WIDEST).saturating_add(2)
            && let Some(link) = replaced(&body[token.clone()], links)
        {
            places.push((token, link));
        }
    }
    // Strings were found by their quotes alone, which are only where they seem in what is JSON.
    if places.is_empty() || serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return body.clone();
    }
    spliced(body, &places)
}

/// What stands for a string, given with its quotes.
fn replaced<'a, S: std::hash::BuildHasher>(
    token: &[u8],
    links: &'a HashMap<String, String, S>,
) -> Option<&'a str> {
    let inside = token.get(1..token.len().checked_sub(1)?)?;
    let link = if inside.contains(&b'\\') {
        links.get(&serde_json::from_slice::<String>(token).ok()?)
    } else {
        links.get(std::str::from_utf8(inside).ok()?)
    };
    link.map(String::as_str)
}

fn spliced(body: &[u8], places: &[(Range<usize>, &str)]) -> Bytes {
    let mut out = Vec::with_capacity(body.len());
    let mut from = 0;
    for (token, link) in places {
        out.extend_from_slice(&body[from..token.start]);
        out.extend_from_slice(serde_json::Value::from(*link).to_string().as_bytes());
        from = token.end;
    }
    out.extend_from_slice(&body[from..]);
    out.into()
}

/// The strings of a JSON text that are values, as ranges with their quotes.
struct Strings<'a> {
    body: &'a [u8],
    at: usize,
}

impl Strings<'_> {
    fn next_value(&mut self) -> Option<Range<usize>> {
        loop {
            let start = self.at + memchr::memchr(b'"', self.rest())?;
            self.at = start + 1;
            self.skip_string()?;
            if !self.is_name() {
                return Some(start..self.at);
            }
        }
    }

    /// Goes behind the quote that ends the string we are in.
    fn skip_string(&mut self) -> Option<()> {
        loop {
            let found = memchr::memchr2(b'"', b'\\', self.rest())?;
            let escape = self.rest().get(found) == Some(&b'\\');
            self.at += found + 1;
            if !escape {
                return Some(());
            }
            // Whatever is escaped ends no string.
            self.at += 1;
        }
    }

    /// Whether what comes next makes the string before it the name of a member.
    fn is_name(&self) -> bool {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.rest().iter().find(|byte| !space(byte)) == Some(&b':')
    }

    fn rest(&self) -> &[u8] {
        self.body.get(self.at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn links() -> HashMap<String, String> {
        let pairs = [
            (
                "https://a.example/x?a=1&b=2",
                "http://127.0.0.1:8787/media/0.mp4",
            ),
            ("https://a.example/x", "http://127.0.0.1:8787/media/1.mp4"),
            ("https://a.example/é\"\\", "new \"\\"),
        ];
        pairs
            .map(|(old, new)| (old.to_owned(), new.to_owned()))
            .into()
    }

    #[test]
    fn every_occurrence_and_nothing_else() {
        let table = [
            (
                r#"{ "a":"https://a.example/x" ,"b":[ "https://a.example/x","https://a.example/xy" ]}"#,
                r#"{ "a":"http://127.0.0.1:8787/media/1.mp4" ,"b":[ "http://127.0.0.1:8787/media/1.mp4","https://a.example/xy" ]}"#,
            ),
            (
                r#"{"a":"https:\/\/a.example\/x?a=1\u0026b=2","b":"https://a.example/x?a=1&b=2","n":1.50e3}"#,
                r#"{"a":"http://127.0.0.1:8787/media/0.mp4","b":"http://127.0.0.1:8787/media/0.mp4","n":1.50e3}"#,
            ),
            // A name is no value, whatever stands before the colon.
            (
                "{\"https://a.example/x\" \t\r\n:\"https://a.example/x\"}",
                "{\"https://a.example/x\" \t\r\n:\"http://127.0.0.1:8787/media/1.mp4\"}",
            ),
            // Repeated members, and escapes beside the link.
            (
                r#"{"a":"\"https://a.example/x\"","a":"\\","a":"https://a.example/x","a":"\u00e9"}"#,
                r#"{"a":"\"https://a.example/x\"","a":"\\","a":"http://127.0.0.1:8787/media/1.mp4","a":"\u00e9"}"#,
            ),
            (r#""https://a.example/\u00e9\"\\""#, r#""new \"\\""#),
            (r#""https://a.example/é\"\u005c""#, r#""new \"\\""#),
        ];
        for (body, expected) in table {
            let rewritten = rewrite(&Bytes::from(body), &links());
            assert_eq!(std::str::from_utf8(&rewritten).unwrap(), expected);
        }
    }

    #[test]
    fn what_has_nothing_to_replace_is_the_same_bytes() {
        let table = [
            r#"{"a":"https://a.example/z"}"#,
            r#"{"a":"see https://a.example/x"}"#,
            "",
            "null",
            "<a href=\"https://a.example/x\">",
            "data: {\"a\":\"https://a.example/x\"}\n\n",
            r#"{"a":"https://a.example/x""#,
            r#"{"a":"https://a.example/x"} "https://a.example/x""#,
            r#"{"a":"https://a.example/x\"#,
            r#"{"a":"https:\/\/a.example\/\ud800"}"#,
        ];
        for body in table {
            let body = Bytes::from(body);
            assert_eq!(rewrite(&body, &links()).as_ptr(), body.as_ptr(), "{body:?}");
        }
        let body = Bytes::from(r#"{"a":"https://a.example/x"}"#);
        let none: HashMap<String, String> = HashMap::new();
        assert_eq!(rewrite(&body, &none).as_ptr(), body.as_ptr());
    }

    /// Replaces by the meaning: what rewriting by bytes must agree with.
    fn by_meaning(value: Value, links: &HashMap<String, String>) -> Value {
        match value {
            Value::String(text) => links.get(&text).cloned().unwrap_or(text).into(),
            Value::Array(items) => items
                .into_iter()
                .map(|item| by_meaning(item, links))
                .collect(),
            Value::Object(members) => {
                let each = |(name, value)| (name, by_meaning(value, links));
                Value::Object(members.into_iter().map(each).collect::<Map<_, _>>())
            }
            other => other,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let known: Vec<String> = links().into_keys().collect();
        let text = prop_oneof![
            proptest::sample::select(known).boxed(),
            "[\"\\\\:,{}a-c/é]{0,8}".boxed(),
        ];
        let leaf = prop_oneof![
            text.clone().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let members = proptest::collection::vec((text.clone(), inner.clone()), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same JSON with slashes and everything beyond ASCII escaped.
    fn escaped(json: &str) -> String {
        json.chars()
            .fold(String::new(), |out, letter| match letter {
                '/' => out + "\\/",
                '&' => out + "\\u0026",
                ascii if ascii.is_ascii() => out + &ascii.to_string(),
                other => out + &format!("\\u{:04x}", u32::from(other)),
            })
    }

    proptest! {
        #[test]
        fn bytes_and_meaning_agree(value in any_json(), pretty: bool) {
            let links = links();
            let expected = by_meaning(value.clone(), &links);
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            for body in [text.clone(), escaped(&text)] {
                let rewritten = rewrite(&Bytes::from(body), &links);
                let meaning: Value = serde_json::from_slice(&rewritten).unwrap();
                prop_assert_eq!(&meaning, &expected);
            }
        }

        #[test]
        fn cutting_the_links_out_leaves_all_other_bytes(value in any_json()) {
            let links = links();
            let body = Bytes::from(value.to_string());
            let back: HashMap<String, String> = links.iter().map(|(old, new)| (new.clone(), old.clone())).collect();
            prop_assert_eq!(rewrite(&rewrite(&body, &links), &back), body);
        }

        #[test]
        fn anything_is_rewritten_without_harm(body: Vec<u8>, json in "[\"\\\\:,{}\\[\\] xu0-9]{0,40}") {
            for body in [Bytes::from(body), Bytes::from(json)] {
                let _ = rewrite(&body, &links());
            }
        }
    }

    #[test]
    fn a_large_answer_is_gone_through_once() {
        let inline = "A".repeat(8 * 1024 * 1024);
        let body =
            json!({"data": [{"b64_json": inline, "url": "https://a.example/x"}]}).to_string();
        let rewritten = rewrite(&Bytes::from(body.clone()), &links());
        assert_eq!(rewritten.len(), body.len() + 14);
    }
}
