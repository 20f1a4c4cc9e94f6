//! The reader against `serde_json`, and against itself in another spelling.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::read;
use crate::generation::Kind;

fn encoding(body: &[u8]) -> Option<Vec<u8>> {
    read(body, Kind::Chat).map(|reading| reading.encoding)
}

#[test]
fn what_is_read_and_what_is_raw() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}0{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for (name, body, canonical) in [
        ("object", "{\"a\":[1,true,null,\"x\"]}", true),
        ("scalar", " 1 ", true),
        (
            "all white space",
            "\t\r\n {\t\"a\"\n:\r1 , \"b\" : [ ] }\n",
            true,
        ),
        ("127 deep", &nested(127), true),
        ("128 deep", &nested(128), false),
        ("127 objects deep", &objects(127), true),
        ("128 objects deep", &objects(128), false),
        ("unclosed, very deep", &"[".repeat(100_000), false),
        ("beyond a double", "1e400", true),
        ("delete", "\"\u{7f}\"", true),
        ("pair", r#""\ud83d\ude00""#, true),
        ("null character", r#""\u0000""#, true),
        ("nothing", "", false),
        ("only space", "  ", false),
        ("byte order mark", "\u{feff}{}", false),
        ("rest", "{} x", false),
        ("two values", "{}{}", false),
        ("comma at the end", "[1,]", false),
        ("comma in object", "{\"a\":1,}", false),
        ("no comma", "[1 2]", false),
        ("comment", "[1/*x*/]", false),
        ("NaN", "NaN", false),
        ("infinity", "-Infinity", false),
        ("single quotes", "{'a':1}", false),
        ("bare key", "{a:1}", false),
        ("leading zero", "01", false),
        ("plus", "+1", false),
        ("no fraction", "1.", false),
        ("no whole", ".5", false),
        ("no exponent", "1e", false),
        ("sign alone", "-", false),
        ("exponent sign alone", "1e+", false),
        ("lone high surrogate", r#""\ud800""#, false),
        ("lone low surrogate", r#""\udc00""#, false),
        ("two high surrogates", r#""\ud800\ud800""#, false),
        ("high surrogate and text", r#""\ud800xxxxxx""#, false),
        ("short escape", r#""\u12""#, false),
        ("signed escape", r#""\u+123""#, false),
        ("no such escape", r#""\x41""#, false),
        ("newline in a string", "\"a\nb\"", false),
        ("unclosed string", "\"abc", false),
        ("escape at the end", "\"abc\\", false),
        ("short word", "tru", false),
        ("long word", "nulll", false),
        ("repeated key", "{\"a\":1,\"a\":1}", false),
        ("repeated escaped key", "{\"a\":1,\"\\u0061\":1}", false),
        (
            "repeated key deep down",
            "{\"x\":[{\"y\":{\"a\":1,\"b\":2,\"a\":1}}]}",
            false,
        ),
        (
            "repeated key apart",
            "{\"a\":{\"a\":1},\"b\":{\"a\":1}}",
            true,
        ),
        ("repeated left-out key", "{\"user\":1,\"user\":1}", false),
        (
            "repetition in a left-out value",
            "{\"user\":{\"a\":1,\"a\":1}}",
            false,
        ),
    ] {
        assert_eq!(encoding(body.as_bytes()).is_some(), canonical, "{name}");
    }
    assert!(encoding(b"\"\xff\"").is_none(), "no UTF-8");
    assert!(
        encoding(b"\"\xed\xa0\x80\"").is_none(),
        "a surrogate in UTF-8"
    );
}

#[test]
fn numbers_by_value() {
    let long = format!("0.{}", "3".repeat(3000));
    let longer = format!("{long}0");
    let other = format!("{long}1");
    for (a, b, equal) in [
        ("5", "5.0", true),
        ("5", "5e0", true),
        ("5", "0.5e1", true),
        ("5", "50E-1", true),
        ("5", "5.000e+00", true),
        ("5", "0.00005e5", true),
        ("500", "5e2", true),
        ("500", "0.5E+3", true),
        ("0", "-0", true),
        ("0", "-0.00e5", true),
        ("0", "0e99999999999999999999", true),
        ("0.1", "1e-1", true),
        ("10.50", "1.05e1", true),
        ("-1.5", "-15e-1", true),
        ("1e0000000000000000000000000000000002", "100", true),
        ("1e99999999999999999999", "1e99999999999999999999", true),
        (&long, &longer, true),
        ("5", "-5", false),
        ("5", "\"5\"", false),
        ("5", "[5]", false),
        ("1", "true", false),
        ("0", "null", false),
        ("9007199254740993", "9007199254740992", false),
        ("18446744073709551615", "18446744073709551616", false),
        ("0.1", "0.10000000000000001", false),
        ("1e400", "1e401", false),
        ("1e400", "-1e400", false),
        ("1e-400", "0", false),
        ("10", "1", false),
        ("0.1", "0.01", false),
        ("12e1", "1e21", false),
        ("1e99999999999999999999", "1e99999999999999999998", false),
        ("1e99999999999999999999", "1e-99999999999999999999", false),
        (&long, &other, false),
    ] {
        let (first, second) = (encoding(a.as_bytes()), encoding(b.as_bytes()));
        assert!(first.is_some() && second.is_some(), "{a} {b}");
        assert_eq!(first == second, equal, "{a} and {b}");
    }
}

#[test]
fn values_around_the_inline_length() {
    let mut seen = HashSet::new();
    for len in 1015..1035 {
        for c in ["a", "b"] {
            let text = c.repeat(len);
            for body in [
                format!("\"{text}\""),
                format!("[\"{text}\"]"),
                format!("{{\"k\":\"{text}\"}}"),
                format!("{{\"{text}\":1}}"),
                format!("[[\"{text}\"],1]"),
                format!(
                    "1{}",
                    text.replace(['a', 'b'], if c == "a" { "1" } else { "2" })
                ),
            ] {
                let plain = encoding(body.as_bytes()).unwrap();
                assert!(plain.len() <= 1027, "{} bytes", plain.len());
                let escaped = body.replace('a', "\\u0061").replace('b', "\\u0062");
                assert_eq!(encoding(escaped.as_bytes()), Some(plain.clone()));
                assert!(seen.insert(plain), "two of {len} are the same");
            }
        }
    }
}

#[test]
fn a_large_body_folds_into_a_few_bytes() {
    let list = format!("[{}0]", "0,".repeat(100_000));
    let members = |order: &mut dyn Iterator<Item = u32>, zeros: &str| {
        let members: Vec<_> = order.map(|i| format!("\"k{i}\":[{i}{zeros}]")).collect();
        format!("{{{}}}", members.join(","))
    };
    let object = members(&mut (0..5000), "");
    let reversed = members(&mut (0..5000).rev(), ".0");
    for body in [&list, &object, &reversed] {
        assert_eq!(encoding(body.as_bytes()).unwrap().len(), 33);
    }
    assert_eq!(encoding(object.as_bytes()), encoding(reversed.as_bytes()));
    let other = list.replacen("0,0]", "0,1]", 1);
    assert_ne!(encoding(list.as_bytes()), encoding(other.as_bytes()));
}

#[test]
fn too_many_members_are_not_sorted() {
    let members = |count: u32| {
        let members: Vec<_> = (0..count).map(|i| format!("\"{i}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(encoding(members(1 << 12).as_bytes()).is_some());
    assert!(encoding(members((1 << 18) + 1).as_bytes()).is_none());
}

/// A value as it is meant, to be written in many ways.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Bool(bool),
    /// This many times this power of ten.
    Number(i64, i16),
    Text(String),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        (any::<i64>(), -30..30_i16).prop_map(|(c, e)| Tree::Number(c, e)),
        (-20..20_i64, -3..3_i16).prop_map(|(c, e)| Tree::Number(c, e)),
        any::<String>().prop_map(Tree::Text),
        "[a-c]{0,3}".prop_map(Tree::Text),
        (1000..1100_usize).prop_map(|len| Tree::Text("é".repeat(len / 2))),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
            prop::collection::btree_map("\\PC{0,4}", inner, 0..6).prop_map(Tree::Map),
        ]
    })
}

/// Choices for one way of writing.
struct Style(u64);

impl Style {
    fn pick(&mut self, of: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % of
    }

    fn space(&mut self) -> &'static str {
        ["", "", " ", "\n", "\t\r "][usize::try_from(self.pick(5)).unwrap()]
    }

    fn write(&mut self, tree: &Tree) -> String {
        let text = match tree {
            Tree::Null => "null".to_owned(),
            Tree::Bool(value) => value.to_string(),
            Tree::Number(coefficient, exponent) => self.number(*coefficient, *exponent),
            Tree::Text(text) => self.text(text),
            Tree::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.write(item)).collect();
                format!("[{}{}]", self.space(), items.join(","))
            }
            Tree::Map(members) => {
                let mut members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| {
                        let (key, space) = (self.text(key), self.space());
                        (
                            self.pick(1000),
                            format!("{space}{key}{space}:{}", self.write(value)),
                        )
                    })
                    .collect();
                members.sort();
                let members: Vec<_> = members.into_iter().map(|(_, member)| member).collect();
                format!("{{{}{}}}", members.join(","), self.space())
            }
        };
        format!("{}{text}{}", self.space(), self.space())
    }

    fn number(&mut self, coefficient: i64, exponent: i16) -> String {
        let digits = coefficient.unsigned_abs().to_string();
        let sign = if coefficient < 0 { "-" } else { "" };
        match self.pick(5) {
            0 if exponent == 0 => coefficient.to_string(),
            1 => format!("{coefficient}.000E{exponent}"),
            2 if coefficient != 0 => format!("{coefficient}00e{}", exponent - 2),
            3 => format!(
                "{sign}0.00{digits}e{}",
                exponent + 2 + i16::try_from(digits.len()).unwrap()
            ),
            _ => format!("{coefficient}e{exponent}"),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut out = "\"".to_owned();
        for c in text.chars() {
            let must = matches!(c, '"' | '\\' | '\0'..='\u{1f}');
            match (must, self.pick(4)) {
                (_, 0) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let unit = format!("\\u{unit:04x}");
                        out += &if self.pick(2) == 0 {
                            unit
                        } else {
                            unit.replace('a', "A")
                        };
                    }
                }
                (false, _) => out.push(c),
                (true, _) => match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    '\n' => out += "\\n",
                    '\t' => out += "\\t",
                    _ => write!(out, "\\u{:04X}", u32::from(c)).unwrap(),
                },
            }
        }
        out + "\""
    }
}

/// Changes the leaf that `countdown` reaches, or gives false.
fn change_leaf(tree: &mut Tree, countdown: &mut usize) -> bool {
    match tree {
        Tree::List(items) if !items.is_empty() => {
            return items.iter_mut().any(|item| change_leaf(item, countdown));
        }
        Tree::Map(members) if !members.is_empty() => {
            return members
                .values_mut()
                .any(|value| change_leaf(value, countdown));
        }
        _ => {}
    }
    if *countdown > 0 {
        *countdown -= 1;
        return false;
    }
    *tree = match &*tree {
        Tree::Null => Tree::Bool(false),
        Tree::Bool(value) => Tree::Bool(!value),
        Tree::Number(c, e) => Tree::Number(c ^ 1, *e),
        Tree::Text(text) => Tree::Text(format!("{text}x")),
        Tree::List(_) => Tree::Map(BTreeMap::new()),
        Tree::Map(_) => Tree::List(Vec::new()),
    };
    true
}

/// Accepts what `serde_json` accepts, without a repeated key.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        while items.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, _)) = map.next_entry::<String, Strict>()? {
            if !keys.insert(key) {
                return Err(serde::de::Error::custom("repeated"));
            }
        }
        Ok(Strict)
    }
}

fn agrees_with_serde(body: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<Strict>(body);
    let ours = encoding(body).is_some();
    match theirs {
        Ok(_) => prop_assert!(
            ours,
            "only serde_json reads {:?}",
            body.escape_ascii().to_string()
        ),
        // We keep numbers that no double holds.
        Err(error) if error.to_string().starts_with("number out of range") => {}
        Err(error) => prop_assert!(!ours, "{}: {:?}", error, body.escape_ascii().to_string()),
    }
    Ok(())
}

proptest! {
    #[test]
    fn spelling_does_not_count(tree in trees(), one: u64, other: u64) {
        let (one, other) = (Style(one).write(&tree), Style(other).write(&tree));
        prop_assert!(encoding(one.as_bytes()).is_some(), "{}", one);
        prop_assert_eq!(encoding(one.as_bytes()), encoding(other.as_bytes()));
    }

    #[test]
    fn every_leaf_counts(tree in trees(), style: u64, which in 0..20_usize) {
        let mut changed = tree.clone();
        let changed_one = change_leaf(&mut changed, &mut which.clone());
        prop_assert!(changed_one || change_leaf(&mut changed, &mut 0));
        let (one, other) = (Style(style).write(&tree), Style(style).write(&changed));
        prop_assert_ne!(encoding(one.as_bytes()), encoding(other.as_bytes()), "{} {}", one, other);
    }

    #[test]
    fn order_in_a_list_counts(a in trees(), b in trees()) {
        let (a, b) = (Style(0).write(&a), Style(0).write(&b));
        prop_assume!(encoding(a.as_bytes()) != encoding(b.as_bytes()));
        let (one, other) = (format!("[{a},{b}]"), format!("[{b},{a}]"));
        prop_assert_ne!(encoding(one.as_bytes()), encoding(other.as_bytes()));
    }

    #[test]
    fn serde_json_agrees_on_damaged_bodies(
        tree in trees(), style: u64, at: prop::sample::Index, byte: u8, cut: bool,
    ) {
        let mut body = Style(style).write(&tree).into_bytes();
        agrees_with_serde(&body)?;
        let at = at.index(body.len());
        if cut {
            body.remove(at);
        } else {
            body[at] = byte;
        }
        agrees_with_serde(&body)?;
    }

    #[test]
    fn serde_json_agrees_on_token_soup(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\":", "0", "1", "-", ".", "e", "E",
                "+", "12", "true", "false", "null", " ", "\n", "\\", "\\n", "\\u", "d800", "\\udc00",
                "\\u0061", "é", "\u{1}", "1e5", "-0.0", "{}", "[]", "\"\"",
            ]),
            0..12,
        )
    ) {
        agrees_with_serde(tokens.concat().as_bytes())?;
    }

    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>) {
        agrees_with_serde(&body)?;
    }
}
