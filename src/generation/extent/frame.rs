//! The size of a clip's picture, as Seedance makes it.

/// The side that a picture may have at most, in pixels.
const LONGEST: u32 = 8192;

/// The resolution that is meant when nothing says one: `720p`.
pub(super) const USUAL: u32 = 720;

/// The height of a landscape picture that `word` names: `1080p`, `2k`, `4K`.
pub(super) fn resolution(word: &str) -> Option<u32> {
    let word = word.trim().to_ascii_lowercase();
    match word.as_str() {
        "2k" => return Some(1440),
        "4k" => return Some(2160),
        _ => {}
    }
    let digits = word.strip_suffix('p')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let height = digits.parse().ok().filter(|_| plain)?;
    (144..=4320).contains(&height).then_some(height)
}

/// The resolution at the end of a model's name: `doubao-seedance-2-0-1080p`.
pub(super) fn of_model(name: &str) -> Option<u32> {
    resolution(name.rsplit(['-', '_', '/', ':']).next()?)
}

/// A ratio such as `16:9`; `None` for `adaptive` and everything else that names none.
pub(super) fn ratio(word: &str) -> Option<(u32, u32)> {
    pair(word, ':', 100)
}

/// A size such as `1280x720`.
pub(super) fn size(word: &str) -> Option<(u32, u32)> {
    pair(&word.to_ascii_lowercase(), 'x', LONGEST)
}

fn pair(word: &str, between: char, most: u32) -> Option<(u32, u32)> {
    let (left, right) = word.split_once(between)?;
    let side = |digits: &str| {
        let side = digits.trim().parse().ok()?;
        (1..=most).contains(&side).then_some(side)
    };
    Some((side(left)?, side(right)?))
}

/// Width and height of a clip. The pictures of one resolution have about the same area in every
/// ratio; the sides are those of Seedance where they are known.
pub(super) fn sides(height: u32, (wide, high): (u32, u32)) -> (u32, u32) {
    let known = match (height, wide, high) {
        (480, 16, 9) => (864, 496),
        (480, 4, 3) => (752, 560),
        (480, 1, 1) => (640, 640),
        (480, 21, 9) => (992, 432),
        (720, 4, 3) => (1112, 834),
        (720, 1, 1) => (960, 960),
        (720, 21, 9) => (1470, 630),
        (1080, 4, 3) => (1664, 1248),
        (1080, 1, 1) => (1440, 1440),
        (1080, 21, 9) => (2206, 946),
        (_, 9, 16 | 21) | (_, 3, 4) => {
            let (width, height) = sides(height, (high, wide));
            return (height, width);
        }
        _ => return of_area(height, wide, high),
    };
    known
}

/// The sides of a picture in this ratio with the area of a 16:9 one of this height.
fn of_area(height: u32, wide: u32, high: u32) -> (u32, u32) {
    let area = u64::from(height) * u64::from(height) * 16 / 9;
    let side = |along: u32, across: u32| {
        let square = area * u64::from(along) / u64::from(across).max(1);
        u32::try_from(square.isqrt())
            .unwrap_or(LONGEST)
            .clamp(1, LONGEST)
    };
    (side(wide, high), side(high, wide))
}
