//! The endpoints that sidegate serves itself: path → [`Mount`] → answer.

mod authorize;
mod cors;
mod discovery;
mod introspect;
pub mod pages;
mod revoke;
mod served;
mod token;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;

pub use self::served::BODY_BYTES;
use self::{authorize::Authorize, discovery::Discovery, pages::ThemeError};
use crate::{
    config::{self, Config},
    dialect::{
        Dialect,
        Endpoint::{Obtain, Renew},
        oauth2,
    },
    grants::Grants,
    jose::mint::MintError,
    model::{Context, GrantType, TokenError},
    telemetry::metrics,
};

/// Everything that is served, of one generation of the configuration.
pub struct Endpoints {
    pub grants: Arc<Grants>,
    mounts: Vec<(String, Mount)>,
    authorize: Authorize,
    discovery: Discovery,
    /// For challenges; free of characters that would end a quoted string.
    realm: String,
}

/// What is served at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    Token(Dialect),
    Authorize,
    /// Where users come back to who signed in at the authority outside.
    Callback,
    Revoke,
    Introspect,
    /// The JWK Set.
    Keys,
    /// RFC 8414.
    Metadata,
    /// OpenID Connect Discovery.
    OpenId,
}

impl Mount {
    const BUILT_IN: [Mount; 12] = [
        Mount::Token(Dialect::OAuth2),
        Mount::Token(Dialect::Redex(Obtain)),
        Mount::Token(Dialect::Redex(Renew)),
        Mount::Token(Dialect::Consinco(Obtain)),
        Mount::Token(Dialect::Consinco(Renew)),
        Mount::Authorize,
        Mount::Callback,
        Mount::Revoke,
        Mount::Introspect,
        Mount::Keys,
        Mount::Metadata,
        Mount::OpenId,
    ];

    /// All that may be served under this configuration.
    pub fn all(endpoints: &config::Endpoints) -> Vec<Mount> {
        let declared = (0..endpoints.declared.len()).map(|place| Mount::Token(Dialect::Declared(place)));
        Mount::BUILT_IN.into_iter().chain(declared).collect()
    }

    /// The `route` of metrics and logs; the colon keeps it apart from the names that routes can have.
    pub fn label(self, endpoints: &config::Endpoints) -> Cow<'static, str> {
        let label = match self {
            Mount::Token(Dialect::Declared(place)) => {
                let place = &endpoints.declared[place];
                let what = if place.begins() { "token" } else { "refresh" };
                return format!("{}:{what}", place.dialect.name).into();
            }
            Mount::Token(Dialect::OAuth2) => "oauth2:token",
            Mount::Token(Dialect::Redex(Obtain)) => "redex:token",
            Mount::Token(Dialect::Redex(Renew)) => "redex:refresh",
            Mount::Token(Dialect::Consinco(Obtain)) => "consinco:login",
            Mount::Token(Dialect::Consinco(Renew)) => "consinco:refresh",
            Mount::Authorize => "oauth2:authorize",
            Mount::Callback => "oauth2:callback",
            Mount::Revoke => "oauth2:revoke",
            Mount::Introspect => "oauth2:introspect",
            Mount::Keys => "oauth2:jwks",
            Mount::Metadata | Mount::OpenId => "oauth2:metadata",
        };
        label.into()
    }

    /// Whether scripts of listed origins may read the answers.
    fn has_cors(self) -> bool {
        match self {
            Mount::Token(_) | Mount::Keys | Mount::Metadata | Mount::OpenId => true,
            Mount::Authorize | Mount::Callback | Mount::Revoke | Mount::Introspect => false,
        }
    }
}

/// What goes out, and what the log is told of it.
pub struct Answer {
    pub response: Response<Bytes>,
    /// Why it is not what was asked for.
    pub refused: Option<Refused>,
    /// What was asked for, as far as that could be read.
    pub grant: Option<GrantType>,
}

/// A refusal in the words of the log; no token, secret or password.
pub struct Refused {
    /// Stable.
    pub code: &'static str,
    pub cause: Option<String>,
    throttled: bool,
}

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Refused {
        let cause = error.cause.or_else(|| error.description.map(Cow::into_owned));
        Refused { code: error.code.as_str(), cause, throttled: error.throttled.is_some() }
    }
}

impl Answer {
    fn good(response: Response<Bytes>) -> Answer {
        Answer { response, refused: None, grant: None }
    }

    fn refused(response: Response<Bytes>, error: TokenError) -> Answer {
        Answer { response, refused: Some(error.into()), grant: None }
    }
}

impl Endpoints {
    /// # Errors
    /// If the theme of the pages is not good.
    pub fn new(config: &Config, grants: Arc<Grants>) -> Result<Endpoints, ThemeError> {
        let settings = grants.settings();
        let algorithms = grants.signing.shown().into_iter().map(|key| key.algorithm);
        let (paths, discovery) = (&settings.endpoints, Discovery::new(settings, algorithms));
        let mounts = [
            (paths.token.clone(), Mount::Token(Dialect::OAuth2)),
            (paths.redex.token.clone(), Mount::Token(Dialect::Redex(Obtain))),
            (paths.redex.refresh.clone(), Mount::Token(Dialect::Redex(Renew))),
            (paths.consinco.login.clone(), Mount::Token(Dialect::Consinco(Obtain))),
            (paths.consinco.refresh.clone(), Mount::Token(Dialect::Consinco(Renew))),
            (paths.authorize.clone(), Mount::Authorize),
            (paths.callback.clone(), Mount::Callback),
            (paths.revoke.clone(), Mount::Revoke),
            (paths.introspect.clone(), Mount::Introspect),
            (Some(paths.jwks.clone()), Mount::Keys),
            (Some(discovery.oauth_path.clone()), Mount::Metadata),
            (Some(discovery.openid_path.clone()), Mount::OpenId),
        ];
        let declared = paths.declared.iter().enumerate();
        let declared = declared.map(|(index, place)| (place.path.clone(), Mount::Token(Dialect::Declared(index))));
        let mounts = mounts.into_iter().filter_map(|(path, mount)| Some((path?, mount))).chain(declared).collect();
        let authorize = Authorize::new(settings)?;
        Ok(Endpoints { grants, mounts, authorize, discovery, realm: config.resource.realm.clone() })
    }

    /// What is served at the canonical path `path`. Few are: a walk is faster than a hash.
    pub fn find(&self, path: &str) -> Option<Mount> {
        self.mounts.iter().find(|(at, _)| at == path).map(|(_, mount)| *mount)
    }

    /// The `route` of metrics and logs.
    pub fn label(&self, mount: Mount) -> Cow<'static, str> {
        mount.label(&self.grants.settings().endpoints)
    }

    /// Answers a request for `mount`. Never fails: every error has become a response.
    pub async fn answer(&self, mount: Mount, request: Request<Incoming>, cx: &Context) -> Answer {
        let origins = &self.grants.settings().cors_origins;
        if !mount.has_cors() || origins.is_empty() {
            return self.answer_directly(mount, request, cx).await;
        }
        let origin = cors::allowed_origin(origins, request.headers());
        if cors::is_preflight(request.method(), request.headers()) {
            return Answer::good(cors::preflight(origin));
        }
        let mut answer = self.answer_directly(mount, request, cx).await;
        cors::decorate(origin, answer.response.headers_mut());
        answer
    }

    async fn answer_directly(&self, mount: Mount, request: Request<Incoming>, cx: &Context) -> Answer {
        let document = |media_type, body| discovery::document(request.method(), media_type, body, &self.realm);
        match mount {
            Mount::Token(dialect) => {
                let answer = self.token(dialect, request, cx).await;
                self.count(metrics::Endpoint::Token, dialect, &answer);
                answer
            }
            // Boxed, what is rare: refreshes are many, and need not carry the room for the others.
            Mount::Authorize => Box::pin(self.authorize(request, cx)).await,
            Mount::Callback => Box::pin(self.callback(request, cx)).await,
            Mount::Revoke => {
                let answer = Box::pin(self.revoke(request, cx)).await;
                self.count(metrics::Endpoint::Revoke, Dialect::OAuth2, &answer);
                answer
            }
            Mount::Introspect => {
                let answer = Box::pin(self.introspect(request, cx)).await;
                self.count(metrics::Endpoint::Introspect, Dialect::OAuth2, &answer);
                answer
            }
            // As the keys are now: they rotate while this generation stays.
            // An empty set would be kept by whoever reads it.
            Mount::Keys if !self.grants.signing.are_there() => {
                let error = TokenError::from(MintError::NoCurrentKey);
                Answer::refused(oauth2::write_error(&error, &self.realm), error)
            }
            Mount::Keys => document("application/jwk-set+json", self.grants.signing.jwks()),
            Mount::Metadata => document("application/json", self.discovery.oauth.clone()),
            Mount::OpenId => document("application/json", self.discovery.openid.clone()),
        }
    }

    fn count(&self, endpoint: metrics::Endpoint, dialect: Dialect, answer: &Answer) {
        let counts = &self.grants.metrics.oauth;
        let result = match &answer.refused {
            None => metrics::OK,
            Some(refused) if refused.throttled => metrics::THROTTLED,
            Some(refused) => refused.code,
        };
        counts.answered(endpoint, dialect.name(&self.grants.settings().endpoints), answer.grant, result);
    }
}
