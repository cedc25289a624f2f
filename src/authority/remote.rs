//! The authority outside: asked in its own dialect, once for each question.

mod metadata;
mod places;
mod proof;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, header};
use tokio::runtime::Handle;
use url::Url;

pub use self::places::SignInPage;
use self::{places::Places, proof::Proof};
use crate::{
    config,
    dialect::{self, Content, Endpoint, Heard, Said},
    fetch::{Bounds, Call, FetchError, Fetcher},
    jose::mint::MintError,
    model::{Grant, RefreshForm, Secret, TokenError, TokenGrant, TokenRequest, UnixTime},
};

/// The authority of one generation of the configuration.
pub struct Remote {
    settings: config::Remote,
    fetcher: Arc<Fetcher>,
    bounds: Bounds,
    places: Places,
    proof: Proof,
}

impl Remote {
    /// Nothing is asked yet. Metadata are read on `background`.
    ///
    /// # Errors
    /// If the key for assertions cannot be used.
    pub fn new(settings: config::Remote, background: &Handle) -> Result<Remote, MintError> {
        let fetcher = Arc::new(Fetcher::new(settings.ca_file.clone()));
        let bounds = Bounds { timeout: settings.timeout, bytes: ANSWER_BYTES };
        let places = Places::new(&settings, &fetcher, bounds, background);
        Ok(Remote { proof: Proof::new(&settings.authentication)?, fetcher, bounds, places, settings })
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
        let tokens = self.places.tokens(now).await?;
        let request = TokenRequest {
            client: self.proof.client(&self.settings, &tokens.obtain, now)?,
            grant,
            scope: Some(self.settings.scopes.clone()),
            resources: Vec::new(),
            refresh_form: RefreshForm::Full,
        };
        let said = dialect::write_request(&self.settings.api, &request)
            .map_err(|error| TokenError::unavailable().because(error.to_string()))?;
        let mut url = said.place(match said.endpoint {
            Endpoint::Obtain => &tokens.obtain,
            Endpoint::Renew => &tokens.renew,
        });
        let call = call(said, &mut url);
        let called = self.fetcher.call(&url, call, self.bounds).await.map_err(unreachable)?;
        let heard = Heard { status: called.status, headers: &called.headers, body: &called.body, asked: now };
        dialect::read_reply(&self.settings.api, &heard)
    }

    /// Where users sign in.
    ///
    /// # Errors
    /// If the authority cannot be asked for it now, or has no such place.
    pub async fn sign_in_page(&self, now: UnixTime) -> Result<SignInPage, TokenError> {
        self.places.sign_in(now).await
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
