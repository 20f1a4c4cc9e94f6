//! A strict reader of the text that a Prometheus server reads (its format, version 0.0.4).

use std::collections::{BTreeMap, BTreeSet};

/// What stands on a page: every figure by its name and labels, as it was written.
#[derive(Debug, Default)]
pub(crate) struct Page {
    kinds: BTreeMap<String, String>,
    figures: BTreeMap<String, String>,
}

impl Page {
    /// Reads a page; whatever a strict reader would refuse fails the test.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut page = Self::default();
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["#", "HELP", name, said] => {
                    assert!(helped.insert((*name).to_owned()), "helped twice: {line}");
                    assert!(said.ends_with('.'), "no sentence: {line}");
                }
                ["#", "TYPE", name, kind] => {
                    assert!(is_name(name), "{line}");
                    assert!(helped.contains(*name), "HELP comes first: {line}");
                    assert!(["counter", "gauge", "histogram"].contains(kind), "{line}");
                    let before = page.kinds.insert((*name).to_owned(), (*kind).to_owned());
                    assert_eq!(before, None, "a family stands in one place: {line}");
                    (*name).clone_into(&mut family);
                }
                ["#", ..] => panic!("a comment that means nothing: {line}"),
                _ => page.figure(line, &family),
            }
        }
        page.check_histograms();
        page
    }

    fn figure(&mut self, line: &str, family: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let number: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let mut names = BTreeSet::new();
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            assert!(is_name(label) && names.insert(label), "{line}");
            assert!(value.len() < 100 && !value.is_empty(), "{line}");
        }
        let rest = name.strip_prefix(family).unwrap_or("another family");
        match self.kinds.get(family).map(String::as_str) {
            Some("histogram") => assert!(["_sum", "_count", "_bucket"].contains(&rest), "{line}"),
            Some("counter") => {
                assert!(rest.is_empty() && name.ends_with("_total"), "{line}");
                assert!(number >= 0.0, "{line}");
            }
            Some(_) => assert!(rest.is_empty(), "{line}"),
            None => panic!("a figure without a family: {line}"),
        }
        let before = self.figures.insert(series.to_owned(), value.to_owned());
        assert_eq!(before, None, "written twice: {line}");
    }

    /// Buckets hold those of the smaller ones too, and the last one holds all.
    fn check_histograms(&self) {
        for series in self.figures.keys() {
            let Some((name, labels)) = series.split_once("_count{") else {
                continue;
            };
            let mut buckets: Vec<(f64, u64)> = self
                .figures
                .keys()
                .filter_map(|series| {
                    let rest = series.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?;
                    let (upto, rest) = rest.split_once("\",")?;
                    (rest == labels).then(|| (upto.parse().unwrap(), self.of(series)))
                })
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(
                buckets.is_sorted_by(|a, b| a.1 <= b.1),
                "{series}: {buckets:?}"
            );
            let last = buckets.last().unwrap();
            let all = last.0.is_infinite() && last.1 == self.of(series);
            assert!(all, "{series}: {buckets:?}");
        }
    }

    /// One figure by its name and labels, as it was written; what was not written has not happened.
    pub(crate) fn text(&self, series: &str) -> &str {
        self.figures.get(series).map_or("0", String::as_str)
    }

    /// One count by its name and labels; what was not written has not happened.
    pub(crate) fn of(&self, series: &str) -> u64 {
        let value = self.text(series);
        value
            .parse()
            .unwrap_or_else(|_| panic!("no count: {series} {value}"))
    }

    /// Whether a figure is there, and more than nothing.
    pub(crate) fn is_positive(&self, series: &str) -> bool {
        let value = self.figures.get(series);
        value.is_some_and(|value| value.parse::<f64>().unwrap() > 0.0)
    }

    /// The sum of a family's counts but for those with `label`.
    pub(crate) fn sum_without(&self, name: &str, label: &str) -> u64 {
        let all = self.figures.keys();
        let of_it = all.filter(|series| series.split('{').next() == Some(name));
        let counted = of_it.filter(|series| !series.contains(label));
        counted.map(|series| self.of(series)).sum()
    }

    /// The names of all families.
    pub(crate) fn families(&self) -> Vec<&str> {
        self.kinds.keys().map(String::as_str).collect()
    }
}

fn is_name(text: &str) -> bool {
    let letter = |letter: u8| letter.is_ascii_alphabetic() || letter == b'_';
    let all = text
        .bytes()
        .all(|byte| letter(byte) || byte.is_ascii_digit());
    all && text.bytes().next().is_some_and(letter)
}
