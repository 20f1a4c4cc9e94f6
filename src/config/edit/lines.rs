//! Lines of a text, by where their bytes stand.

use std::ops::Range;

use super::draft::Splice;

/// A line of its own at `at`, which is where one begins, or the end of a text without a last newline.
pub(super) fn of_its_own(text: &str, at: usize, content: &str) -> Splice {
    let line = newline(text);
    let before = text.get(..at).unwrap_or_default();
    let first = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        line
    };
    Splice::new(at..at, format!("{first}{content}{line}"))
}

/// The lines that a range stands on.
pub(super) fn whole(text: &str, range: &Range<usize>) -> Range<usize> {
    start(text, range.start)..end(text, range.end)
}

/// Where the line begins that `at` stands on. A byte order mark stands before the first.
pub(super) fn start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    match text.get(start..at) {
        Some(line) if start == 0 && line.starts_with('\u{feff}') => '\u{feff}'.len_utf8(),
        _ => start,
    }
}

/// Where the line ends that `at` stands on, its newline included.
pub(super) fn end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find('\n')
        .map_or(text.len(), |newline| at + newline + 1)
}

/// Behind the comma that follows `at`, past blanks and comments.
pub(super) fn comma_after(text: &str, mut at: usize) -> Option<usize> {
    loop {
        let rest = text.get(at..)?;
        let blank = rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        if rest.starts_with('#') {
            at = end(text, at + blank);
        } else {
            return rest.starts_with(',').then_some(at + blank + 1);
        }
    }
}

/// Behind the blanks that follow `at` on its line.
pub(super) fn blank_after(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.len() - rest.trim_start_matches([' ', '\t']).len()
}

/// The last line of a text, its newline included.
pub(super) fn last(text: &str) -> &str {
    text.split_inclusive('\n').next_back().unwrap_or_default()
}

/// Whether nothing stands on a line.
pub(super) fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// How this text ends its lines.
pub(super) fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        Some(_) | None => "\n",
    }
}
