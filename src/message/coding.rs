//! Content codings (RFC 9110 §8.4.1) undone, within bounds.
//!
//! `gzip`, `deflate`, `br` and `zstd` are known here; an answer in any other coding stays as it is.

mod brotli;
mod zstd;

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::header::{self, HeaderMap};

use brotli::Brotli;
use zstd::Zstd;

/// So much is undone at a time. Deflate makes at most 1,032 bytes of one, so that one step needs
/// little more than a mebibyte.
const STEP: usize = 1024;

/// The longest piece that is made at a time of what has no such bound.
const PIECE: usize = 64 * 1024;

/// A coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 alone, which some servers send under the same name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with a window of at most 8 MiB (RFC 9659).
    Zstd,
}

impl Coding {
    /// The coding of a message with these headers; `None` when it has none, several, or another.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut named = headers.get_all(header::CONTENT_ENCODING).iter();
        let (name, further) = (named.next()?.to_str().ok()?, named.next());
        if further.is_some() {
            return None;
        }
        Self::named(name)
    }

    /// The coding of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Whether the body of a message with these headers is in a coding, known here or not.
pub fn is_coded(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(header::CONTENT_ENCODING).iter();
    named.any(|name| !is_plain_name(name.as_bytes()))
}

fn is_plain_name(name: &[u8]) -> bool {
    let name = name.trim_ascii();
    name.is_empty() || name.eq_ignore_ascii_case(b"identity")
}

/// Takes out of a head what speaks of the coded form only.
pub fn forget_coding(headers: &mut HeaderMap) {
    for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    for name in ["content-md5", "digest", "content-digest"] {
        headers.remove(name);
    }
}

/// Undoes a coding piece by piece.
pub struct Decoder {
    form: Form,
    coded: Bytes,
    left: u64,
}

enum Form {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// `None` before the first byte, which tells RFC 1950 from 1951; whether the end has come.
    Deflate(Option<Decompress>, bool),
    Brotli(Brotli),
    Zstd(Box<Zstd>),
}

impl Decoder {
    /// For a message that is at most `limit` bytes long when the coding is undone.
    pub fn new(coding: Coding, limit: u64) -> Self {
        let form = match coding {
            Coding::Gzip => Form::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Deflate => Form::Deflate(None, false),
            Coding::Brotli => Form::Brotli(Brotli::new()),
            Coding::Zstd => Form::Zstd(Box::new(Zstd::new())),
        };
        Self {
            form,
            coded: Bytes::new(),
            left: limit,
        }
    }

    /// Takes the next coded piece. Call [`step`](Self::step) until it gives nothing more.
    pub fn push(&mut self, piece: Bytes) {
        self.coded = piece;
    }

    /// What some more of the coded piece says; `None` when all of it was used. May be empty.
    ///
    /// # Errors
    /// When it is not what the coding says, or longer than allowed.
    pub fn step(&mut self) -> io::Result<Option<Bytes>> {
        let plain = match &mut self.form {
            Form::Brotli(brotli) => brotli.step(&mut self.coded)?,
            Form::Zstd(zstd) => zstd.step(&mut self.coded)?,
            Form::Gzip(_) | Form::Deflate(..) if self.coded.is_empty() => None,
            Form::Gzip(gzip) => {
                gzip.write_all(&next(&mut self.coded))?;
                gzip.flush()?;
                Some(std::mem::take(gzip.get_mut()))
            }
            Form::Deflate(state, ended) => Some(inflate(state, ended, &next(&mut self.coded))?),
        };
        let Some(plain) = plain else {
            return Ok(None);
        };
        let length = plain.len() as u64;
        self.left = self.left.checked_sub(length).ok_or_else(|| {
            io::Error::other("it is longer than allowed when its content coding is undone")
        })?;
        Ok(Some(plain.into()))
    }

    /// Makes sure that the coded form came to its own end.
    ///
    /// # Errors
    /// When it did not.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.form {
            Form::Gzip(gzip) => gzip.try_finish(),
            Form::Deflate(_, ended) => ended_whole(*ended),
            Form::Brotli(brotli) => ended_whole(brotli.has_ended()),
            Form::Zstd(zstd) => ended_whole(zstd.has_ended()),
        }
    }
}

fn next(coded: &mut Bytes) -> Bytes {
    coded.split_to(coded.len().min(STEP))
}

fn ended_whole(ended: bool) -> io::Result<()> {
    if ended {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn inflate(state: &mut Option<Decompress>, ended: &mut bool, step: &[u8]) -> io::Result<Vec<u8>> {
    let zlib = step.first().is_some_and(|first| first & 0x8f == 0x08);
    let inflate = state.get_or_insert_with(|| Decompress::new(zlib));
    let mut plain = Vec::new();
    let mut used = 0;
    // What follows the end is nobody's.
    while !*ended {
        plain.reserve(8 * 1024);
        let (before_in, before_out) = (inflate.total_in(), plain.len());
        let coded = step.get(used..).unwrap_or_default();
        let status = inflate
            .decompress_vec(coded, &mut plain, FlushDecompress::None)
            .map_err(io::Error::other)?;
        used += usize::try_from(inflate.total_in() - before_in).unwrap_or(usize::MAX);
        *ended = matches!(status, Status::StreamEnd);
        // Room was left, so that nothing more comes of what there is.
        if used >= step.len() && plain.len() < plain.capacity()
            || plain.len() == before_out && coded.is_empty()
        {
            break;
        }
    }
    Ok(plain)
}

/// A whole message with its coding undone; `None` when it is damaged, or longer than `limit` then.
pub fn decoded(coding: Coding, coded: &Bytes, limit: u64) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(coding, limit);
    decoder.push(coded.clone());
    let mut plain = Vec::new();
    while let Some(piece) = decoder.step().ok()? {
        plain.extend_from_slice(&piece);
    }
    decoder.finish().ok()?;
    Some(plain)
}

/// A whole message in its plain form, which may be the one it came in; `None` when it is in a coding
/// that is not known here, damaged, or longer than `limit` then.
pub fn plain(headers: &HeaderMap, message: &Bytes, limit: u64) -> Option<Bytes> {
    if let Some(coding) = Coding::of(headers) {
        return decoded(coding, message, limit).map(Bytes::from);
    }
    (!is_coded(headers)).then(|| message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    const PLENTY: u64 = 64 * 1024 * 1024;

    fn forms(text: &[u8]) -> [(Coding, Bytes); 5] {
        let level = Compression::best();
        let mut gzip = GzEncoder::new(Vec::new(), level);
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        let mut bare = DeflateEncoder::new(Vec::new(), level);
        gzip.write_all(text).unwrap();
        zlib.write_all(text).unwrap();
        bare.write_all(text).unwrap();
        let mut brotli = Vec::new();
        ::brotli::BrotliCompress(
            &mut &*text,
            &mut brotli,
            &::brotli::enc::BrotliEncoderParams {
                quality: 5,
                ..Default::default()
            },
        )
        .unwrap();
        let zstd = compress_to_vec(text, CompressionLevel::Fastest);
        [
            (Coding::Gzip, gzip.finish().unwrap().into()),
            (Coding::Deflate, zlib.finish().unwrap().into()),
            (Coding::Deflate, bare.finish().unwrap().into()),
            (Coding::Brotli, brotli.into()),
            (Coding::Zstd, zstd.into()),
        ]
    }

    fn texts() -> Vec<Vec<u8>> {
        let noise = |n: u32| (0..n).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
        vec![
            Vec::new(),
            b"{}".to_vec(),
            noise(100_000).collect(),
            vec![b'a'; 3_000_000],
        ]
    }

    #[test]
    fn what_was_coded_comes_back_however_it_is_cut() {
        for text in texts() {
            for (coding, coded) in forms(&text) {
                assert_eq!(decoded(coding, &coded, PLENTY).as_ref(), Some(&text));
                let mut decoder = Decoder::new(coding, PLENTY);
                let mut plain = Vec::new();
                for piece in coded.chunks(7) {
                    decoder.push(Bytes::copy_from_slice(piece));
                    while let Some(piece) = decoder.step().unwrap() {
                        plain.extend_from_slice(&piece);
                    }
                }
                decoder.finish().unwrap();
                assert!(plain == text, "{coding:?} {}", text.len());
            }
        }
    }

    #[test]
    fn what_is_cut_or_damaged_or_too_long_is_no_message() {
        let text = texts().pop().unwrap();
        for (coding, coded) in forms(&text) {
            for cut in [1, coded.len() / 2, coded.len() - 1] {
                assert_eq!(decoded(coding, &coded.slice(..cut), PLENTY), None, "{cut}");
            }
            assert_eq!(decoded(coding, &Bytes::new(), PLENTY), None);
            assert_eq!(decoded(coding, &coded, text.len() as u64 - 1), None);
            assert!(decoded(coding, &coded, text.len() as u64).is_some());
        }
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            assert_eq!(decoded(coding, &"hello".into(), PLENTY), None, "{coding:?}");
        }
        assert_eq!(
            decoded(Coding::Deflate, &"\u{7f}hello".into(), PLENTY),
            None
        );
    }

    #[test]
    fn one_step_of_a_bomb_is_small() {
        let bomb = vec![0; 32 * 1024 * 1024];
        for (coding, coded) in forms(&bomb) {
            let mut decoder = Decoder::new(coding, PLENTY);
            decoder.push(coded);
            while let Some(piece) = decoder.step().unwrap() {
                assert!(piece.len() < 2 * 1024 * 1024, "{}", piece.len());
            }
        }
    }

    fn naming(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = header::HeaderValue::from_static(value);
            headers.append(header::CONTENT_ENCODING, value);
        }
        headers
    }

    #[test]
    fn a_message_is_plain_or_made_plain_or_nobodys() {
        let (_, coded) = forms(b"{}").into_iter().next().unwrap();
        let of = |values: &[&'static str], message: &Bytes| plain(&naming(values), message, 100);
        let text = Bytes::from_static(b"{}");
        assert_eq!(of(&["gzip"], &coded), Some(text.clone()));
        for none in [&[][..], &["identity"], &[" Identity "], &[""]] {
            assert_eq!(of(none, &text), Some(text.clone()), "{none:?}");
        }
        for other in [&["br"][..], &["gzip, gzip"], &["gzip", "identity"]] {
            assert_eq!(of(other, &coded), None, "{other:?}");
        }
        assert_eq!(of(&["gzip"], &text), None, "it is no gzip");
        assert_eq!(plain(&naming(&["gzip"]), &coded, 1), None);
    }

    #[test]
    fn only_one_known_coding_is_undone() {
        let of = |values: &[&'static str]| Coding::of(&naming(values));
        assert_eq!(of(&["gzip"]), Some(Coding::Gzip));
        assert_eq!(of(&[" X-GZip"]), Some(Coding::Gzip));
        assert_eq!(of(&["deflate"]), Some(Coding::Deflate));
        assert_eq!(of(&["br"]), Some(Coding::Brotli));
        assert_eq!(of(&["ZSTD"]), Some(Coding::Zstd));
        for other in [
            &["compress"][..],
            &["gzip, br"],
            &["gzip", "br"],
            &["identity"],
            &[],
        ] {
            assert_eq!(of(other), None);
        }
    }
}
