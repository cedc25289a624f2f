//! The authority outside, checked.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use jsonwebtoken::Algorithm;
use url::Url;

use super::{DeclaredDialect, Issuer, NamedFile};
use crate::model::{Grant, GrantType, Scope, Secret};

/// An authority outside that vouches in our place.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    pub api: RemoteApi,
    /// Who we are to it. Empty where its API has no clients.
    pub client_id: String,
    pub authentication: RemoteAuthentication,
    /// oauth2: what is asked for.
    pub scopes: Scope,
    /// Clients get its own access tokens.
    pub pass_through: bool,
    /// Users and clients prove themselves here, and their [`Account`] is used there.
    pub mapped: bool,
    pub ca_file: Option<NamedFile>,
    pub timeout: Duration,
    /// Asked of it at once: so many to begin sessions, and so many to renew them.
    pub max_concurrent: usize,
}

impl Remote {
    /// Whose ID tokens are believed.
    pub fn issuer(&self) -> Option<&Issuer> {
        match &self.api {
            RemoteApi::OAuth2(oauth2) => oauth2.issuer.as_ref(),
            RemoteApi::Redex { .. } | RemoteApi::Consinco { .. } | RemoteApi::Declared { .. } => None,
        }
    }

    /// The same where ID tokens are asked for.
    pub fn id_tokens(&self) -> Option<&Issuer> {
        self.issuer().filter(|_| self.scopes.contains("openid"))
    }

    /// Where it is, in the words of the configuration.
    pub fn place(&self) -> &str {
        match &self.api {
            RemoteApi::OAuth2(oauth2) => match &oauth2.endpoints {
                RemoteEndpoints::Discovery { issuer } => issuer.as_str(),
                RemoteEndpoints::Given { token, .. } => token.as_str(),
            },
            RemoteApi::Redex { refresh, .. } | RemoteApi::Consinco { refresh, .. } => refresh.as_str(),
            RemoteApi::Declared { base, .. } => base.as_str(),
        }
    }

    /// Which authority it is, and who we are to it: what tells whether a token that is kept belongs there.
    pub fn identity(&self) -> String {
        format!("{} {} {}", self.api.dialect(), self.place(), self.client_id)
    }

    /// What it may be asked for.
    pub fn grants(&self) -> Vec<GrantType> {
        let begins: &[GrantType] = match &self.api {
            RemoteApi::OAuth2(oauth2) if oauth2.sign_in.is_some() => {
                &[GrantType::AuthorizationCode, GrantType::ClientCredentials, GrantType::Password]
            }
            RemoteApi::OAuth2(_) => &[GrantType::ClientCredentials, GrantType::Password],
            RemoteApi::Redex { .. } => &[GrantType::ApiKey],
            RemoteApi::Consinco { .. } => &[GrantType::Password],
            RemoteApi::Declared { .. } => &[GrantType::ClientCredentials, GrantType::Password, GrantType::ApiKey],
        };
        begins.iter().copied().chain([GrantType::RefreshToken]).collect()
    }

    /// Where users sign in at the authority itself: how they come back.
    pub fn sign_in(&self) -> Option<&SignInAt> {
        match &self.api {
            RemoteApi::OAuth2(oauth2) => oauth2.sign_in.as_ref(),
            RemoteApi::Redex { .. } | RemoteApi::Consinco { .. } | RemoteApi::Declared { .. } => None,
        }
    }
}

/// What the authority speaks, and where.
#[derive(Debug, Clone, PartialEq)]
pub enum RemoteApi {
    OAuth2(Box<RemoteOAuth2>),
    Redex {
        token: Url,
        refresh: Url,
    },
    Consinco {
        login: Url,
        refresh: Url,
        format: Format,
        company: Option<String>,
    },
    /// Its paths stand below `base`.
    Declared {
        dialect: Arc<DeclaredDialect>,
        base: Url,
    },
}

impl RemoteApi {
    /// As the configuration writes it.
    pub fn dialect(&self) -> &str {
        match self {
            RemoteApi::OAuth2(_) => "oauth2",
            RemoteApi::Redex { .. } => "redex",
            RemoteApi::Consinco { .. } => "consinco",
            RemoteApi::Declared { dialect, .. } => &dialect.name,
        }
    }
}

/// An authority that speaks `oauth2`.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteOAuth2 {
    /// What its ID tokens must be like, and where its keys are; `None`: it issues none that we could verify.
    pub issuer: Option<Issuer>,
    pub endpoints: RemoteEndpoints,
    /// Further parameters of token requests, in the order of the file.
    pub parameters: Vec<(String, String)>,
    /// `None`: users never go there themselves.
    pub sign_in: Option<SignInAt>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RemoteEndpoints {
    /// As the metadata below this issuer say.
    Discovery {
        issuer: String,
    },
    Given {
        token: Url,
        authorization: Option<Url>,
    },
}

/// The way of a user to the authority and back.
#[derive(Debug, Clone, PartialEq)]
pub struct SignInAt {
    /// Canonical path, below our own issuer's host.
    pub callback: String,
    /// The same as a URL, as it is registered there.
    pub redirect_uri: String,
    /// Further parameters that they are sent with, in the order of the file.
    pub parameters: Vec<(String, String)>,
}

/// How we prove ourselves to it.
#[derive(Debug, Clone, PartialEq)]
pub enum RemoteAuthentication {
    /// A public client, or an API without clients.
    None,
    Basic(Secret<String>),
    Form(Secret<String>),
    PrivateKeyJwt(AssertionKey),
}

/// What client assertions (RFC 7523) are signed with.
#[derive(Debug, Clone, PartialEq)]
pub struct AssertionKey {
    /// ES256, RS256 or EdDSA, by the kind of the key.
    pub algorithm: Algorithm,
    /// PKCS#8 in PEM.
    pub pem: Secret<Vec<u8>>,
    /// `None`: the thumbprint (RFC 7638).
    pub key_id: Option<String>,
}

/// How a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Xml,
}

/// What we sign in with at the authority for a user or a client of ours.
#[derive(Debug, Clone, PartialEq)]
pub enum Account {
    Password { username: String, password: Secret<String>, company: Option<String> },
    ApiKey(Secret<String>),
}

impl Account {
    /// What signs in with it.
    pub fn grant(&self) -> Grant {
        match self {
            Account::Password { username, password, company } => {
                Grant::Password { username: username.clone(), password: password.clone(), company: company.clone() }
            }
            Account::ApiKey(key) => Grant::ApiKey { key: key.clone() },
        }
    }
}

/// What an upstream's one token is got with.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Who gives it.
    pub remote: Remote,
    /// `None`: sidegate asks as a client on its own behalf.
    pub account: Option<Account>,
}

impl Service {
    /// What a token is got with, without another one.
    pub fn grant(&self) -> Grant {
        self.account.as_ref().map_or(Grant::ClientCredentials, Account::grant)
    }
}

/// When what is about to expire is renewed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refresh {
    /// `None`: a tenth of the token's life, between 5 and 60 seconds.
    pub ahead: Option<Duration>,
    pub wait: Duration,
    /// After its end, a token that renews itself may still do so.
    pub accept_expired_for: Duration,
    /// A token that renews itself moves the idle end of its session.
    pub extends_idle: bool,
}

/// Where clients find the successors of their tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct SuccessorHeaders {
    pub token: HeaderName,
    pub expires_in: HeaderName,
}
