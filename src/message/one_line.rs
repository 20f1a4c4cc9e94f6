//! A stranger's words, as a line of the log, a message or a terminal may show them.

/// At most `most` letters of `text`, in one line. SECURITY: without control characters, so that nothing
/// ends the line or steers a terminal.
pub fn one_line(text: &str, most: usize) -> String {
    // As nearly every text is.
    if text.len() <= most && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    text.chars()
        .take(most)
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}
