//! The key of a JSON body: equal exactly for equal meanings, however the body is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reprise_fuzz::asked;
use reprise_fuzz::spelling::{self, Choices};
use reprise_fuzz::tree;

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let kind = asked::kind(first);
    let mut bodies = rest.splitn(2, |byte| *byte == 0);
    let body = bodies.next().unwrap_or_default();
    let one = asked::json(kind, body);

    if let Some(whole) = tree::read(body) {
        let respelt = spelling::other(&whole, &mut Choices::of(rest));
        let mut two = asked::json(kind, respelt.as_bytes());
        // The one thing that depends on how it is written is how long it is.
        two.extent.body = one.extent.body;
        assert_eq!(one, two, "{respelt}");

        // The canonical text is a body too, and its own canonical text.
        let canonical = spelling::canonical(&tree::counted(kind, whole));
        let key = asked::json(kind, canonical.as_bytes()).fingerprint;
        assert_eq!(one.fingerprint, key, "{canonical}");
        let again = tree::read(canonical.as_bytes()).map(|tree| tree::counted(kind, tree));
        let again = again.map(|tree| spelling::canonical(&tree));
        assert_eq!(again.as_ref(), Some(&canonical));
    } else {
        let longer = [body, b" "].concat();
        let longer = asked::json(kind, &longer);
        assert_ne!(one.fingerprint, longer.fingerprint, "raw bytes all count");
    }

    if let Some(other) = bodies.next() {
        let two = asked::json(kind, other);
        let same = tree::meaning(kind, body).equals(&tree::meaning(kind, other));
        if let Some(same) = same {
            assert_eq!(one.fingerprint == two.fingerprint, same);
        }
    }
});
