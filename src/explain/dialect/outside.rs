//! What would be said to the authority outside. It is written with placeholders where secrets stand, so that none can get
//! out by it.

use http::header;
use serde::Serialize;

use crate::{
    config::{self, Account, Client, Remote, RemoteApi, RemoteAuthentication, RemoteEndpoints, Users},
    dialect::{self, Content, Endpoint, Said},
    model::{ClientProof, Grant, PresentedClient, RefreshForm, Secret, TokenRequest},
};

#[derive(Debug, Serialize)]
pub struct Outside {
    pub dialect: String,
    /// Why this is said, or nothing.
    pub says: String,
    pub request: Option<Sent>,
}

#[derive(Debug, Serialize)]
pub struct Sent {
    pub method: &'static str,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What follows from `request` at the authority of `remote`.
pub fn tell(
    request: &TokenRequest,
    client: Option<&Client>,
    authority: &config::Authority,
    remote: &Remote,
) -> Outside {
    let dialect = remote.api.dialect().to_owned();
    let (says, grant) = match masked(request, client, authority, remote) {
        Ok(said) => said,
        Err(why) => return Outside { dialect, says: why.to_owned(), request: None },
    };
    match dialect::write_request(&remote.api, &as_said(grant, remote)) {
        Ok(said) => Outside { dialect, says: says.to_owned(), request: Some(sent(&said, remote)) },
        Err(error) => Outside { dialect, says: format!("nothing, and it would be refused: {error}"), request: None },
    }
}

/// What is asked for, without its secrets, and why.
fn masked(
    request: &TokenRequest,
    client: Option<&Client>,
    authority: &config::Authority,
    remote: &Remote,
) -> Result<(&'static str, Grant), &'static str> {
    match &request.grant {
        Grant::AuthorizationCode { .. } => Err("nothing: it gave its tokens when the user signed in"),
        Grant::RefreshToken { .. } => {
            Ok(("when its tokens of the session are due", Grant::RefreshToken { token: hidden() }))
        }
        presented if !remote.mapped => Ok(("what is presented goes on", without_secrets(presented))),
        Grant::ClientCredentials => client
            .and_then(|client| client.account.as_ref())
            .map(|account| ("with the account of the client", of_account(account)))
            .ok_or("nothing: the client has no account there"),
        Grant::Password { username, .. } => {
            let Users::Listed(users) = &authority.users else { return Err("nothing: only listed users have accounts") };
            users
                .get(username)
                .and_then(|user| user.account.as_ref())
                .map(|account| ("with the account of the user", of_account(account)))
                .ok_or("nothing: the user has no account there")
        }
        Grant::ApiKey { .. } => Err("what the account of the user says whose key it is"),
    }
}

fn without_secrets(grant: &Grant) -> Grant {
    match grant {
        Grant::Password { username, company, .. } => {
            Grant::Password { username: username.clone(), password: hidden(), company: company.clone() }
        }
        Grant::ApiKey { .. } => Grant::ApiKey { key: hidden() },
        Grant::ClientCredentials => Grant::ClientCredentials,
        Grant::RefreshToken { .. } => Grant::RefreshToken { token: hidden() },
        Grant::AuthorizationCode { .. } => {
            Grant::AuthorizationCode { code: hidden(), redirect_uri: None, verifier: None }
        }
    }
}

fn of_account(account: &Account) -> Grant {
    match account {
        Account::Password { username, company, .. } => {
            Grant::Password { username: username.clone(), password: hidden(), company: company.clone() }
        }
        Account::ApiKey(_) => Grant::ApiKey { key: hidden() },
    }
}

/// As we are known there.
fn as_said(grant: Grant, remote: &Remote) -> TokenRequest {
    let (proof, by_header) = match &remote.authentication {
        RemoteAuthentication::None => (ClientProof::None, false),
        RemoteAuthentication::Basic(_) => (ClientProof::Secret(hidden()), true),
        RemoteAuthentication::Form(_) => (ClientProof::Secret(hidden()), false),
        RemoteAuthentication::PrivateKeyJwt { .. } => (ClientProof::Assertion(hidden()), false),
    };
    TokenRequest {
        client: PresentedClient { id: Some(remote.client_id.clone()), proof, by_header },
        grant,
        scope: Some(remote.scopes.clone()),
        resources: Vec::new(),
        refresh_form: RefreshForm::Full,
    }
}

fn sent(said: &Said, remote: &Remote) -> Sent {
    let mut headers = vec![(header::ACCEPT.to_string(), String::from_utf8_lossy(said.accept.as_bytes()).into_owned())];
    if said.authorization.is_some() {
        headers.push((header::AUTHORIZATION.to_string(), format!("Basic {HIDDEN}")));
    }
    let mut url = url_of(remote, said);
    let readable = |text: &str| text.replace(HIDDEN_IN_FORM, HIDDEN);
    let (method, body) = match &said.content {
        Content::Body { content_type, body } => {
            let content_type = String::from_utf8_lossy(content_type.as_bytes()).into_owned();
            headers.push((header::CONTENT_TYPE.to_string(), content_type));
            ("POST", readable(&String::from_utf8_lossy(body.expose())))
        }
        Content::Query(query) => {
            url = format!("{url}?{}", readable(query.expose()));
            ("GET", String::new())
        }
    };
    Sent { method, url, headers, body }
}

fn url_of(remote: &Remote, said: &Said) -> String {
    match (&remote.api, said.endpoint) {
        (RemoteApi::Declared { base, .. }, _) => said.place(base).to_string(),
        (RemoteApi::Redex { token: url, .. } | RemoteApi::Consinco { login: url, .. }, Endpoint::Obtain)
        | (RemoteApi::Redex { refresh: url, .. } | RemoteApi::Consinco { refresh: url, .. }, Endpoint::Renew) => {
            url.to_string()
        }
        (RemoteApi::OAuth2(oauth2), _) => match &oauth2.endpoints {
            RemoteEndpoints::Given { token, .. } => token.to_string(),
            RemoteEndpoints::Discovery { issuer } => format!("the token_endpoint in the metadata of {issuer}"),
        },
    }
}

fn hidden() -> Secret<String> {
    Secret::new(HIDDEN.to_owned())
}

const HIDDEN: &str = "…";
/// The same in a form.
const HIDDEN_IN_FORM: &str = "%E2%80%A6";
