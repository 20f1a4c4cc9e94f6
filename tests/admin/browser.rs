//! The console's page: a login, a cookie, and what no other page can do with it.

use crate::call::{Reply, request, send};
use crate::world::{CHAT, World};

type Sent<'a> = &'a [(&'a str, &'a str)];

/// A status and the code beside it.
type Said = (u16, &'static str);

async fn call(url: &str, method: &str, headers: Sent<'_>, body: &str) -> Reply {
    send(request(method, url, headers, body)).await
}

fn login(token: &str) -> String {
    serde_json::json!({ "token": token }).to_string()
}

/// These headers and a cookie.
fn with<'a>(cookie: &'a str, headers: Sent<'a>) -> Vec<(&'a str, &'a str)> {
    let cookie = [("cookie", cookie)];
    cookie.iter().chain(headers).copied().collect()
}

/// Name and value of a cookie, and its attributes.
fn cookie(reply: &Reply) -> (String, Vec<String>) {
    let set = reply.header("set-cookie").to_owned();
    let mut parts = set.split("; ").map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

#[tokio::test]
async fn the_token_is_exchanged_for_a_session() {
    let world = World::new().await;
    let proxy = world.serve().await;
    let (session, jobs) = (proxy.url("/api/session"), proxy.url("/api/jobs"));
    let token = world.token();
    for wrong in ["", "wrong", &token[1..]] {
        let refused = call(&session, "POST", &[], &login(wrong)).await;
        assert_eq!(refused.error(), (401, "invalid_admin_token".to_owned()));
        assert_eq!(refused.header("set-cookie"), "");
    }
    for odd in ["", "{}", "[]", "token"] {
        let refused = call(&session, "POST", &[], odd).await;
        assert_eq!(
            refused.error(),
            (400, "invalid_request".to_owned()),
            "{odd}"
        );
    }
    let entered = call(&session, "POST", &[], &login(&token)).await;
    assert_eq!((entered.status, entered.body.len()), (204, 0));
    let (pair, attributes) = cookie(&entered);
    let expected = ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"];
    assert_eq!(attributes, expected, "over plain HTTP without Secure");
    let value = pair.strip_prefix("reprise_session=").unwrap();
    assert!(value.len() == 64 && value != token, "a value of its own");
    assert_eq!(call(&jobs, "GET", &with(&pair, &[]), "").await.status, 200);
    let same = [("sec-fetch-site", "same-origin")];
    assert_eq!(
        call(&jobs, "GET", &with(&pair, &same), "").await.status,
        200
    );
    let both = [("authorization", "Bearer wrong")];
    assert_eq!(
        call(&jobs, "GET", &with(&pair, &both), "").await.status,
        401,
        "the header decides"
    );

    let out = call(&session, "DELETE", &with(&pair, &same), "").await;
    assert_eq!(out.status, 204);
    let (gone, attributes) = cookie(&out);
    assert_eq!(
        (gone.as_str(), attributes[1].as_str()),
        ("reprise_session=", "Max-Age=0")
    );
    let after = call(&jobs, "GET", &with(&pair, &[]), "").await;
    assert_eq!(
        after.error(),
        (401, "invalid_admin_token".to_owned()),
        "it has ended"
    );
    let said = proxy.stop().await;
    assert!(!said.contains(value) && !said.contains(&token), "{said}");
}

#[tokio::test]
async fn no_other_page_acts_through_the_cookie() {
    let world = World::new().await;
    let proxy = world
        .serve_with(&[("REPRISE_ALLOWED_ORIGINS", "http://app.example")])
        .await;
    let own = proxy.url("");
    let host = own.strip_prefix("http://").unwrap().to_owned();
    let entered = call(
        &proxy.url("/api/session"),
        "POST",
        &[],
        &login(&world.token()),
    )
    .await;
    let (pair, _) = cookie(&entered);
    let cookie = ("cookie", pair.as_str());
    let purge = proxy.url("/api/cache/purge");
    let jobs = proxy.url("/api/jobs");
    let bearer = format!("Bearer {}", world.token());
    let ok = (200, "");
    let foreign = (403, "origin_not_allowed");
    let table: [(&str, Sent<'_>, Said, Said); 11] = [
        ("no proof", &[cookie], ok, foreign),
        ("same origin", &[cookie, ("origin", &own)], ok, ok),
        (
            "same origin, told",
            &[cookie, ("sec-fetch-site", "same-origin")],
            ok,
            ok,
        ),
        (
            "another site",
            &[cookie, ("origin", "https://evil.example")],
            foreign,
            foreign,
        ),
        (
            "across sites",
            &[cookie, ("sec-fetch-site", "cross-site")],
            foreign,
            foreign,
        ),
        (
            "another port",
            &[cookie, ("origin", "http://127.0.0.1:1")],
            foreign,
            foreign,
        ),
        (
            "the same site",
            &[cookie, ("sec-fetch-site", "same-site")],
            foreign,
            foreign,
        ),
        ("nowhere", &[cookie, ("origin", "null")], foreign, foreign),
        (
            "an allowed page",
            &[cookie, ("origin", "http://app.example")],
            foreign,
            foreign,
        ),
        (
            "two words",
            &[cookie, ("origin", &own), ("sec-fetch-site", "same-site")],
            foreign,
            foreign,
        ),
        (
            "a rebound name",
            &[
                cookie,
                ("host", "evil.example"),
                ("origin", "http://evil.example"),
            ],
            (421, "host_not_allowed"),
            (421, "host_not_allowed"),
        ),
    ];
    for (name, headers, reads, changes) in table {
        let read = call(&jobs, "GET", headers, "").await;
        let changed = call(&purge, "POST", headers, "{}").await;
        for (reply, expected, what) in [(read, reads, "reads"), (changed, changes, "changes")] {
            if expected.0 == 200 {
                assert_eq!(reply.status, 200, "{name} {what}: {reply:?}");
            } else {
                let (status, code) = expected;
                assert_eq!(reply.error(), (status, code.to_owned()), "{name} {what}");
            }
        }
    }
    // The header needs no proof, and the cookie opens nothing but the console.
    let header = [("authorization", bearer.as_str())];
    assert_eq!(call(&purge, "POST", &header, "{}").await.status, 200);
    let page = [cookie, ("origin", own.as_str()), ("host", host.as_str())];
    let spent = call(&proxy.url(CHAT), "POST", &page, "{}").await;
    assert_eq!(spent.error(), (403, "origin_not_allowed".to_owned()));
}

#[tokio::test]
async fn the_page_is_whole_and_strict() {
    let world = World::new().await;
    let proxy = world.serve().await;
    let page = call(&proxy.url("/"), "GET", &[], "").await;
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    for foreign in [
        "http://", "https://", "style=", "onclick", "<style", "<script>",
    ] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    for (path, kind) in [
        ("/", "text/html"),
        ("/console.js", "text/javascript"),
        ("/console.css", "text/css"),
    ] {
        let file = call(&proxy.url(path), "GET", &[], "").await;
        assert!(file.header("content-type").starts_with(kind), "{path}");
        let rules = file.header("content-security-policy");
        assert!(
            rules.starts_with("default-src 'none'; script-src 'self';"),
            "{rules}"
        );
        assert!(
            rules.contains("frame-ancestors 'none'") && !rules.contains("unsafe"),
            "{rules}"
        );
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        let tag = file.header("etag").to_owned();
        let again = call(&proxy.url(path), "GET", &[("if-none-match", &tag)], "").await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        let posted = call(&proxy.url(path), "POST", &[], "").await;
        assert_eq!(posted.error(), (405, "method_not_allowed".to_owned()));
        assert!(path == "/" || html.contains(path), "{path} is used");
    }
    let followed = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    assert_eq!(
        call(&proxy.url("/"), "GET", &followed, "").await.status,
        200
    );
    let api = call(&proxy.url("/api/jobs"), "GET", &followed, "").await;
    assert_eq!(api.error(), (403, "origin_not_allowed".to_owned()));
    let rebound = call(&proxy.url("/"), "GET", &[("host", "evil.example")], "").await;
    assert_eq!(rebound.error(), (421, "host_not_allowed".to_owned()));
}

/// Who guesses waits, who has the token does not.
#[tokio::test]
async fn guesses_are_slow_and_keep_nobody_out() {
    let world = World::new().await;
    let proxy = world.serve().await;
    let url = proxy.url("/api/jobs");
    let start = std::time::Instant::now();
    let guesses: Vec<_> = (0..64)
        .map(|n| {
            let (url, bearer) = (url.clone(), format!("Bearer guess{n}"));
            tokio::spawn(async move { call(&url, "GET", &[("authorization", &bearer)], "").await })
        })
        .collect();
    let listed = proxy.admin("GET", "/api/jobs", &world.token(), "").await;
    assert_eq!(listed.status, 200);
    let (mut heard, mut sent_away) = (0, 0);
    for guess in guesses {
        let guess = guess.await.unwrap();
        match guess.status {
            401 => heard += 1,
            429 => {
                assert_eq!(guess.header("retry-after"), "1");
                assert_eq!(guess.json()["error"]["code"], "rate_limit_exceeded");
                sent_away += 1;
            }
            status => panic!("{status}"),
        }
    }
    assert!(heard >= 32 && sent_away > 0, "{heard} {sent_away}");
    // Two at once, a tenth of a second each.
    assert!(
        start.elapsed().as_millis() >= 1_500,
        "{:?}",
        start.elapsed()
    );
}
