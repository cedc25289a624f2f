//! The authority outside.

use super::*;

fn house(remote: &str, more: &str) -> String {
    config(&format!(
        "authority:
  issuer: https://auth.example.com/tenant
  audiences: [api]
  clients:
    - {{ id: app, public: true, grants: [authorization_code], redirect_uris: ['https://app.example.com/cb'] }}
  remote: {{ dialect: oauth2, client: {{ id: sidegate }}, {remote} }}
{more}store: {{ memory: {{}} }}"
    ))
}

fn authority(remote: &str, more: &str) -> Authority {
    load_with(&house(remote, more), &[]).unwrap().config.authority.unwrap()
}

const IDP: &str = "issuer: 'https://idp.example.com'";

#[test]
fn users_sign_in_there_unless_it_is_written_otherwise() {
    let there = authority(IDP, "");
    let sign_in = there.remote.as_ref().unwrap().sign_in().unwrap();
    assert_eq!(sign_in.redirect_uri, "https://auth.example.com/oauth20/callback", "of the host, as all endpoints");
    assert_eq!(there.endpoints.callback.as_deref(), Some("/oauth20/callback"));
    assert!(there.endpoints.paths().any(|path| path == "/oauth20/callback"));
    assert_eq!(there.remote.unwrap().scopes.to_string(), "openid offline_access");
    for remote in [
        format!("{IDP}, authorize: password"),
        format!("{IDP}, callback: off"),
        format!("{IDP}, accounts: mapped"),
        "url: 'https://idp.example.com/token'".to_owned(),
    ] {
        let here = authority(&remote, "");
        assert_eq!((here.remote.unwrap().sign_in(), here.endpoints.callback), (None, None), "{remote}");
    }
    assert_eq!(authority(IDP, "  endpoints: { authorize: off }\n").endpoints.callback, None, "nobody is sent away");
}

#[test]
fn what_could_not_work_is_a_problem() {
    for (remote, wrong) in [
        (format!("{IDP}, callback: /oauth20/token"), "remote.callback: \"/oauth20/token\" is already endpoints.token"),
        (format!("{IDP}, callback: nowhere"), "does not start with /"),
        (format!("{IDP}, authorize: sign_in, callback: off"), "users must come back somewhere"),
        (format!("{IDP}, authorize: sign_in, accounts: mapped"), "accounts: mapped uses those of this file"),
        (format!("{IDP}, scopes: [orders]"), "openid is missing"),
        (format!("{IDP}, authorization_parameters: {{ state: x }}"), "sidegate sets it itself"),
        (
            "url: 'https://idp.example.com/token', authorization_endpoint: 'https://idp.example.com/auth'".to_owned(),
            "who signed in stands in an ID token",
        ),
    ] {
        let found = problems(&house(&remote, ""));
        assert!(found.len() == 1 && found[0].contains(wrong), "{remote}: {found:?}");
    }
}
