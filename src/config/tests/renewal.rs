//! Access tokens that renew themselves.

use super::{authority::told, *};

const SHA: &str = "sha256:10bce5d74dfed2e3bb30541ef77e1e47a7a36b5959e9913762dddb208780fd48";
const OAUTH2: &str = "dialect: oauth2, issuer: 'https://idp.test', client: {id: sidegate}, scopes: [openid]";

/// What is told of a client with these keys of `access_token`.
fn client(remote: &str, access: &str, grants: &str) -> Vec<String> {
    told(&config(&with(remote, access, grants, "")))
}

fn with(remote: &str, access: &str, grants: &str, more: &str) -> String {
    format!(
        "authority: {{issuer: 'https://auth.example.com', audiences: [api], {remote} clients: [{{id: app, secret_hashes: \
         ['{SHA}'], grants: [{grants}], access_token: {{{access}}}}}]}}\nstore: {{memory: {{}}}}\n{more}"
    )
}

fn assert_told(told: &[String], expected: &str) {
    assert!(told.iter().any(|line| line == expected), "{told:#?}");
}

const PLACE: &str = "authority.clients[0].access_token.renewal";

#[test]
fn only_opaque_tokens_of_our_own_slide() {
    let remote = format!("remote: {{{OAUTH2}, tokens: pass_through}},");
    let jwt = client("", "renewal: sliding, format: jwt", "password");
    let remedy = "format: opaque, or renewal: successor";
    assert_told(&jwt, &format!("{PLACE}: a JWT says itself when it ends, so it cannot slide; {remedy}"));
    assert_told(
        &client(&remote, "renewal: sliding", "password"),
        &format!(
            "{PLACE}: the authority's own tokens end when it says so, so they cannot slide; tokens: own in authority.remote"
        ),
    );
    assert!(client("", "renewal: sliding", "client_credentials").iter().any(|line| line.starts_with(PLACE)));
    assert!(client("", "renewal: sliding", "api_key").iter().all(|line| !line.starts_with(PLACE)));
    let unknown = client("", "renewal: always", "password");
    assert!(unknown.iter().any(|line| line.contains("sliding")), "{unknown:#?}");
}

#[test]
fn only_jwts_of_our_own_have_successors() {
    let remote = format!("remote: {{{OAUTH2}, tokens: pass_through}},");
    for access in ["renewal: successor", "renewal: successor, format: opaque"] {
        let told = client("", access, "password");
        assert_told(&told, &format!("{PLACE}: only a JWT has a successor; format: jwt, or renewal: sliding"));
    }
    assert_told(
        &client(&remote, "renewal: successor", "password"),
        &format!(
            "{PLACE}: the authority's own tokens end when it says so, and what follows them is not ours to say; tokens: own \
             in authority.remote"
        ),
    );
    let jwt = "renewal: successor, format: jwt";
    assert!(client("", jwt, "client_credentials").iter().any(|line| line.starts_with(PLACE)));
    assert!(client("", jwt, "authorization_code").iter().all(|line| !line.starts_with(PLACE)));
}

#[test]
fn successors_stand_where_nothing_else_does() {
    let headers = |headers: &str| {
        let more = format!("refresh: {{successor_headers: {{{headers}}}}}\n");
        told(&config(&with("", "format: jwt", "client_credentials", &more)))
    };
    assert_eq!(headers("token: X-Next, expires_in: X-Next-Life"), <[&str; 0]>::default());
    let place = "refresh.successor_headers";
    let remedy = "write a name that nobody else uses, for example X-Access-Token";
    for name in ["Authorization", "Set-Cookie", "Cache-Control", "CDN-Cache-Control", "ETag", "Access-Control-Max-Age"]
    {
        let lower = name.to_lowercase();
        assert_eq!(
            headers(&format!("token: {name}")),
            [format!("{place}.token: {lower} means something else in an answer; {remedy}")]
        );
    }
    assert_eq!(
        headers("expires_in: Connection"),
        [format!("{place}.expires_in: connection belongs to a single connection or frames the message")]
    );
    assert_eq!(headers("token: 'X Next'").len(), 1);
    assert_eq!(
        headers("token: X-Next, expires_in: x-next"),
        [format!("{place}: token and expires_in are both x-next; give each a name of its own")]
    );
    let upstreams = "upstreams: [{name: app, url: 'http://127.0.0.1:1', credential: {none: {}}, identity_headers: {X-Sub: sub}}]\n\
                     routes: [{name: all, paths: ['/*'], upstream: app, policy: {audiences: [api]}}]\n\
                     refresh: {successor_headers: {token: x-sub}}\n";
    assert_told(
        &told(&config(&with("", "format: jwt", "password", upstreams))),
        &format!("{place}.token: x-sub is among the identity_headers of an upstream; {remedy}"),
    );
}

#[test]
fn scripts_may_read_them_as_soon_as_a_client_has_them() {
    let routes = "upstreams: [{name: app, url: 'http://127.0.0.1:1', credential: {none: {}}}]\n\
                  routes: [{name: all, paths: ['/*'], upstream: app, policy: {audiences: [api]}, \
                  cors: {origins: ['https://app.example.com'], expose_headers: [X-Access-Token]}}]\n";
    for (access, exposed) in [
        ("format: jwt", &["x-access-token"][..]),
        ("format: jwt, renewal: successor", &["x-access-token", "x-access-token-expires-in"]),
    ] {
        let written = config(&with("", access, "password", routes));
        let config = load_with(&written, &[]).unwrap().config;
        assert_eq!(config.routes[0].cors.as_ref().unwrap().expose_headers, exposed);
        assert_eq!(config.successors.is_some(), exposed.len() == 2);
    }
}
