//! An authority outside, and what has to do with it.

use super::{authority::told, files::Folder, *};

const SHA: &str = "sha256:10bce5d74dfed2e3bb30541ef77e1e47a7a36b5959e9913762dddb208780fd48";
const OAUTH2: &str = "dialect: oauth2, url: 'https://idp.test/token', client: {id: sidegate}";
const CONSINCO: &str = "dialect: consinco, url: 'https://old.test', company: '12'";

/// With an authority outside of which `remote` is said, and `more` of our own.
fn with(remote: &str, more: &str, rest: &str) -> String {
    config(&format!(
        "authority: {{issuer: 'https://auth.example.com', audiences: [api], remote: {{{remote}}}, clients: [{{id: app, \
         secret_hashes: ['{SHA}'], grants: [password]}}]{more}}}\nstore: {{memory: {{}}}}\n{rest}"
    ))
}

fn remote(remote: &str) -> Vec<String> {
    told(&with(remote, "", ""))
}

#[track_caller]
fn assert_told(told: &[String], expected: &str) {
    assert!(told.iter().any(|line| line == expected), "{told:#?}");
}

#[test]
fn each_api_has_its_defaults() {
    let loaded = |remote: &str| load_with(&with(remote, "", ""), &[]).unwrap().config;
    let oauth2 = loaded(OAUTH2).authority.unwrap().remote.unwrap();
    assert!(!oauth2.pass_through && !oauth2.mapped && oauth2.scopes.is_empty());
    assert_eq!(oauth2.authentication, RemoteAuthentication::None);
    assert_eq!(oauth2.timeout, std::time::Duration::from_secs(5));
    let consinco = loaded(&format!("{CONSINCO}, tokens: pass_through")).authority.unwrap().remote.unwrap();
    assert!(consinco.pass_through);
    let RemoteApi::Consinco { login, refresh, format, .. } = consinco.api else { panic!("another API") };
    assert_eq!(login.as_str(), "https://old.test/api/v1/auth/login");
    assert_eq!(refresh.as_str(), "https://old.test/api/v1/auth/refresh-token");
    assert_eq!(format, Format::Json);
    let refresh = loaded(OAUTH2).refresh;
    assert_eq!((refresh.ahead, refresh.wait), (None, std::time::Duration::from_secs(5)));
}

#[test]
fn keys_that_mean_nothing_to_the_api_are_refused() {
    for (remote_yaml, key, dialect) in [
        (format!("{OAUTH2}, token_path: /t"), "token_path", "oauth2"),
        (format!("{OAUTH2}, refresh_path: /t"), "refresh_path", "oauth2"),
        (format!("{OAUTH2}, format: xml"), "format", "oauth2"),
        (format!("{OAUTH2}, company: '1'"), "company", "oauth2"),
        (format!("{CONSINCO}, issuer: 'https://idp.test'"), "issuer", "consinco"),
        (format!("{CONSINCO}, scopes: [a]"), "scopes", "consinco"),
        (format!("{CONSINCO}, parameters: {{a: b}}"), "parameters", "consinco"),
        (format!("{CONSINCO}, callback: /back"), "callback", "consinco"),
    ] {
        let expected = format!("authority.remote.{key}: it means nothing to {dialect}; leave it out");
        assert_told(&remote(&remote_yaml), &expected);
    }
    assert_told(
        &remote(&format!("{CONSINCO}, authorize: sign_in")),
        "authority.remote.authorize: only an authority that speaks oauth2 has a page of its own",
    );
    assert_told(
        &remote(&format!("{CONSINCO}, client: {{id: sidegate}}")),
        "authority.remote.client: this API has no clients; leave it out",
    );
}

#[test]
fn it_is_known_where_it_is_and_secrets_do_not_travel_in_the_clear() {
    assert_told(
        &remote("dialect: oauth2, client: {id: sidegate}"),
        "authority.remote: neither issuer nor url: nobody knows where the authority is; write for example issuer: \
         https://idp.example.com, or its token endpoint as url",
    );
    assert_told(
        &remote("dialect: oauth2, url: 'http://idp.test/token', client: {id: sidegate}"),
        "authority.remote.url: \"http://idp.test/token\" is not https, so whoever is in between could exchange what is \
         read from it; use https; http is accepted on this machine only",
    );
    assert_told(
        &remote("dialect: consinco, url: 'https://old.test/?a=b'"),
        "authority.remote.url: paths are put behind it, so it has no query",
    );
    assert_told(
        &remote(&format!("{OAUTH2}, parameters: {{grant_type: x}}")),
        "authority.remote.parameters.grant_type: sidegate sets it itself; leave it out",
    );
}

#[test]
fn users_are_judged_here_or_there() {
    let user = format!("{{username: ana, password_hash: '{SHA}'}}");
    let users = format!(", users: [{user}]");
    assert_told(
        &told(&with(OAUTH2, &users, "")),
        "authority.remote.accounts: users are listed here, and whoever signs in is judged by the authority outside; write \
         accounts: mapped, or leave out users, users_file and user_service",
    );
    let folder = Folder::new();
    folder.write("password", "s3cret-there");
    let account = |account: &str| {
        let path = folder.path().join("password");
        let account = account.replace("FILE", &path.display().to_string());
        format!(", users: [{{username: ana, password_hash: '{SHA}', account: {account}}}]")
    };
    let good = account("{username: there, password_file: FILE}");
    let mapped = format!("{OAUTH2}, accounts: mapped");
    assert_eq!(load_with(&with(&mapped, &good, ""), &[]).map(drop).map_err(|problems| problems.list.len()), Ok(()));
    assert_told(
        &told(&with(OAUTH2, &good, "")),
        "authority.users[0].account: nobody uses it; write accounts: mapped under authority.remote",
    );
    for half in ["{username: there}", "{api_key_file: FILE, username: there}", "{api_key_file: FILE, company: '1'}"] {
        assert_told(
            &told(&with(&mapped, &account(half), "")),
            "authority.users[0].account: neither an API key nor a name and a password; write api_key_file, or username \
             and password_file",
        );
    }
}

#[test]
fn only_sessions_of_our_own_have_a_token_of_the_authority() {
    let upstreams = "upstreams: [{name: app, url: 'http://127.0.0.1:1', credential: {authority_token: {}}}]\n";
    let route = |more: &str| format!("{upstreams}routes: [{{name: all, paths: ['/*'], upstream: app, {more}}}]\n");
    let good = route("policy: {issuers: [local], audiences: [api]}");
    assert_eq!(load_with(&with(OAUTH2, "", &good), &[]).map(drop).map_err(|problems| problems.list.len()), Ok(()));
    assert_told(
        &told(&config(&route("policy: {audiences: [api]}"))),
        "upstreams[0].credential.authority_token: there is no authority outside whose token it could be; add \
         authority.remote, or choose another credential",
    );
    let foreign = "routes[0].policy.issuers: the upstream's credential is authority_token, which only sessions of our own \
                   have; write issuers: [local], or choose another credential";
    for policy in ["policy: {audiences: [api]}", "policy: {issuers: [local, corp], audiences: [api]}"] {
        assert_told(&told(&with(OAUTH2, "", &route(policy))), foreign);
    }
    assert_told(
        &told(&with(OAUTH2, "", &route("policy: {issuers: [local], audiences: [api]}, mode: observe"))),
        "routes[0].mode: observe forwards what would be refused, and this upstream's credential is authority_token: it \
         would let it in; use enforce, or an upstream with another credential",
    );
}

#[test]
fn a_session_that_begins_by_http_basic_asks_nobody_outside() {
    let routes = "routes: [{name: all, paths: ['/*'], upstream: app, token: {basic: app}, policy: {issuers: \
                  [local], audiences: [api]}}]\n";
    let source = with(OAUTH2, "", routes).replace("grants: [password", "grants: [basic, password");
    let told = told(&source);
    assert!(told.iter().any(|line| line.starts_with("routes[0].token.basic: ")), "{told:#?}");
}

#[test]
fn a_dialect_that_is_not_known_is_the_only_thing_told_of() {
    let only = |remote_yaml: &str, expected: &str| assert_eq!(remote(remote_yaml), [expected]);
    only(
        "dialect: Consinco, url: 'https://old.test', company: '12', format: xml",
        "authority.remote.dialect: \"Consinco\" is no dialect; did you mean \"consinco\"?",
    );
    only(
        "dialect: keycloak, issuer: 'https://idp.test'",
        "authority.remote.dialect: \"keycloak\" is no dialect; write oauth2, redex, consinco, or the name of one of \
         `dialects`",
    );
    only("url: 'https://old.test'", "authority.remote.dialect: missing; write for example dialect: oauth2");
}

#[test]
fn a_url_is_what_the_paths_stand_below() {
    assert_eq!(
        remote("dialect: consinco, url: 'https://old.test/api/v1/auth/login', company: '12'"),
        [
            "authority.remote.url: it ends with /api/v1/auth/login, which sidegate puts behind it; write only what stands \
          before it, or token_path for another path"
        ]
    );
    assert_eq!(remote("dialect: consinco, url: 'http://old.test', company: '12'").len(), 1, "told once");
    let written = with("dialect: oauth2, url: 'https://idp.test', client: {id: sidegate}", "", "");
    let warnings = load_with(&written, &[]).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.to_string().contains("authority.remote.url: it has no path")));
}

#[test]
fn tokens_that_are_passed_through_have_no_format_of_ours() {
    let (head, tail) = (
        format!(
            "authority: {{issuer: 'https://auth.example.com', audiences: [api], remote: {{{OAUTH2}, tokens: pass_through}}, "
        ),
        format!(
            "clients: [{{id: app, secret_hashes: ['{SHA}'], grants: [password], access_token: {{format: jwt}}}}]}}\n"
        ),
    );
    assert_eq!(
        told(&config(&format!("{head}{tail}store: {{memory: {{}}}}\n"))),
        ["authority.clients[0].access_token.format: clients get the authority's own access tokens, as those are \
          (authority.remote.tokens: pass_through); leave it out, or write tokens: own"]
    );
}
