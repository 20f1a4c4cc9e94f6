//! The media that runs result in: small, real, playable, and each run's own.

use bytes::{BufMut, Bytes, BytesMut};

/// 1.5 s of H.264 (160×90, yuv420p, index in front), made with ffmpeg from its test picture.
const CLIP: &[u8] = include_bytes!("assets/clip.mp4");
/// 64×64 pixels of a colour gradient, made with ffmpeg.
const PICTURE: &[u8] = include_bytes!("assets/picture.png");
/// Bytes of a PNG's last chunk, `IEND`.
const IEND: usize = 12;
/// Samples a second of a tone.
const RATE: u32 = 8_000;

/// The clip with `mark` in a `free` box at its end, which players skip.
pub(super) fn clip(mark: &str) -> Bytes {
    let mut clip = BytesMut::from(CLIP);
    put_chunk_length(&mut clip, mark.len() + 8);
    clip.extend_from_slice(b"free");
    clip.extend_from_slice(mark.as_bytes());
    clip.freeze()
}

/// The picture with `mark` as a comment.
pub(super) fn picture(mark: &str) -> Bytes {
    let (front, end) = PICTURE.split_at(PICTURE.len() - IEND);
    let mut chunk = b"tEXtComment\0".to_vec();
    chunk.extend_from_slice(mark.as_bytes());
    let mut picture = BytesMut::from(front);
    put_chunk_length(&mut picture, chunk.len() - 4);
    picture.extend_from_slice(&chunk);
    picture.put_u32(crc32(&chunk));
    picture.extend_from_slice(end);
    picture.freeze()
}

/// Half a second of a square wave as WAV (8 bits, mono); the run's number sets its pitch, and a `note`
/// chunk says it in full.
pub(super) fn tone(run: u64) -> Bytes {
    let samples = RATE / 2;
    let half_wave = u32::try_from(run % 16).unwrap_or_default() + 5;
    let mut tone = BytesMut::new();
    tone.extend_from_slice(b"RIFF");
    tone.put_u32_le(4 + (8 + 16) + (8 + 8) + 8 + samples);
    tone.extend_from_slice(b"WAVEfmt ");
    tone.put_u32_le(16);
    tone.put_u16_le(1);
    tone.put_u16_le(1);
    tone.put_u32_le(RATE);
    tone.put_u32_le(RATE);
    tone.put_u16_le(1);
    tone.put_u16_le(8);
    tone.extend_from_slice(b"note");
    tone.put_u32_le(8);
    tone.put_u64_le(run);
    tone.extend_from_slice(b"data");
    tone.put_u32_le(samples);
    tone.extend((0..samples).map(|at| {
        if (at / half_wave) % 2 == 0 {
            96_u8
        } else {
            160
        }
    }));
    tone.freeze()
}

fn put_chunk_length(out: &mut BytesMut, length: usize) {
    // Marks are short identifiers.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// The checksum of PNG chunks (PNG specification, annex D), a bit at a time: chunks are short.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            (crc >> 1) ^ 0xEDB8_8320
        } else {
            crc >> 1
        }
    };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(u32::MAX, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_at(bytes: &[u8], at: usize) -> usize {
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    }

    #[test]
    fn checksum_of_the_empty_end_chunk() {
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn every_chunk_of_a_picture_checks_out() {
        let picture = picture("run-1");
        assert!(picture.len() < 4096);
        assert_eq!(picture[..8], *b"\x89PNG\r\n\x1a\n");
        let (mut at, mut names) = (8, Vec::new());
        while at < picture.len() {
            let length = length_at(&picture, at);
            let chunk = &picture[at + 4..at + 8 + length];
            assert_eq!(crc32(chunk) as usize, length_at(&picture, at + 8 + length));
            names.push(String::from_utf8_lossy(&chunk[..4]).into_owned());
            at += length + 12;
        }
        assert_eq!(names.first().unwrap(), "IHDR");
        assert_eq!(names[names.len() - 2..], ["tEXt", "IEND"]);
    }

    #[test]
    fn a_clip_is_a_chain_of_boxes() {
        let clip = clip("task_1");
        assert!(clip.len() < 20 * 1024);
        let (mut at, mut names) = (0, Vec::new());
        while at < clip.len() {
            names.push(String::from_utf8_lossy(&clip[at + 4..at + 8]).into_owned());
            at += length_at(&clip, at);
        }
        assert_eq!(at, clip.len());
        assert_eq!(names, ["ftyp", "moov", "free", "mdat", "free"]);
        assert!(clip.ends_with(b"freetask_1"));
    }

    #[test]
    fn a_tone_is_as_long_as_it_says() {
        let tone = tone(3);
        let told = u32::from_le_bytes(tone[4..8].try_into().unwrap()) as usize;
        assert_eq!(told + 8, tone.len());
        assert_ne!(tone, super::tone(19), "the same pitch, another run");
    }
}
