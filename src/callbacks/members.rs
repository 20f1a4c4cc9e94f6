//! The members of a JSON object where they stand in its text, so that one can be cut out and the
//! rest stays as it was, byte for byte.

use std::ops::Range;

use serde::de::IgnoredAny;

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its decoded name.
    pub(super) name: String,
    /// From the comma before it, or from behind the brace, to its end.
    pub(super) whole: Range<usize>,
    /// Its value.
    pub(super) value: Range<usize>,
}

/// The members of the object that `json` is, in their order; `None` when it is no JSON object.
pub(super) fn members(json: &[u8]) -> Option<Vec<Member>> {
    // After this, what follows need not doubt what it sees.
    serde_json::from_slice::<IgnoredAny>(json).ok()?;
    let mut at = space(json, 0);
    if json.get(at) != Some(&b'{') {
        return None;
    }
    at += 1;
    let mut found = Vec::new();
    loop {
        let start = at;
        at = space(json, at);
        match json.get(at)? {
            b'}' => return Some(found),
            b',' => at = space(json, at + 1),
            _ => {}
        }
        let name_end = string(json, at)?;
        let name = serde_json::from_slice(json.get(at..name_end)?).ok()?;
        // Behind the name: white space, the colon, white space.
        let value = space(json, space(json, name_end) + 1);
        at = end_of_value(json, value)?;
        found.push(Member {
            name,
            whole: start..at,
            value: value..at,
        });
    }
}

/// `json` without the members that `goes` names. What is left stands as it stood.
pub(super) fn cut(json: &[u8], members: &[Member], goes: impl Fn(&Member) -> bool) -> Vec<u8> {
    let mut left = Vec::with_capacity(json.len());
    let mut from = 0;
    let mut first_gone = false;
    for (nth, member) in members.iter().enumerate() {
        if goes(member) {
            left.extend_from_slice(json.get(from..member.whole.start).unwrap_or_default());
            from = member.whole.end;
            first_gone = nth == 0 || first_gone;
        } else if first_gone {
            // This one is the first now, and nothing stands before its comma.
            let comma = space(json, member.whole.start);
            left.extend_from_slice(json.get(from..comma).unwrap_or_default());
            from = comma + 1;
            first_gone = false;
        }
    }
    left.extend_from_slice(json.get(from..).unwrap_or_default());
    left
}

fn space(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\t' | b'\r');
    from + rest.iter().take_while(blank).count()
}

/// Where the string that begins at `from` ends, its quotes included.
fn string(json: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn end_of_value(json: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    let mut depth = 0_usize;
    loop {
        match json.get(at)? {
            b'"' => at = string(json, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' | b',' if depth == 0 => return Some(end_of_word(json, from, at)),
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            _ => at += 1,
        }
        if depth == 0 && !matches!(json.get(from)?, b'-' | b'0'..=b'9' | b'n' | b't' | b'f') {
            return Some(at);
        }
    }
}

/// Behind a number or a word there may be white space before what ends it.
fn end_of_word(json: &[u8], from: usize, end: usize) -> usize {
    let value = json.get(from..end).unwrap_or_default();
    from + value.trim_ascii_end().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without(json: &str, name: &str) -> String {
        let members = members(json.as_bytes()).unwrap();
        let left = cut(json.as_bytes(), &members, |member| member.name == name);
        String::from_utf8(left).unwrap()
    }

    #[test]
    fn a_member_goes_and_nothing_else_moves() {
        let table = [
            (r#"{"x":1}"#, "{}"),
            (r#" { "x" : "," } "#, " { } "),
            (r#"{"x":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{ "x" : {"x":[1,"}"]} , "a" : 2 }"#, r#"{  "a" : 2 }"#),
            (r#"{"a":1,"x":null}"#, r#"{"a":1}"#),
            ("{\"a\" : 1 ,\n \"x\" : 1.5e3 \n}", "{\"a\" : 1 \n}"),
            (r#"{"a":1,"x":[],"b":{"x":1}}"#, r#"{"a":1,"b":{"x":1}}"#),
            (r#"{"x":1,"x":2,"a":"\"","x":3}"#, r#"{"a":"\""}"#),
            (r#"{"\u0078":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":"x","b":[{"x":1}]}"#, r#"{"a":"x","b":[{"x":1}]}"#),
        ];
        for (json, expected) in table {
            let left = without(json, "x");
            assert_eq!(left, expected, "{json}");
            assert!(serde_json::from_str::<serde_json::Value>(&left).is_ok());
        }
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in ["", "[]", "1", "\"{}\"", "{", "{\"a\"}", "{} x"] {
            assert_eq!(members(json.as_bytes()), None, "{json}");
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(serde_json::Value::from),
            "[x\"\\\\{},:\u{e4} ]{0,6}".prop_map(serde_json::Value::from),
        ];
        let name = "[xab\"\\\\{}]{1,2}";
        leaf.prop_recursive(3, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map(name, inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_means_the_same_without(
            map in prop::collection::btree_map("[xab]{1,2}", any_json(), 0..5),
            pretty in any::<bool>(),
        ) {
            let mut value: serde_json::Value = map.into_iter().collect();
            let json = if pretty {
                serde_json::to_string_pretty(&value)
            } else {
                serde_json::to_string(&value)
            }.unwrap();
            let left = without(&json, "x");
            if let Some(object) = value.as_object_mut() {
                object.remove("x");
            }
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&left).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(members) = members(&bytes) {
                cut(&bytes, &members, |_| true);
            }
        }
    }
}
