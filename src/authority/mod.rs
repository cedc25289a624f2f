//! Who vouches: the clients and users of the configuration, or a directory beside it.

use std::sync::Arc;

use aws_lc_rs::digest;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::{
    config::{self, Client, SecretHash, Users},
    model::{Context, Secret},
};

/// The local authority of one generation of the configuration.
pub struct Authority {
    config: Arc<config::Config>,
    pool: Semaphore,
}

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    pub subject: String,
    pub username: String,
    pub claims: Map<String, Value>,
    /// Changes when the password does; `None`: verified elsewhere.
    pub credential: Option<[u8; 16]>,
}

/// Why nobody was vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Unknown, disabled or a wrong password: nobody outside can tell which.
    Wrong,
    /// Too many attempts, or too many at once: seconds to wait.
    Throttled(u64),
    /// Who would know cannot be asked now; the text has no secret.
    Unavailable(String),
}

impl Authority {
    /// `None` where the configuration has no authority.
    pub fn new(config: Arc<config::Config>) -> Option<Authority> {
        let checks = config.authority.as_ref()?.throttle.password_checks;
        Some(Authority { config, pool: Semaphore::new(checks) })
    }

    pub fn settings(&self) -> &config::Authority {
        self.config.authority.as_ref().expect("`new` saw it")
    }

    /// The client with this id, also if it is disabled.
    pub fn client(&self, id: &str) -> Option<&Arc<Client>> {
        self.settings().clients.get(id)
    }

    /// Checks the secret of a client. A client that is not there takes as long as a wrong secret.
    ///
    /// # Errors
    /// Why it is not good, or not now.
    pub async fn verify_client(&self, id: &str, secret: &Secret<String>, _cx: &Context) -> Result<Arc<Client>, Denied> {
        let client = self.client(id).filter(|client| client.enabled).ok_or(Denied::Wrong)?;
        let config::ClientAuthentication::Secrets(hashes) = &client.authentication else { return Err(Denied::Wrong) };
        for hash in hashes {
            if self.fits(hash, secret).await {
                return Ok(client.clone());
            }
        }
        Err(Denied::Wrong)
    }

    /// Checks name and password of a user, who asks through `client`.
    ///
    /// # Errors
    /// Why they are not good, or not now.
    pub async fn verify_user(
        &self,
        username: &str,
        password: &Secret<String>,
        _client: &str,
        _cx: &Context,
    ) -> Result<Identity, Denied> {
        let Users::Listed(users) = &self.settings().users else { return Err(Denied::Wrong) };
        let user = users.get(username).filter(|user| user.enabled).ok_or(Denied::Wrong)?;
        if !self.fits(&user.password, password).await {
            return Err(Denied::Wrong);
        }
        Ok(Identity {
            subject: user.subject.clone(),
            username: user.username.clone(),
            claims: user.claims.clone(),
            credential: None,
        })
    }

    /// Whether whoever was vouched for as `username` may still go on: listed users must be there, enabled, and have the
    /// password whose `credential` was noted.
    pub fn still_vouches(&self, username: &str, _credential: Option<&[u8; 16]>) -> bool {
        match &self.settings().users {
            Users::Listed(users) => users.get(username).is_some_and(|user| user.enabled),
            Users::Http(_) | Users::Ldap(_) => true,
        }
    }

    async fn fits(&self, hash: &SecretHash, secret: &Secret<String>) -> bool {
        match hash {
            SecretHash::Sha256(expected) => {
                let found = digest::digest(&digest::SHA256, secret.expose().as_bytes());
                aws_lc_rs::constant_time::verify_slices_are_equal(found.as_ref(), expected.expose()).is_ok()
            }
            SecretHash::Argon2id(phc) => {
                let Ok(_permit) = self.pool.acquire().await else { return false };
                let (phc, secret) = (phc.clone(), secret.clone());
                let fits = move || {
                    use argon2::password_hash::{PasswordVerifier, phc::PasswordHash};
                    let Ok(parsed) = PasswordHash::new(phc.expose()) else { return false };
                    argon2::Argon2::default().verify_password(secret.expose().as_bytes(), &parsed).is_ok()
                };
                tokio::task::spawn_blocking(fits).await.unwrap_or(false)
            }
        }
    }
}
