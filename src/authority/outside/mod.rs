//! Users who are verified elsewhere: by a service of the operator's, or by a directory.

mod http;
#[cfg(feature = "ldap")]
mod ldap;

use serde_json::{Map, Value};

use super::Denied;
use crate::{
    config::{RESERVED_CLAIMS, Users},
    model::Secret,
};

/// Who is asked.
pub(super) enum Outside {
    Http(Box<http::Service>),
    #[cfg(feature = "ldap")]
    Ldap(Box<ldap::Directory>),
}

/// Whom they vouch for.
#[derive(Debug, PartialEq)]
pub(super) struct Person {
    pub subject: String,
    pub claims: Map<String, Value>,
}

impl Outside {
    /// `None` where the users stand in the configuration.
    pub fn new(users: &Users) -> Option<Outside> {
        match users {
            Users::Listed(_) => None,
            Users::Http(settings) => Some(Outside::Http(Box::new(http::Service::new(settings)))),
            #[cfg(feature = "ldap")]
            Users::Ldap(settings) => Some(Outside::Ldap(Box::new(ldap::Directory::new(settings)))),
            #[cfg(not(feature = "ldap"))]
            Users::Ldap(_) => None, // the check of the configuration has refused it
        }
    }

    /// # Errors
    /// `Wrong`, or that nobody can say.
    pub async fn verify(&self, username: &str, password: &Secret<String>, client: &str) -> Result<Person, Denied> {
        // A directory takes an empty password for "I do not want to be known" and says yes (RFC 4513, section 5.1.2).
        if username.is_empty() || password.expose().is_empty() {
            return Err(Denied::Wrong);
        }
        let mut person = match self {
            Outside::Http(service) => service.verify(username, password, client).await,
            #[cfg(feature = "ldap")]
            Outside::Ldap(directory) => directory.verify(username, password).await,
        }?;
        if person.subject.is_empty()
            || person.subject.len() > LONGEST_SUBJECT
            || person.subject.contains(char::is_control)
        {
            return Err(Denied::Unavailable("the users' service gave a subject that cannot be one".to_owned()));
        }
        // What a token says of itself is not theirs to say.
        person.claims.retain(|claim, _| !RESERVED_CLAIMS.contains(&claim.as_str()));
        Ok(person)
    }
}

const LONGEST_SUBJECT: usize = 255;
