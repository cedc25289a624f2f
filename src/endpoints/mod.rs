//! The endpoints that sidegate serves itself: path → [`Mount`] → answer.

mod authorize;
pub mod pages;
mod served;
mod token;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;

use self::{authorize::Authorize, pages::ThemeError};
use crate::{
    config::Config,
    dialect::Dialect,
    grants::Grants,
    model::{Context, GrantType, TokenError},
    telemetry::metrics,
};

/// Everything that is served, of one generation of the configuration.
pub struct Endpoints {
    pub grants: Arc<Grants>,
    mounts: Vec<(String, Mount)>,
    authorize: Authorize,
    /// For challenges; free of characters that would end a quoted string.
    realm: String,
}

/// What is served at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    Token(Dialect),
    Authorize,
}

impl Mount {
    pub const ALL: [Mount; 2] = [Mount::Token(Dialect::OAuth2), Mount::Authorize];

    /// The `route` of metrics and logs; the colon keeps it apart from the names that routes can have.
    pub fn label(self) -> &'static str {
        match self {
            Mount::Token(Dialect::OAuth2) => "oauth2:token",
            Mount::Authorize => "oauth2:authorize",
        }
    }
}

/// What goes out, and what the log is told of it.
pub struct Answer {
    pub response: Response<Bytes>,
    /// Why it is a refusal.
    pub error: Option<TokenError>,
    /// What was asked for, as far as that could be read.
    pub grant: Option<GrantType>,
}

impl Endpoints {
    /// # Errors
    /// If the theme of the pages is not good.
    pub fn new(config: &Config, grants: Arc<Grants>) -> Result<Endpoints, ThemeError> {
        let paths = &grants.settings().endpoints;
        let mounts = [(&paths.token, Mount::Token(Dialect::OAuth2)), (&paths.authorize, Mount::Authorize)];
        let mounts = mounts.into_iter().filter_map(|(path, mount)| Some((path.clone()?, mount))).collect();
        let authorize = Authorize::new(grants.settings())?;
        Ok(Endpoints { grants, mounts, authorize, realm: config.resource.realm.clone() })
    }

    /// What is served at the canonical path `path`. Few are: a walk is faster than a hash.
    pub fn find(&self, path: &str) -> Option<Mount> {
        self.mounts.iter().find(|(at, _)| at == path).map(|(_, mount)| *mount)
    }

    /// Answers a request for `mount`. Never fails: every error has become a response.
    pub async fn answer(&self, mount: Mount, request: Request<Incoming>, cx: &Context) -> Answer {
        match mount {
            Mount::Token(dialect) => {
                let answer = self.token(dialect, request, cx).await;
                self.count(metrics::Endpoint::Token, dialect, &answer);
                answer
            }
            Mount::Authorize => self.authorize(request, cx).await,
        }
    }

    fn count(&self, endpoint: metrics::Endpoint, dialect: Dialect, answer: &Answer) {
        let counts = &self.grants.metrics.oauth;
        let result = match &answer.error {
            None => metrics::OK,
            Some(error) if error.throttled.is_some() => metrics::THROTTLED,
            Some(error) => error.code.as_str(),
        };
        counts.answered(endpoint, dialect.as_str(), answer.grant, result);
    }
}
