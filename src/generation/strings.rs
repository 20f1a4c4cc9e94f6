//! The strings of a JSON text and where they stand, found without a parser: in any nesting, in the
//! beginning of a text, and in what only some readers take for JSON.

use std::borrow::Cow;

/// A container that is open, seen from the outermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level<'a> {
    /// An object, and the name of the member that is being read, as it is written.
    Object(&'a [u8]),
    /// An array.
    Array,
}

/// Shows every string that is a value, as it is written between its quotes, until `visit` says no.
pub(super) fn each<'a>(text: &'a [u8], mut visit: impl FnMut(&[Level<'a>], &'a [u8]) -> bool) {
    let mut levels: Vec<Level<'a>> = Vec::new();
    let mut is_name = false;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' => {
                levels.push(Level::Object(b""));
                is_name = true;
            }
            b'[' => {
                levels.push(Level::Array);
                is_name = false;
            }
            b'}' | b']' => {
                levels.pop();
                is_name = false;
            }
            b',' => is_name = matches!(levels.last(), Some(Level::Object(_))),
            b':' => is_name = false,
            b'"' => {
                let rest = text.get(at..).unwrap_or_default();
                let Some(len) = length(rest) else {
                    return;
                };
                let string = rest.get(..len).unwrap_or_default();
                at += len + 1;
                match levels.last_mut() {
                    Some(Level::Object(name)) if is_name => *name = string,
                    Some(_) | None => {
                        if !visit(&levels, string) {
                            return;
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// What a string says; `None` when that is no text.
pub(super) fn read(written: &[u8]) -> Option<Cow<'_, str>> {
    if !written.contains(&b'\\') {
        return std::str::from_utf8(written).ok().map(Cow::Borrowed);
    }
    let quoted = [b"\"", written, b"\""].concat();
    serde_json::from_slice::<String>(&quoted)
        .ok()
        .map(Cow::Owned)
}

/// How long a string is up to its closing quote.
fn length(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let mut told = Vec::new();
        each(text.as_bytes(), |levels, string| {
            let way: Vec<String> = levels
                .iter()
                .map(|level| match level {
                    Level::Object(name) => String::from_utf8_lossy(name).into_owned(),
                    Level::Array => "[]".to_owned(),
                })
                .collect();
            told.push(format!("{}={}", way.join("."), read(string).unwrap()));
            true
        });
        told
    }

    #[test]
    fn strings_and_their_places() {
        let text = r#" {"a":"1", "b":{"c":["2",{"d":"3"}],"e":4},"f\u0041":"x\"y\\","a":"5"} "#;
        let expected = ["a=1", "b.c.[]=2", "b.c.[].d=3", r#"f\u0041=x"y\"#, "a=5"];
        assert_eq!(told(text), expected);
        assert_eq!(told(r#"["a","b"]"#), ["[]=a", "[]=b"]);
        assert_eq!(told(r#""alone""#), ["=alone"]);
    }

    #[test]
    fn a_beginning_is_enough_and_nothing_is_too_much() {
        assert_eq!(
            told(r#"{"id":"resp_1","output":[{"text":"half"#),
            ["id=resp_1"]
        );
        for odd in ["", "{", "\"", "\"\\", "}}]]\"a\"", "{\"a\"", ",,::\"\""] {
            let _ = told(odd);
        }
        let deep = "[".repeat(100_000) + "\"x\"";
        assert_eq!(told(&deep).len(), 1);
    }
}
