//! Query strings, as far as a credential may stand in one.

use std::borrow::Cow;

use super::percent;

/// `query` without every `key=…` pair, the rest byte for byte as it came; `None` when nothing is
/// left.
///
/// SECURITY: `key` is where some clients put their key. The name is compared decoded, since
/// upstream would read `%6bey` as `key` too.
pub fn without_key(query: &str) -> Option<Cow<'_, str>> {
    let rest = if pairs(query).any(|(name, _)| is_key(name)) {
        let kept = query.split('&').filter(|pair| !names_key(pair));
        Cow::Owned(kept.collect::<Vec<_>>().join("&"))
    } else {
        Cow::Borrowed(query)
    };
    (!rest.is_empty()).then_some(rest)
}

/// The decoded value of the first `key=…` pair. Bytes that are not UTF-8 become U+FFFD, so that
/// they match no key.
pub fn key_of(query: &str) -> Option<String> {
    let (_, value) = pairs(query).find(|(name, _)| is_key(name))?;
    let spaced = value.replace('+', " ");
    let decoded = percent::decode(spaced.as_bytes());
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

/// The `name=value` pairs; a name without `=` carries no credential.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|pair| pair.split_once('='))
}

fn names_key(pair: &str) -> bool {
    pair.split_once('=').is_some_and(|(name, _)| is_key(name))
}

fn is_key(name: &str) -> bool {
    *percent::decode(name.as_bytes()) == *b"key"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_and_the_rest_stays() {
        for (query, rest, key) in [
            ("", None, None),
            ("a=1", Some("a=1"), None),
            ("key=sk-1", None, Some("sk-1")),
            ("key=", None, Some("")),
            ("key=sk-1&a=1", Some("a=1"), Some("sk-1")),
            ("a=1&key=sk-1", Some("a=1"), Some("sk-1")),
            ("a=1&key=x&b=%20+&key=y&c", Some("a=1&b=%20+&c"), Some("x")),
            ("%6bey=sk-1&a=1", Some("a=1"), Some("sk-1")),
            ("%4Bey=1", Some("%4Bey=1"), None),
            ("%6b%65%79=sk%2d1+2", None, Some("sk-1 2")),
            ("%256bey=1", Some("%256bey=1"), None),
            ("keys=1&monkey=2&KEY=3", Some("keys=1&monkey=2&KEY=3"), None),
            ("key", Some("key"), None),
            ("a&&key=1&&b", Some("a&&&b"), Some("1")),
            ("key=a=b", None, Some("a=b")),
            ("key=%ff", None, Some("\u{fffd}")),
        ] {
            assert_eq!(without_key(query).as_deref(), rest, "{query}");
            assert_eq!(key_of(query).as_deref(), key, "{query}");
        }
    }
}
