//! Who vouches: the clients and users of the configuration, or a directory beside it.

mod guard;
pub mod hashes;
mod line;
mod outside;
mod pool;
mod remembered;
pub mod remote;
mod throttle;

use std::{collections::HashMap, io, sync::Arc};

use serde_json::{Map, Value};

use self::{
    guard::{Guard, Guess, Kind},
    outside::Outside,
};
use crate::{
    config::{self, Client, ClientAuthentication, SecretHash, User, Users},
    model::{Context, Secret},
    rate::shared::Shared,
    telemetry::metrics::{Metrics, SignIn},
};

/// The local authority of one generation of the configuration.
pub struct Authority {
    config: Arc<config::Config>,
    guard: Guard,
    outside: Option<Outside>,
    /// Hashed for clients and for users who are not there; `None` where nobody has a slow hash.
    client_decoy: Option<Secret<String>>,
    user_decoy: Option<Secret<String>>,
    /// SHA-256 of an API key to the name of its user.
    api_keys: HashMap<[u8; 32], String>,
    metrics: Arc<Metrics>,
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
    /// `None` where the configuration has no authority. What was counted, remembered and begun by `old` goes on; without
    /// it, guesses are counted with those of other processes by `shared`.
    ///
    /// # Errors
    /// If the system gives no thread or no randomness.
    pub fn new(
        config: Arc<config::Config>,
        old: Option<&Authority>,
        shared: Option<Arc<dyn Shared>>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Option<Authority>> {
        let Some(settings) = &config.authority else { return Ok(None) };
        let guard = Guard::new(&settings.throttle, old.map(|old| &old.guard), shared, metrics.clone())?;
        let client_decoy = hashes::decoy(settings.clients.values().flat_map(|client| secret_hashes(client)));
        let user_decoy = match &settings.users {
            Users::Listed(users) => hashes::decoy(users.values().filter_map(|user| user.password.as_ref())),
            Users::Http(_) | Users::Ldap(_) => None,
        };
        let api_keys = match &settings.users {
            Users::Listed(users) => users.values().flat_map(|user| hashes_of_keys(user)).collect(),
            Users::Http(_) | Users::Ldap(_) => HashMap::new(),
        };
        let outside = Outside::new(&settings.users);
        Ok(Some(Authority { guard, outside, client_decoy, user_decoy, api_keys, metrics, config }))
    }

    pub fn settings(&self) -> &config::Authority {
        self.config.authority.as_ref().expect("`new` saw it")
    }

    /// The client with this id, also if it is disabled.
    pub fn client(&self, id: &str) -> Option<&Arc<Client>> {
        self.settings().clients.get(id)
    }

    /// Checks the secret of a client. A client that is not there costs as much as a wrong secret.
    ///
    /// # Errors
    /// Why it is not good, or not now.
    pub async fn verify_client(&self, id: &str, secret: &Secret<String>, cx: &Context) -> Result<Arc<Client>, Denied> {
        let client = self.client(id).filter(|client| client.enabled);
        let hashes = client.map_or(&[][..], |client| secret_hashes(client));
        let guess = Guess { kind: Kind::Client, name: id, secret, hashes, decoy: self.client_decoy.as_ref() };
        self.guard.judge(guess, cx).await?;
        client.cloned().ok_or(Denied::Wrong)
    }

    /// Checks name and password of a user, who asks through `client`, and counts what came of it.
    ///
    /// # Errors
    /// Why they are not good, or not now.
    pub async fn verify_user(
        &self,
        username: &str,
        password: &Secret<String>,
        client: &str,
        cx: &Context,
    ) -> Result<Identity, Denied> {
        let answer = self.find_user(username, password, client, cx).await;
        self.metrics.oauth.signed_in(match &answer {
            Ok(_) => SignIn::Success,
            Err(Denied::Wrong) => SignIn::Wrong,
            Err(Denied::Throttled(_)) => SignIn::Throttled,
            Err(Denied::Unavailable(_)) => SignIn::Unavailable,
        });
        answer
    }

    async fn find_user(
        &self,
        username: &str,
        secret: &Secret<String>,
        client: &str,
        cx: &Context,
    ) -> Result<Identity, Denied> {
        let Users::Listed(users) = &self.settings().users else {
            return self.ask_outside(username, secret, client, cx).await;
        };
        let user = users.get(username).filter(|user| user.enabled);
        let hashes = user.map_or(&[][..], |user| user.password.as_slice());
        let guess = Guess { kind: Kind::User, name: username, secret, hashes, decoy: self.user_decoy.as_ref() };
        self.guard.judge(guess, cx).await?;
        let user = user.ok_or(Denied::Wrong)?;
        Ok(Identity {
            subject: user.subject.clone(),
            username: user.username.clone(),
            claims: user.claims.clone(),
            credential: user.password.as_ref().map(hashes::credential),
        })
    }

    async fn ask_outside(
        &self,
        username: &str,
        secret: &Secret<String>,
        client: &str,
        cx: &Context,
    ) -> Result<Identity, Denied> {
        let outside = self.outside.as_ref().ok_or(Denied::Wrong)?;
        // Boxed: the futures of all who ask would be as large.
        let question = Box::pin(self.guard.in_line(outside.verify(username, secret, client)));
        let person = self.guard.ask(username, cx, question).await?;
        if self.client(&person.subject).is_some() {
            return Err(Denied::Unavailable("the users' service gave the id of a client as a subject".to_owned()));
        }
        Ok(Identity { subject: person.subject, username: username.to_owned(), claims: person.claims, credential: None })
    }

    /// The user that an API key stands for. There is nothing to throttle: such keys cannot be guessed.
    pub fn user_of_key(&self, key: &Secret<String>) -> Option<Identity> {
        let digest = hashes::generated(key);
        let Users::Listed(users) = &self.settings().users else { return None };
        let user = users.get(self.api_keys.get(&digest)?).filter(|user| user.enabled)?;
        Some(Identity {
            subject: user.subject.clone(),
            username: user.username.clone(),
            claims: user.claims.clone(),
            credential: Some(hashes::credential(&SecretHash::Sha256(Secret::new(digest)))),
        })
    }

    /// Puts `question` about `username` to whoever judges in our place, throttled as a guess here is.
    ///
    /// # Errors
    /// What came of the question, or that there is no room or no patience for it.
    pub async fn ask<T>(
        &self,
        username: &str,
        cx: &Context,
        question: impl Future<Output = Result<T, Denied>>,
    ) -> Result<T, Denied> {
        self.guard.ask(username, cx, question).await
    }

    /// What a listed user signs in with at the authority outside.
    pub fn account(&self, username: &str) -> Option<&config::Account> {
        match &self.settings().users {
            Users::Listed(users) => users.get(username)?.account.as_ref(),
            Users::Http(_) | Users::Ldap(_) => None,
        }
    }

    /// Whether whoever was vouched for as `username` may still go on: listed users must be there, enabled, and have the
    /// password whose `credential` was noted. Nobody can be asked about users who are verified elsewhere.
    pub fn still_vouches(&self, username: &str, credential: Option<&[u8; 16]>) -> bool {
        match &self.settings().users {
            Users::Listed(users) => users
                .get(username)
                .is_some_and(|user| user.enabled && credential.is_some_and(|credential| is_of(credential, user))),
            // Whoever was listed once is not known there by that name.
            Users::Http(_) | Users::Ldap(_) => credential.is_none(),
        }
    }

    /// How many passwords are being hashed, and how many wait for that.
    pub fn hashing(&self) -> (usize, usize) {
        self.guard.hashing()
    }
}

fn hashes_of_keys(user: &User) -> impl Iterator<Item = ([u8; 32], String)> {
    user.api_keys.iter().filter_map(|hash| match hash {
        SecretHash::Sha256(digest) => Some((*digest.expose(), user.username.clone())),
        SecretHash::Argon2id(_) => None,
    })
}

/// Whether the user's password, or one of the keys, is still what it was when `credential` was noted.
fn is_of(credential: &[u8; 16], user: &User) -> bool {
    user.password.iter().chain(&user.api_keys).any(|hash| hashes::credential(hash) == *credential)
}

fn secret_hashes(client: &Client) -> &[SecretHash] {
    match &client.authentication {
        ClientAuthentication::Secrets(hashes) => hashes,
        ClientAuthentication::Public | ClientAuthentication::PrivateKeyJwt(_) => &[],
    }
}

#[cfg(test)]
mod tests;
