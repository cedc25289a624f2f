//! The wire forms of token APIs. A dialect translates and decides nothing: behind [`Dialect::read_request`] no code
//! knows which API was called, and [`Dialect::write_reply`] owns envelope, media type and status.

mod answer;
pub mod consinco;
pub mod declared;
mod media;
mod members;
pub mod oauth2;
pub mod redex;
mod spoken;
#[cfg(test)]
mod tests;
pub mod xml;

use bytes::Bytes;
use http::{Response, request::Parts};

pub use self::spoken::{CannotSay, Content, Endpoint, Heard, Said, read_reply, write_request};
use crate::{
    config,
    model::{TokenError, TokenGrant, TokenRequest},
};

/// The token APIs that clients may speak to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// RFC 6749, as API gateways publish it.
    OAuth2,
    /// PascalCase JSON in an envelope.
    Redex(Endpoint),
    /// A .NET Web API that talks JSON and XML.
    Consinco(Endpoint),
    /// One that the configuration tells of: the place with this number.
    Declared(usize),
}

impl Dialect {
    /// As configuration, metrics and logs write it. `options` are those that its number counts in.
    pub fn name(self, options: &config::Endpoints) -> &str {
        match self {
            Dialect::OAuth2 => "oauth2",
            Dialect::Redex(_) => "redex",
            Dialect::Consinco(_) => "consinco",
            Dialect::Declared(place) => &options.declared[place].dialect.name,
        }
    }

    /// The methods that its requests have, as `Allow` writes them.
    pub fn methods(self, options: &config::Endpoints) -> &'static str {
        match self {
            Dialect::OAuth2 | Dialect::Redex(_) | Dialect::Consinco(_) => "POST",
            Dialect::Declared(place) => declared::methods(&options.declared[place]),
        }
    }

    /// Reads a request to a token endpoint, whose body has arrived whole.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn read_request(
        self,
        head: &Parts,
        body: &[u8],
        options: &config::Endpoints,
    ) -> Result<TokenRequest, TokenError> {
        match self {
            Dialect::OAuth2 => oauth2::read_request(head, body),
            Dialect::Redex(endpoint) => redex::read_request(endpoint, head, body, &options.redex),
            Dialect::Consinco(endpoint) => consinco::read_request(endpoint, head, body, &options.consinco),
            Dialect::Declared(place) => declared::read_request(&options.declared[place], head, body),
        }
    }

    /// Writes what was given, or why nothing was, to the request of `head`. `realm` goes into the challenge of a 401.
    pub fn write_reply(
        self,
        reply: &Result<TokenGrant, TokenError>,
        head: &Parts,
        options: &config::Endpoints,
        realm: &str,
    ) -> Response<Bytes> {
        match (self, reply) {
            (Dialect::OAuth2, Ok(grant)) => oauth2::write_grant(grant),
            (Dialect::OAuth2, Err(error)) => oauth2::write_error(error, realm),
            (Dialect::Redex(_), reply) => redex::write_reply(reply, &options.redex, realm),
            (Dialect::Consinco(_), reply) => consinco::write_reply(reply, head, &options.consinco, realm),
            (Dialect::Declared(place), reply) => declared::write_reply(&options.declared[place], reply, head, realm),
        }
    }
}
