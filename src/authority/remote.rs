//! The authority outside: asked in its own dialect, once for each question.

use bytes::Bytes;
use http::{Method, header};
use url::Url;

use crate::{
    config::{self, RemoteApi, RemoteAuthentication, RemoteEndpoints},
    dialect::{self, Content, Endpoint, Heard, Said},
    fetch::{Bounds, Call, FetchError, Fetcher},
    model::{ClientProof, Grant, PresentedClient, RefreshForm, Secret, TokenError, TokenGrant, TokenRequest, UnixTime},
};

/// The authority of one generation of the configuration.
pub struct Remote {
    settings: config::Remote,
    fetcher: Fetcher,
}

impl Remote {
    pub fn new(settings: config::Remote) -> Remote {
        Remote { fetcher: Fetcher::new(settings.ca_file.clone()), settings }
    }

    pub fn settings(&self) -> &config::Remote {
        &self.settings
    }

    /// What the authority gives for `grant`, asked at `now`. One attempt: an answer that is lost may have changed
    /// something there.
    ///
    /// # Errors
    /// `invalid_grant` if, and only if, the authority says clearly that what was presented is no good. Anything else is
    /// no judgement on it: the cause says what is wrong.
    pub async fn ask(&self, grant: Grant, now: UnixTime) -> Result<TokenGrant, TokenError> {
        let request = self.request(grant, now)?;
        let said = dialect::write_request(&self.settings.api, &request)
            .map_err(|error| TokenError::unavailable().because(error.to_string()))?;
        let mut url = self.url(said.endpoint).await?;
        let call = call(said, &mut url);
        let bounds = Bounds { timeout: self.settings.timeout, bytes: ANSWER_BYTES };
        let called = self.fetcher.call(&url, call, bounds).await.map_err(unreachable)?;
        let heard = Heard { status: called.status, headers: &called.headers, body: &called.body, asked: now };
        dialect::read_reply(&self.settings.api, &heard)
    }

    fn request(&self, grant: Grant, _now: UnixTime) -> Result<TokenRequest, TokenError> {
        let (proof, by_header) = match &self.settings.authentication {
            RemoteAuthentication::None => (ClientProof::None, false),
            RemoteAuthentication::Basic(secret) => (ClientProof::Secret(secret.clone()), true),
            RemoteAuthentication::Form(secret) => (ClientProof::Secret(secret.clone()), false),
            RemoteAuthentication::PrivateKeyJwt { .. } => {
                return Err(TokenError::unavailable().because("private_key_jwt"));
            }
        };
        let client = PresentedClient { id: Some(self.settings.client_id.clone()), proof, by_header };
        Ok(TokenRequest {
            client,
            grant,
            scope: Some(self.settings.scopes.clone()),
            resources: Vec::new(),
            refresh_form: RefreshForm::Full,
        })
    }

    async fn url(&self, endpoint: Endpoint) -> Result<Url, TokenError> {
        Ok(match (&self.settings.api, endpoint) {
            (RemoteApi::Redex { token: url, .. } | RemoteApi::Consinco { login: url, .. }, Endpoint::Obtain)
            | (RemoteApi::Redex { refresh: url, .. } | RemoteApi::Consinco { refresh: url, .. }, Endpoint::Renew) => {
                url.clone()
            }
            (RemoteApi::OAuth2(oauth2), _) => match &oauth2.endpoints {
                RemoteEndpoints::Given { token, .. } => token.clone(),
                RemoteEndpoints::Discovery { .. } => return Err(TokenError::unavailable().because("discovery")),
            },
        })
    }
}

/// The request as it goes out; a GET puts its members into `url`, which is then as secret as they are.
fn call(said: Said, url: &mut Url) -> Call {
    let (method, content_type, body) = match said.content {
        Content::Body { content_type, body } => (Method::POST, Some(content_type), Bytes::from_owner(Body(body))),
        Content::Query(query) => {
            url.set_query(Some(query.expose()));
            (Method::GET, None, Bytes::new())
        }
    };
    let headers = [(header::CONTENT_TYPE, content_type), (header::ACCEPT, Some(said.accept))];
    let headers = headers.into_iter().chain([(header::AUTHORIZATION, said.authorization)]);
    Call { method, headers: headers.filter_map(|(name, value)| Some((name, value?))).collect(), body }
}

/// Wiped once it is sent.
struct Body(Secret<Vec<u8>>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// No answer says nothing of what was presented.
fn unreachable(error: FetchError) -> TokenError {
    TokenError::unavailable().because(format!("the authority: {error}"))
}

/// Bytes of an answer.
const ANSWER_BYTES: usize = 256 * 1024;
