//! Kept files for whoever has the link: whole and in parts, and never anything else.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hyper::Method;
use reprise::clock::Clock;
use reprise::config::{Client, OwnLimits};
use reprise::generation::{Fingerprint, Kind};
use reprise::media::Name;
use reprise::store::{DiskStore, Entry, Payload, Record, Store};
use tempfile::TempDir;

use crate::house::{Answer, House, flip_a_bit};
use crate::wire::{Wire, exchange};

/// A data directory with these files in it, and their names in links.
fn disk(files: &[(&[u8], &str)]) -> (TempDir, Vec<Name>) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = DiskStore::open(dir.path(), Clock::system()).unwrap();
    let keep = |(bytes, extension): &(&[u8], &str)| {
        let mut blob = store.new_blob().unwrap();
        blob.write(bytes).unwrap();
        Name::new(blob.finish().unwrap().hash, extension)
    };
    let names = files.iter().map(keep).collect();
    (dir, names)
}

/// A house that keeps one file, and the path of the link to it.
async fn keeping(bytes: &[u8], extension: &str) -> (House, String) {
    let (dir, names) = disk(&[(bytes, extension)]);
    (House::new().disk(dir.path()).await, names[0].to_string())
}

fn blob_file(house: &House, name: &str) -> std::path::PathBuf {
    let hash = name
        .strip_prefix("/media/")
        .unwrap()
        .split('.')
        .next()
        .unwrap();
    house.data_dir().join("blobs").join(&hash[..2]).join(hash)
}

/// Bytes that are nowhere the same.
fn clip(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("a clip for tests")
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

async fn get(house: &House, target: &str, headers: &[(&str, &str)]) -> Answer {
    let call = house.client().get(target);
    let add = |call: crate::house::Call, (name, value): &(&str, &str)| call.header(name, value);
    headers.iter().fold(call, add).send().await
}

#[tokio::test]
async fn a_file_is_shown_whole_to_whoever_has_the_link() {
    let bytes = clip(1_000_000);
    let (dir, names) = disk(&[(&bytes, "mp4")]);
    // No key is asked for, and one that is wrong does no harm.
    let house = House::new()
        .disk(dir.path())
        .config(|config| {
            let client = Client {
                key_hash: blake3::hash(b"sk-alice"),
                limits: OwnLimits::default(),
            };
            config.clients.insert("alice".into(), client);
        })
        .await;
    let path = names[0].to_string();
    for client in [house.client(), house.client_h2()] {
        let answer = client.get(&path).key("wrong").send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, bytes);
        let told = [
            ("content-type", "video/mp4"),
            ("content-length", "1000000"),
            ("accept-ranges", "bytes"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("content-disposition", "inline"),
            ("x-content-type-options", "nosniff"),
            (
                "content-security-policy",
                "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'",
            ),
        ];
        for (name, value) in told {
            assert_eq!(answer.header(name), value, "{name}");
        }
        let hash = blake3::hash(&bytes).to_hex();
        assert_eq!(answer.header("etag"), format!("\"{hash}\""));
        assert!(answer.header("x-request-id").starts_with("req_"));

        let head = client
            .call(Method::HEAD, &path)
            .header("range", "bytes=0-1")
            .send()
            .await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for (name, value) in told {
            assert_eq!(head.header(name), value, "HEAD {name}");
        }
    }
    assert_eq!(house.client().get("/v1/models").send().await.status, 401);
}

#[tokio::test]
async fn parts_are_the_bytes_that_they_say() {
    let bytes = clip(700_001);
    let (house, path) = keeping(&bytes, "webm").await;
    let table = [
        ("bytes=0-0", 0..1),
        ("bytes=0-", 0..700_001),
        ("bytes=700000-", 700_000..700_001),
        ("bytes=262143-262144", 262_143..262_145),
        ("bytes=262144-524287", 262_144..524_288),
        ("bytes=1-699999", 1..700_000),
        ("bytes=500000-9999999", 500_000..700_001),
        ("bytes=-1", 700_000..700_001),
        ("bytes=-600000", 100_001..700_001),
        ("bytes=-9999999", 0..700_001),
    ];
    for (range, expected) in table {
        let answer = get(&house, &path, &[("range", range)]).await;
        assert_eq!(answer.status, 206, "{range}");
        let said = format!("bytes {}-{}/700001", expected.start, expected.end - 1);
        assert_eq!(answer.header("content-range"), said, "{range}");
        assert_eq!(answer.header("content-length"), expected.len().to_string());
        assert_eq!(answer.header("content-type"), "video/webm");
        assert!(answer.body == bytes[expected], "{range}");
    }
    for range in ["bytes=0-1,5-6", "bytes=5-1", "bytes=x", "seconds=0-1"] {
        let answer = get(&house, &path, &[("range", range)]).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 700_001),
            "{range}"
        );
        assert_eq!(answer.header("content-range"), "");
    }
}

/// Letter by letter, on one connection: what has no content has none, and the next answer follows.
#[tokio::test]
async fn conditions_on_the_wire() {
    let (house, path) = keeping(b"0123456789", "png").await;
    let hash = blake3::hash(b"0123456789").to_hex();
    let mut wire = Wire::open(house.addr()).await;
    let table = [
        (format!("If-None-Match: \"{hash}\""), 304, &[][..], ""),
        (format!("If-None-Match: \"x\", W/\"{hash}\""), 304, &[], ""),
        ("If-None-Match: *".to_owned(), 304, &[], ""),
        (
            "If-None-Match: \"x\"".to_owned(),
            200,
            &["10"],
            "0123456789",
        ),
        ("If-Match: \"x\"".to_owned(), 412, &["0"], ""),
        (format!("If-Match: \"{hash}\""), 200, &["10"], "0123456789"),
        ("Range: bytes=10-".to_owned(), 416, &["0"], ""),
        (
            format!("If-Range: \"{hash}\"\r\nRange: bytes=2-4"),
            206,
            &["3"],
            "234",
        ),
        (
            "If-Range: \"x\"\r\nRange: bytes=2-4".to_owned(),
            200,
            &["10"],
            "0123456789",
        ),
    ];
    for (fields, status, length, content) in table {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
        wire.say(request).await;
        let head = wire.head().await;
        assert_eq!(head.status(), status, "{fields}");
        assert_eq!(head.all("content-length"), length, "{fields}");
        let body = if status == 304 {
            Vec::new()
        } else {
            wire.body(&head).await
        };
        assert_eq!(body, content.as_bytes(), "{fields}");
        let of_the_file = matches!(status, 200 | 206 | 304);
        assert_eq!(head.has("etag"), of_the_file, "{fields}");
        assert_eq!(head.has("cache-control"), of_the_file, "{fields}");
        if status == 416 {
            assert_eq!(head.all("content-range"), ["bytes */10"]);
        }
    }
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let (house, path) = keeping(b"", "txt").await;
    let whole = get(&house, &path, &[]).await;
    assert_eq!((whole.status, whole.header("content-length")), (200, "0"));
    assert_eq!(
        get(&house, &path, &[("range", "bytes=-5")]).await.status,
        200
    );
    let none = get(&house, &path, &[("range", "bytes=0-")]).await;
    assert_eq!(
        (none.status, none.header("content-range")),
        (416, "bytes */0")
    );
}

#[tokio::test]
async fn anything_but_a_kept_file_is_not_there() {
    let bytes = clip(1000);
    let (house, path) = keeping(&bytes, "mp4").await;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    // What lies beside the blobs, for those who try to leave the folder.
    let token = house.data_dir().join("admin-token");
    assert!(token.exists());
    let missing = "0".repeat(64);
    let wrong = [
        format!("/media/{missing}.mp4"),
        format!("/media/{hash}"),
        format!("/media/{hash}.html"),
        format!("/media/{hash}.MP4"),
        format!("/media/{}.mp4", hash.to_uppercase()),
        format!("/media/{}.mp4", &hash[..63]),
        format!("/media/{hash}.mp4/"),
        format!("/media//{hash}.mp4"),
        format!("/media/{hash}%2Emp4"),
        "/media/".to_owned(),
        "/media/admin-token".to_owned(),
        "/media/..%2fadmin-token.txt".to_owned(),
        "/media/%2e%2e%2fadmin-token".to_owned(),
    ];
    for target in wrong {
        let (head, body) = exchange(
            house.addr(),
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        )
        .await;
        assert_eq!(head.status(), 404, "{target}");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], "media_not_found", "{target}");
    }
    for target in [
        "/media/../admin-token",
        "/media/..\\admin-token",
        "/media/%2e%2e/%2e%2e/etc/passwd.txt",
        "/media/admin-token%00.txt",
    ] {
        let (head, body) = exchange(
            house.addr(),
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        )
        .await;
        assert!(
            (400..500).contains(&head.status()),
            "{target}: {}",
            head.first
        );
        let secret = fs::read(&token).unwrap();
        assert!(
            !body.windows(16).any(|part| secret.starts_with(part)),
            "{target}"
        );
    }
    assert_eq!(get(&house, "/media", &[]).await.error_code(), "not_found");
    assert_eq!(get(&house, &path, &[]).await.status, 200);
    // Any other ending that is known names the same bytes as something else.
    let image = get(&house, &format!("/media/{hash}.bin"), &[]).await;
    assert_eq!(
        (image.status, image.header("content-type")),
        (200, "application/octet-stream")
    );
}

#[tokio::test]
async fn only_reading_is_served() {
    let (house, path) = keeping(b"clip", "mp4").await;
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ] {
        let answer = house.client().call(method.clone(), &path).send().await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, "GET, HEAD"),
            "{method}"
        );
        assert_eq!(answer.error_code(), "method_not_allowed");
    }
    assert_eq!(get(&house, &path, &[]).await.body, "clip");
}

#[tokio::test]
async fn hosts_and_origins_are_judged_as_everywhere() {
    let (dir, names) = disk(&[(b"clip", "mp4")]);
    let house = House::new()
        .disk(dir.path())
        .config(|config| config.allowed_origins = vec!["https://app.example".into()])
        .await;
    let path = names[0].to_string();
    let foreign = get(&house, &path, &[("host", "attacker.example")]).await;
    assert_eq!(
        (foreign.status, foreign.error_code()),
        (421, "host_not_allowed".to_owned())
    );
    let page = get(&house, &path, &[("origin", "https://evil.example")]).await;
    assert_eq!(
        (page.status, page.error_code()),
        (403, "origin_not_allowed".to_owned())
    );
    let embedded = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "no-cors"),
    ];
    assert_eq!(get(&house, &path, &embedded).await.status, 403);
    let followed = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    assert_eq!(get(&house, &path, &followed).await.body, "clip");

    let ours = get(
        &house,
        &path,
        &[("origin", "https://app.example"), ("range", "bytes=1-2")],
    )
    .await;
    assert_eq!((ours.status, ours.text().as_str()), (206, "li"));
    assert_eq!(
        ours.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert!(
        ours.header("access-control-expose-headers")
            .contains("content-range")
    );
    let preflight = house
        .client()
        .call(Method::OPTIONS, &path)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
        .send()
        .await;
    assert_eq!(preflight.status, 204);
}

#[tokio::test]
async fn a_download_has_a_name() {
    let (house, path) = keeping(b"clip", "mp4").await;
    let hash = blake3::hash(b"clip").to_hex();
    for (query, expected) in [
        (
            "?download",
            format!("attachment; filename=\"video-{}.mp4\"", &hash[..16]),
        ),
        (
            "?download=boat.mp4",
            "attachment; filename=\"boat.mp4\"".to_owned(),
        ),
        (
            "?download=..%2f%22boat%0d%0aX-Evil:%201",
            "attachment; filename=\"boatX-Evil 1.mp4\"".to_owned(),
        ),
        ("?t=1", "inline".to_owned()),
    ] {
        let answer = get(&house, &format!("{path}{query}"), &[]).await;
        assert_eq!(answer.header("content-disposition"), expected, "{query}");
        assert_eq!(
            (answer.body.as_ref(), answer.header("x-evil")),
            (&b"clip"[..], "")
        );
    }
}

#[tokio::test]
async fn a_damaged_file_is_told_and_not_sent() {
    let (mut house, path) = keeping(&clip(5000), "mp4").await;
    assert_eq!(get(&house, &path, &[]).await.status, 200);
    flip_a_bit(&blob_file(&house, &path), 17);
    for again in 0..2 {
        for range in ["bytes=0-10", "bytes=0-"] {
            let answer = get(&house, &path, &[("range", range)]).await;
            assert_eq!(
                (answer.status, answer.error_code()),
                (500, "media_unreadable".to_owned()),
                "{again}"
            );
            assert!(!answer.text().contains(house.data_dir().to_str().unwrap()));
        }
        house.restart().await;
    }
    fs::remove_file(blob_file(&house, &path)).unwrap();
    let gone = get(&house, &path, &[]).await;
    assert_eq!(
        (gone.status, gone.error_code()),
        (404, "media_not_found".to_owned())
    );
}

#[tokio::test]
async fn a_file_that_shrinks_under_a_reader_ends_its_connection() {
    // More than any buffer between here and there takes at once.
    let (house, path) = keeping(&clip(16 * 1024 * 1024), "mp4").await;
    let mut opened = house.client().get(&path).open().await.unwrap();
    assert_eq!(opened.status, 200);
    assert!(opened.next().await.unwrap().is_ok());
    let file = fs::OpenOptions::new()
        .write(true)
        .open(blob_file(&house, &path))
        .unwrap();
    file.set_len(1024).unwrap();
    assert!(
        opened.rest().await.is_err(),
        "half a file must not look whole"
    );
}

#[tokio::test]
async fn a_reader_who_has_the_file_open_reads_it_to_its_end() {
    let bytes = clip(16 * 1024 * 1024);
    let (house, path) = keeping(&bytes, "mp4").await;
    let mut opened = house.client().get(&path).open().await.unwrap();
    assert!(opened.next().await.unwrap().is_ok());
    fs::remove_file(blob_file(&house, &path)).unwrap();
    assert!(opened.rest().await.unwrap().body == bytes);
    assert_eq!(get(&house, &path, &[]).await.status, 404);
}

fn curl(folder: &Path, args: &[&str]) -> Output {
    Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--max-time", "20"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_reads_parts_and_goes_on_where_it_stopped() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("left out: there is no curl");
        return;
    }
    let bytes = clip(3_000_000);
    let (house, path) = keeping(&bytes, "mp4").await;
    let link = format!("http://{}{path}", house.addr());
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = curl(folder.path(), args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    assert!(run(&["-r", "5-9", &link]) == bytes[5..10]);
    assert!(run(&["-r", "-7", &link]) == bytes[2_999_993..]);
    assert!(
        run(&["--http2-prior-knowledge", "-r", "1000000-2999999", &link]) == bytes[1_000_000..]
    );

    fs::write(folder.path().join("clip.mp4"), &bytes[..1_234_567]).unwrap();
    run(&["-C", "-", "-o", "clip.mp4", &link]);
    assert!(fs::read(folder.path().join("clip.mp4")).unwrap() == bytes);

    run(&["-OJ", &format!("{link}?download=paper+boat")]);
    assert!(fs::read(folder.path().join("paper boat.mp4")).unwrap() == bytes);

    let etags: [&[&str]; 2] = [
        &["--etag-save", "etag", "-o", "a.mp4"],
        &[
            "--etag-compare",
            "etag",
            "-o",
            "b.mp4",
            "-w",
            "%{http_code}",
        ],
    ];
    assert!(run(&[etags[0], &[&link]].concat()).is_empty());
    assert_eq!(run(&[etags[1], &[&link]].concat()), b"304");
}

/// An image whose answer is a blob, from long ago.
fn image(body: &[u8]) -> Entry {
    Entry {
        record: Record {
            key: Fingerprint::from_bytes([7; 32]),
            kind: Kind::Images,
            path: "/v1/images/generations".into(),
            model: None,
            client: "local".into(),
            status: 200,
            headers: Vec::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            elapsed_ms: 1,
            usd: None,
            run: None,
            extent: None,
            task: None,
            previous: None,
            media: Vec::new(),
            passed_by: None,
        },
        body: Payload::Bytes(body.to_vec().into()),
        polls: Vec::new(),
    }
}

/// What is looked at by its link is in use: others go first when there is no room.
#[tokio::test]
async fn a_file_that_is_served_counts_as_used() {
    let bytes = clip(100_000);
    let name = format!("/media/{}.png", blake3::hash(&bytes).to_hex());
    let tag = format!("\"{}\"", blake3::hash(&bytes).to_hex());
    let get = |house: &House| house.client().get(&name);
    let table = [
        ("whole", 200, true),
        ("part", 206, true),
        ("unchanged", 304, true),
        ("head", 200, false),
        ("beyond", 416, false),
    ];
    for (what, status, used) in table {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskStore::open(dir.path(), Clock::system()).unwrap().0;
        store.put(&image(&bytes)).unwrap();
        drop(store);
        let mut house = House::new().disk(dir.path()).await;
        let call = match what {
            "part" => get(&house).header("range", "bytes=5-6"),
            "unchanged" => get(&house).header("if-none-match", &tag),
            "beyond" => get(&house).header("range", "bytes=100000-"),
            "head" => house.client().call(Method::HEAD, &name),
            _ => get(&house),
        };
        assert_eq!(call.send().await.status, status, "{what}");
        house.shutdown().await;
        let store = DiskStore::open(&house.data_dir(), Clock::system())
            .unwrap()
            .0;
        let key = Fingerprint::from_bytes([7; 32]);
        let kept = store.glance(&key).unwrap().unwrap();
        assert_eq!(kept.last_used_at > kept.created_at, used, "{what}");
    }
}
