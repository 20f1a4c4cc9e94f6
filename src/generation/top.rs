//! Single top-level members of a JSON object, without building a tree of the rest.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of the object `json` that are called `names`, as they are written, in that order;
/// `None` when `json` is no JSON object. Of a repeated name the last counts, as in most readers.
pub(crate) fn members<'a, const N: usize>(
    json: &'a [u8],
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = reader.deserialize_map(Members(names, Name::Exact)).ok()?;
    reader.end().ok()?;
    Some(found)
}

/// The same of what may go on behind the object's end: some readers never look there.
pub(super) fn beginning<'a, const N: usize>(
    json: &'a [u8],
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    reader.deserialize_map(Members(names, Name::Exact)).ok()
}

/// The same, as Go's reader takes them: by their names in any case, and null says nothing.
pub(super) fn loosely<'a, const N: usize>(
    json: &'a [u8],
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    reader.deserialize_map(Members(names, Name::AnyCase)).ok()
}

/// Whether a reader that ignores case, as Go's does, takes `name` for `wanted`, which is in lower case.
#[inline]
pub(crate) fn is_called(name: &str, wanted: &str) -> bool {
    // What is folded takes more bytes than what it is folded to.
    if name.len() <= wanted.len() {
        return name.eq_ignore_ascii_case(wanted);
    }
    !name.is_ascii() && is_folded_to(name, wanted)
}

fn is_folded_to(name: &str, wanted: &str) -> bool {
    let fold = |letter: char| match letter {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(wanted.chars())
}

/// The text of `value` when it is a string.
pub(super) fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Is `value` anything but null?
pub(super) fn is_set(value: &RawValue) -> bool {
    value.get() != "null"
}

/// How names are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Exact,
    AnyCase,
}

struct Members<'n, const N: usize>([&'n str; N], Name);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(index) = map.next_key_seed(Key(&self.0, self.1))? {
            match index.and_then(|index| found.get_mut(index)) {
                Some(wanted) => {
                    let value: &RawValue = map.next_value()?;
                    if self.1 == Name::Exact || is_set(value) {
                        *wanted = Some(value);
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Reads a key as its place among the names, without keeping its text.
struct Key<'n>(&'n [&'n str], Name);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| match self.1 {
            Name::Exact => *name == key,
            Name::AnyCase => is_called(key, name),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for() {
        let json = br#" {"a":1,"b":{"a":2},"\u0063":"x\ny","d":null,"b":[3] } "#;
        let found = members(json, ["a", "b", "c", "d", "e"]).unwrap();
        let texts = found.map(|value| value.map(RawValue::get));
        assert_eq!(
            texts,
            [
                Some("1"),
                Some("[3]"),
                Some(r#""x\ny""#),
                Some("null"),
                None
            ]
        );
        let [number, list, string, null, _] = found.map(|value| value.unwrap_or(RawValue::NULL));
        assert_eq!(
            text(string).as_deref(),
            Some(
                "x
y"
            )
        );
        assert!(text(number).is_none() && text(list).is_none());
        assert!(is_set(number) && !is_set(null));
    }

    #[test]
    fn what_is_no_object() {
        for json in [
            "",
            "[]",
            "1",
            "null",
            "{",
            "{\"a\":1",
            "{} x",
            "{\"a\" 1}",
            "\u{feff}{}",
        ] {
            assert!(members(json.as_bytes(), ["a"]).is_none(), "{json}");
        }
        assert!(members(b"{\"a\":\"\xff\"}", ["a"]).is_none());
        let deep = format!("{{\"x\":{}{},\"a\":1}}", "[".repeat(9000), "]".repeat(9000));
        assert!(members(deep.as_bytes(), ["a"]).unwrap()[0].is_some());
    }
}
