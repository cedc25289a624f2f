//! An authority outside: what could never work there is a problem before anybody tries it.

use super::*;

const SHA: &str = "sha256:10bce5d74dfed2e3bb30541ef77e1e47a7a36b5959e9913762dddb208780fd48";

/// In front of an authority that speaks `dialect`; the client `app` may do `grants`.
fn house(dialect: &str, accounts: &str, grants: &str, more: &str) -> (files::Folder, String) {
    let folder = files::Folder::new();
    folder.write("secret", "V4xr0kq2LmPz7TnB9sWd");
    let secret = folder.path().join("secret").display().to_string();
    let client = match dialect {
        "consinco" => String::new(),
        _ => format!("client: {{ id: sidegate, secret_file: {secret} }},"),
    };
    let source = config(&format!(
        "authority:
  issuer: https://auth.example.com
  audiences: [api]
  remote: {{ dialect: {dialect}, url: 'https://legacy.example.com/token', accounts: {accounts}, {client} }}
  clients: [{{ id: app, secret_hashes: ['{SHA}'], grants: [{grants}] }}]
  {}
store: {{ memory: {{}} }}",
        more.replace("SECRET", &secret),
    ));
    (folder, source)
}

fn told(dialect: &str, accounts: &str, grants: &str, more: &str) -> Vec<String> {
    let (_folder, source) = house(dialect, accounts, grants, more);
    let without_place = |text: String| text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned());
    problems(&source).into_iter().map(without_place).collect()
}

#[test]
fn a_grant_that_the_authority_has_no_word_for_is_a_problem() {
    let place = "authority.clients[0].grants[0]: the authority outside speaks";
    let remedy = "nothing could ever be got so; write accounts: mapped and give accounts to users or clients of this \
                  file, or take this grant away";
    for (dialect, grant, what) in [
        ("oauth2", "api_key", "API keys"),
        ("consinco", "api_key", "API keys"),
        ("redex", "password", "passwords"),
        ("redex", "client_credentials", "clients on their own behalf"),
        ("consinco", "client_credentials", "clients on their own behalf"),
    ] {
        let expected = format!("{place} {dialect}, which knows no {what}: {remedy}");
        assert_eq!(told(dialect, "presented", grant, ""), [expected], "{dialect} {grant}");
    }
    for (dialect, grants) in
        [("oauth2", "password, client_credentials, refresh_token"), ("redex", "api_key, refresh_token")]
    {
        assert_eq!(told(dialect, "presented", grants, ""), [""; 0], "{dialect} {grants}");
    }
    assert_eq!(
        told("oauth2", "presented", "basic", ""),
        [
            "authority.clients[0].grants[0]: names and passwords of each request are compared with users of this file, and \
          there are none; write accounts: mapped and list the users, or take this grant away"
        ]
    );
}

#[test]
fn a_sign_in_at_consinco_has_a_company_from_somewhere() {
    let expected = "authority.clients[0].grants[0]: the authority outside asks for a company, and such a sign-in names \
                    none; write company under authority.remote, or take this grant away";
    assert_eq!(told("consinco", "presented", "password", ""), [expected]);
    let (_folder, source) = house("consinco", "presented", "password", "");
    assert_eq!(problems(&source.replace("accounts:", "company: '12', accounts:")), [""; 0]);
}

#[test]
fn an_account_is_one_that_the_authority_has() {
    let user =
        |account: &str| format!("users: [{{ username: ana, api_key_hashes: ['{SHA}'], account: {{ {account} }} }}]");
    let place = "authority.users[0].account";
    for (dialect, account, problem) in [
        (
            "oauth2",
            "api_key_file: SECRET",
            "api_key_file: the authority outside knows no API keys; write username and password_file",
        ),
        (
            "consinco",
            "api_key_file: SECRET",
            "api_key_file: the authority outside knows no API keys; write username and password_file",
        ),
        (
            "redex",
            "username: a, password_file: SECRET",
            "username: the authority outside knows no passwords; write api_key_file",
        ),
        (
            "oauth2",
            "username: a, password_file: SECRET, company: b",
            "company: it means nothing to oauth2; leave it out",
        ),
        (
            "consinco",
            "username: a, password_file: SECRET",
            "company: missing: the authority outside asks for a company; write it here, or for all of them under authority.remote",
        ),
    ] {
        assert_eq!(told(dialect, "mapped", "api_key", &user(account)), [format!("{place}.{problem}")], "{account}");
    }
    for (dialect, account) in [
        ("oauth2", "username: a, password_file: SECRET"),
        ("consinco", "username: a, password_file: SECRET, company: b"),
        ("redex", "api_key_file: SECRET"),
    ] {
        assert_eq!(told(dialect, "mapped", "api_key", &user(account)), [""; 0], "{dialect}");
    }
}

#[test]
fn whom_an_account_is_needed_for_has_one() {
    assert_eq!(
        told("oauth2", "mapped", "client_credentials", ""),
        ["authority.clients[0].grants[0]: the client has no account at the authority outside; give it an account, or \
          take this grant away"]
    );
    let service = "user_service: { http: { url: 'https://users.example.com' } }";
    assert_eq!(
        told("oauth2", "mapped", "password", service),
        [
            "authority.user_service: its users have no accounts at the authority outside, so none of them could sign in; \
          list the users, each with an account, or write accounts: presented and leave user_service out"
        ]
    );
}

#[test]
fn a_user_with_an_api_key_needs_no_password() {
    assert_eq!(
        told("oauth2", "mapped", "api_key", &format!("users: [{{ username: ana, api_key_hashes: ['{SHA}'] }}]")),
        [""; 0]
    );
    assert_eq!(
        told("oauth2", "mapped", "password", "users: [{ username: ana }]"),
        ["authority.users[0].password_hash: missing, and api_key_hashes as well; sidegate hash makes one"]
    );
}
