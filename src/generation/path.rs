//! Request paths as the servers behind the proxy might read them.
//!
//! Servers disagree: on whether `%2f` and `\` separate, whether `//` is one slash, how often to
//! decode. Nothing here changes what is sent; these are copies to decide on.

use std::borrow::Cow;

use super::percent;

/// The segments of `path` in one way of reading it, dot segments resolved, empty ones dropped.
pub(super) type Segments<'a> = Vec<Cow<'a, [u8]>>;

/// `path` with only its literal slashes as separators; the segments are decoded afterwards.
pub(super) fn split_then_decode(path: &str) -> Segments<'_> {
    let segments = path.as_bytes().split(|&byte| byte == b'/');
    resolve(segments.map(percent::decode_fully))
}

/// `path` decoded to the end, then separated at slashes and backslashes; `None` when that is no
/// other reading than [`split_then_decode`].
pub(super) fn decode_then_split(path: &str) -> Option<Segments<'static>> {
    if !path.contains(['%', '\\']) {
        return None;
    }
    let decoded = percent::decode_fully(path.as_bytes());
    let segments = decoded.split(|byte| is_separator(*byte));
    Some(resolve(
        segments.map(|segment| Cow::Owned(segment.to_vec())),
    ))
}

/// Does `path` leave `/v1/` by dot segments, for any server that might read it?
///
/// Counted against the path: a `..` in any encoding (`%2e`, `%2f`, `%5c`, a backslash, encoded
/// twice, overlong UTF-8, `%u002e`) goes up one level, while what stands between two literal slashes goes down one level at
/// most. So `/v1/a%2fb/../../x`, which leaves for a server that does not decode `%2f`, is seen.
pub fn escapes_root(path: &str) -> bool {
    // As nearly every path is: nothing to decode, and no dots to go up by.
    if !path.contains('%') && !path.as_bytes().windows(2).any(|two| two == b"..") {
        return false;
    }
    let below = path.strip_prefix("/v1").unwrap_or(path);
    let mut depth = 0_i64;
    for segment in below.split('/') {
        let decoded = percent::decode_loosely(segment.as_bytes());
        let mut descended = false;
        for part in decoded.split(|byte| is_separator(*byte)) {
            // Some servers take `..;x` for a dot segment with a parameter.
            match part.split(|&byte| byte == b';').next().unwrap_or_default() {
                b".." => {
                    depth -= 1;
                    descended = false;
                }
                b"" | b"." => {}
                _ if descended => {}
                _ => {
                    depth += 1;
                    descended = true;
                }
            }
            if depth < 0 {
                return true;
            }
        }
    }
    false
}

/// Whether `path` has a NUL in it for anybody who decodes it, however often.
pub fn has_nul(path: &str) -> bool {
    path.contains('%') && percent::decode_fully(path.as_bytes()).contains(&0)
}

fn resolve<'a>(segments: impl Iterator<Item = Cow<'a, [u8]>>) -> Segments<'a> {
    let mut resolved = Vec::with_capacity(8);
    for segment in segments {
        match &*segment {
            b"" | b"." => {}
            b".." => {
                resolved.pop();
            }
            _ => resolved.push(segment),
        }
    }
    resolved
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leaving_v1() {
        for (path, leaves) in [
            ("/v1/models", false),
            ("/v1/models/org%2fname", false),
            ("/v1/models/a..b", false),
            ("/v1/models/...", false),
            ("/v1/a/../b", false),
            ("/v1/a/..", false),
            ("/v1/a%2f..%2fb/..", false),
            ("/v1/", false),
            ("/v1/files/100%", false),
            ("/v1/..", true),
            ("/v1/../admin", true),
            ("/v1/../v1/models", true),
            ("/v1/a/../../admin", true),
            ("/v1/./../admin", true),
            ("/v1//../admin", true),
            ("/v1/%2e%2e/admin", true),
            ("/v1/%2E./admin", true),
            ("/v1/%2e%2e%2fadmin", true),
            ("/v1/..%2fadmin", true),
            ("/v1/..%5cadmin", true),
            ("/v1/..\\admin", true),
            ("/v1/%252e%252e/admin", true),
            ("/v1/%252e%252e%252fadmin", true),
            ("/v1/%25252e%25252e%25252fadmin", true),
            ("/v1/a%2fb/../../admin", true),
            ("/v1/a%5cb%2f../../admin", true),
            ("/v1/..;x=1/admin", true),
            ("/v1/%c0%ae%c0%ae/admin", true),
            ("/v1/.%C0%AE/admin", true),
            ("/v1/%e0%80%ae%e0%80%ae/admin", true),
            ("/v1/%f0%80%80%ae./admin", true),
            ("/v1/..%c0%afadmin", true),
            ("/v1/a/..%c1%9c..%c1%9cadmin", true),
            ("/v1/%u002e%u002e/admin", true),
            ("/v1/%25u002e%2e/admin", true),
            ("/v1/..%u002fadmin", true),
            ("/v1/a%c0%afb/../../admin", true),
            ("/v1/a/%c0%ae%c0%ae/b", false),
            ("/v1/models/caf%c3%a9..", false),
            ("/v1/models/%u00e9", false),
        ] {
            assert_eq!(escapes_root(path), leaves, "{path}");
        }
    }

    #[test]
    fn two_readings() {
        let plain = |segments: Segments<'_>| {
            segments
                .iter()
                .map(|segment| String::from_utf8_lossy(segment).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            plain(split_then_decode("/v1/a%2fb/../c//d/.")),
            ["v1", "c", "d"]
        );
        let other = decode_then_split("/v1/a%2fb/../c//d/.").unwrap();
        assert_eq!(plain(other), ["v1", "a", "c", "d"]);
        assert_eq!(decode_then_split("/v1/a/../c"), None);
    }

    proptest! {
        #[test]
        fn no_reading_that_leaves_is_missed(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "..", ".", "/", "/", "%2f", "%5c", "\\", "%2e", "%252e", "%252f", "%25",
                ]),
                0..14,
            )
        ) {
            let path = format!("/v1/{}", parts.concat());
            let stays = !escapes_root(&path);
            // Servers of every kind: decode so often, merge slashes or not, backslash or not.
            for rounds in 0..4 {
                for backslash in [false, true] {
                    let mut bytes = path.clone().into_bytes();
                    for _ in 0..rounds {
                        bytes = percent::decode(&bytes).into_owned();
                    }
                    let mut depth = 0_i32;
                    let separates = |byte: &u8| *byte == b'/' || (backslash && *byte == b'\\');
                    for segment in bytes.split(separates) {
                        depth += match segment {
                            b"" | b"." => 0,
                            b".." => -1,
                            _ => 1,
                        };
                        // `v1` itself is the first level.
                        prop_assert!(
                            !stays || segment.is_empty() || depth >= 1,
                            "{} is left when decoded {} times", path, rounds
                        );
                    }
                }
            }
        }
    }
}
