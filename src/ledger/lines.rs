//! The lines of a file, the last first: of several lines of one run the last counts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::memrchr;

/// How much is read at once, in bytes.
const PIECE: usize = 1024 * 1024;
/// No line of ours is longer, in bytes.
const LONGEST: usize = 64 * 1024;

/// Shows each line of the first `len` bytes of `file` to `visit`, the last first, without its
/// newline; `None` is one that is too long to be a line. Empty ones are left out.
///
/// # Errors
/// When it cannot be read.
pub(super) fn each(file: &File, len: u64, visit: &mut dyn FnMut(Option<&[u8]>)) -> io::Result<()> {
    let mut left = len;
    let (mut piece, mut carried) = (Vec::new(), Vec::new());
    let mut too_long = false;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        left -= count as u64;
        // The beginning of a line stands in this piece, and its end was in the one after it.
        std::mem::swap(&mut piece, &mut carried);
        piece.clear();
        piece.resize(count, 0);
        file.read_exact_at(&mut piece, left)?;
        piece.append(&mut carried);
        let mut rest = piece.as_slice();
        while let Some(at) = memrchr(b'\n', rest) {
            let (before, line) = rest.split_at(at);
            let line = line.get(1..).unwrap_or_default();
            show(line, std::mem::take(&mut too_long), visit);
            rest = before;
        }
        let end = rest.len();
        piece.truncate(end);
        if end > LONGEST {
            too_long = true;
            piece.clear();
        }
    }
    show(&piece, too_long, visit);
    Ok(())
}

fn show(line: &[u8], too_long: bool, visit: &mut dyn FnMut(Option<&[u8]>)) {
    if too_long {
        visit(None);
    } else if !line.is_empty() {
        visit(Some(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn read(text: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let mut found = Vec::new();
        each(&file, text.len() as u64, &mut |line| {
            found.push(line.map(<[u8]>::to_vec));
        })
        .unwrap();
        found.reverse();
        found
    }

    #[test]
    fn a_file_is_its_lines() {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(read(b""), []);
        assert_eq!(read(b"\n\n"), []);
        assert_eq!(read(b"a"), [some("a")]);
        assert_eq!(read(b"a\nb\n"), [some("a"), some("b")]);
        assert_eq!(read(b"\na\n\nb"), [some("a"), some("b")]);
    }

    #[test]
    fn what_is_too_long_is_no_line_and_costs_no_other() {
        let long = "x".repeat(3 * PIECE);
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            read(format!("a\n{long}\nb\n").as_bytes()),
            [some("a"), None, some("b")]
        );
        assert_eq!(read(long.as_bytes()), [None]);
        assert_eq!(read(format!("{long}\nb").as_bytes()), [None, some("b")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pieces_do_not_show(lens in proptest::collection::vec(1_usize..60_000, 1..80)) {
            let lines: Vec<String> = lens
                .iter()
                .enumerate()
                .map(|(nth, len)| format!("{nth:0len$}"))
                .collect();
            let text = lines.join("\n");
            let found = read(text.as_bytes());
            let lines: Vec<_> = lines.into_iter().map(|line| Some(line.into_bytes())).collect();
            prop_assert_eq!(found, lines);
        }
    }
}
