//! Where the authority is: as the configuration says, or as it says itself.

use std::sync::Arc;

use tokio::runtime::Handle;
use url::Url;

use super::metadata::{Discovery, MetadataError};
use crate::{
    config::{self, RemoteApi, RemoteEndpoints},
    fetch::{Bounds, Fetcher},
    model::{TokenError, UnixTime},
};

pub(super) enum Places {
    Given(Box<Given>),
    Discovered(Discovery),
}

pub(super) struct Given {
    tokens: Tokens,
    sign_in: Option<Url>,
}

/// Where tokens are: the same place twice with oauth2.
#[derive(Clone)]
pub(super) struct Tokens {
    pub obtain: Url,
    pub renew: Url,
}

/// Where users sign in, and what the authority says of that place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInPage {
    pub url: Url,
    /// Whether it checks a code challenge made with S256 (RFC 7636); `None`: it does not say.
    pub s256: Option<bool>,
    /// It names itself when it sends a user back (RFC 9207).
    pub names_itself: bool,
}

impl Places {
    pub(super) fn new(
        settings: &config::Remote,
        fetcher: &Arc<Fetcher>,
        bounds: Bounds,
        background: &Handle,
    ) -> Places {
        let given = |obtain: &Url, renew: &Url, sign_in: Option<&Url>| {
            let tokens = Tokens { obtain: obtain.clone(), renew: renew.clone() };
            Places::Given(Box::new(Given { tokens, sign_in: sign_in.cloned() }))
        };
        match &settings.api {
            RemoteApi::Redex { token, refresh } => given(token, refresh, None),
            RemoteApi::Consinco { login, refresh, .. } => given(login, refresh, None),
            RemoteApi::Declared { base, .. } => given(base, base, None),
            RemoteApi::OAuth2(oauth2) => match &oauth2.endpoints {
                RemoteEndpoints::Given { token, authorization } => given(token, token, authorization.as_ref()),
                RemoteEndpoints::Discovery { issuer } => {
                    Places::Discovered(Discovery::new(issuer, fetcher.clone(), bounds, background.clone()))
                }
            },
        }
    }

    pub(super) async fn tokens(&self, now: UnixTime) -> Result<Tokens, MetadataError> {
        match self {
            Places::Given(given) => Ok(given.tokens.clone()),
            Places::Discovered(discovery) => {
                let token = discovery.get(now).await?.token.clone();
                Ok(Tokens { obtain: token.clone(), renew: token })
            }
        }
    }

    pub(super) async fn sign_in(&self, now: UnixTime) -> Result<SignInPage, TokenError> {
        let page = match self {
            Places::Given(given) => {
                given.sign_in.clone().map(|url| SignInPage { url, s256: None, names_itself: false })
            }
            Places::Discovered(discovery) => {
                let metadata = discovery.get(now).await.map_err(unknown)?;
                let (s256, names_itself) = (metadata.s256, metadata.names_itself);
                metadata.authorization.clone().map(|url| SignInPage { url, s256, names_itself })
            }
        };
        page.ok_or_else(|| TokenError::unavailable().because("the authority has no authorization endpoint"))
    }
}

/// Nobody could be asked, which says nothing of what was presented.
fn unknown(error: MetadataError) -> TokenError {
    TokenError::unavailable().because(format!("the authority: {error}"))
}
