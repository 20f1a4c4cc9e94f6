//! `metadata` as a text: RelayDance takes the text of an object in place of the object.
//!
//! What does not count is cut out of such a text, with what separates it from the rest. The rest
//! counts letter by letter, so that it stays apart from the object that it stands for.

use std::borrow::Cow;

use super::{Kind, json, left_out};

/// The white space of JSON.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What counts of a video's `metadata` when it is this text: all of it, unless it is a JSON object
/// that repeats no name. `None` when nothing is left in the object.
pub(super) fn counted(text: &str) -> Option<Cow<'_, str>> {
    let Some((before, inside, behind)) = object(text) else {
        return Some(Cow::Borrowed(text));
    };
    let all = members(inside);
    let kept: Vec<&str> = all
        .iter()
        .copied()
        .filter(|member| counts(member))
        .collect();
    let rest = kept.join(",");
    let rest = rest.trim_matches(SPACE);
    if rest.is_empty() {
        return None;
    }
    if kept.len() == all.len() {
        return Some(Cow::Borrowed(text));
    }
    // As whoever wrote it would have written the rest alone.
    let first = inside.len() - inside.trim_start_matches(SPACE).len();
    let last = inside.trim_end_matches(SPACE).len();
    let (first, last) = (inside.get(..first)?, inside.get(last..)?);
    Some([before, first, rest, last, behind].concat().into())
}

/// The text of an object: up to its first member, its members, and what follows the last.
fn object(text: &str) -> Option<(&str, &str, &str)> {
    let at = text.len() - text.trim_start_matches(SPACE).len();
    if text.as_bytes().get(at) != Some(&b'{') {
        return None;
    }
    // Which kind it is read for makes no difference to whether it can be read.
    json::read(text.as_bytes(), Kind::Chat)?;
    let (start, end) = (at + 1, text.rfind('}')?);
    Some((text.get(..start)?, text.get(start..end)?, text.get(end..)?))
}

/// Names and values with the space around them; `inside` is what an object has between its braces.
fn members(inside: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    let separates = |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && !quoted && depth == 0
    };
    inside.split(separates).collect()
}

fn counts(member: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(member).into_iter::<String>();
    let name = reader.next().and_then(Result::ok);
    !name.is_some_and(|name| left_out::in_metadata(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_count_is_cut_out() {
        for (text, counted_text) in [
            (r#"{"r":1,"callback_url":"u"}"#, r#"{"r":1}"#),
            (r#"{"callback_url": "u", "r": 1}"#, r#"{"r": 1}"#),
            (r#"{"a":1, "priority":2, "b":3}"#, r#"{"a":1, "b":3}"#),
            (
                "{\n  \"a\": \"}, \\\"\",\n  \"service_tier\": \"x\"\n}",
                "{\n  \"a\": \"}, \\\"\"\n}",
            ),
            (r#"{"callback\u005furl":[{"a":1},2],"r":1}"#, r#"{"r":1}"#),
            (r#" {"r":1,"priority":2} "#, r#" {"r":1} "#),
        ] {
            assert_eq!(counted(text).as_deref(), Some(counted_text), "{text}");
        }
        for empty in [
            "{}",
            " { } ",
            r#"{"callback_url":"u"}"#,
            r#"{ "priority":1 , "safety_identifier":"s","execution_expires_after":5 }"#,
        ] {
            assert_eq!(counted(empty), None, "{empty}");
        }
    }

    #[test]
    fn everything_else_counts_as_it_is() {
        for text in [
            "",
            "callback_url",
            "null",
            r#"["callback_url"]"#,
            r#"{"r": 1 , "x":{"callback_url":"u"}}"#,
            r#"{"r":1,"r":1,"callback_url":"u"}"#,
            r#"{"x":{"a":1,"a":2},"callback_url":"u"}"#,
            r#"{"callback_url":"u"} x"#,
            r#"{"callback_url":"u""#,
            r#"{"callback_url":"u",}"#,
            r#""{\"callback_url\":\"u\"}""#,
        ] {
            assert_eq!(counted(text).as_deref(), Some(text), "{text}");
        }
    }
}
