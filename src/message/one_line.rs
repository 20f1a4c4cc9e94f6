//! A stranger's words, as a line of the log, a message or a terminal may show them.

use std::borrow::Cow;

/// At most `most` letters of `text`, in one line. SECURITY: without control characters, so that nothing
/// ends the line or steers a terminal.
pub fn one_line(text: &str, most: usize) -> Cow<'_, str> {
    // As nearly every text is.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    if text.len() <= most && text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        return text.into();
    }
    text.chars()
        .take(most)
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}
