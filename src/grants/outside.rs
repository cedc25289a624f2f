//! Sessions that an authority outside vouches for: it is asked in its own dialect, and what it gives stays with the
//! session.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::Map;

use super::{Grants, audiences_for, authorize::SignedIn, scope_for, trail::Trail};
use crate::{
    authority::{
        Denied, Identity,
        remote::{NAME_BYTES, Remote, Unproven, Whose, own_claims},
    },
    config::{Account, Client, RemoteApi, declared::Place},
    model::{Context, ErrorCode, Grant, GrantType, RefreshForm, Scope, Secret, TokenError, TokenGrant},
    refresh::{NotRenewed, Renewals, Wanted},
    session::{Held, Session},
};

/// What the client has sent, once it is known who it is.
pub(super) struct Asked {
    pub grant: Grant,
    pub scope: Option<Scope>,
    pub resources: Vec<String>,
    pub refresh_form: RefreshForm,
}

/// What the authority outside said yes to.
struct Vouched {
    identity: Identity,
    held: Held,
}

impl Grants {
    /// A session for what the authority outside gives for `request`.
    pub(super) async fn begin_outside(
        &self,
        outside: &Renewals,
        client: &Client,
        request: Asked,
        trail: &mut Trail,
        cx: &Context,
    ) -> Result<TokenGrant, TokenError> {
        let Asked { grant, scope, resources, refresh_form } = request;
        let kind = grant.kind();
        if kind == GrantType::ClientCredentials && client.is_public() {
            return Err(TokenError::new(ErrorCode::UnauthorizedClient).because("public_client"));
        }
        // Before the authority is asked: what would be refused afterwards must not begin a session there.
        let scope = scope_for(client, scope.as_ref())?;
        let audiences = audiences_for(&client.audiences, &resources)?;
        let vouched = self.vouch(outside, client, grant, trail, cx).await?;
        trail.subject = Some(vouched.identity.subject.clone());
        let credential = vouched.identity.credential;
        let mut granted = self.granted_by(vouched.identity, kind, scope, audiences)?;
        granted.outside = credential.is_none();
        if kind == GrantType::ClientCredentials {
            granted.username = None;
        }
        let (session, given) = self.open(client, granted, Some(vouched.held), refresh_form).await?;
        trail.session = Some(session);
        Ok(given)
    }

    /// The user whom name and password prove on a page of ours, with what the authority outside gives for that, if one
    /// vouches.
    ///
    /// # Errors
    /// Why nobody has signed in.
    pub async fn sign_in_here(
        &self,
        client: &Client,
        username: &str,
        password: Secret<String>,
        cx: &Context,
    ) -> Result<SignedIn, Denied> {
        let Some(outside) = &self.outside else {
            let user = self.authority.verify_user(username, &password, &client.id, cx).await?;
            return Ok(SignedIn::new(user, self.sessions.now()));
        };
        let grant = Grant::Password { username: username.to_owned(), password, company: None };
        // The page writes lines of its own.
        let mut trail = Trail::new(GrantType::AuthorizationCode);
        let Vouched { identity, held } =
            self.vouch(outside, client, grant, &mut trail, cx).await.map_err(|error| match error.code {
                ErrorCode::InvalidGrant => error.throttled.map_or(Denied::Wrong, Denied::Throttled),
                _ => Denied::Unavailable(error.cause.unwrap_or_default()),
            })?;
        Ok(SignedIn { held: Some(held), ..SignedIn::new(identity, self.sessions.now()) })
    }

    /// Whether whoever vouched for `user` still does, as far as can be said here.
    pub fn still_vouches_for(&self, user: &SignedIn) -> bool {
        match (&user.held, &user.credential) {
            (Some(_), None) => self.outside.is_some(),
            (held, credential) => {
                held.is_some() == self.outside.is_some()
                    && self.authority.still_vouches(&user.username, credential.as_ref())
            }
        }
    }

    /// Asks the authority, with what was presented or with the account that belongs to it.
    async fn vouch(
        &self,
        outside: &Renewals,
        client: &Client,
        grant: Grant,
        trail: &mut Trail,
        cx: &Context,
    ) -> Result<Vouched, TokenError> {
        let settings = outside.remote().settings();
        if !settings.mapped {
            let kind = grant.kind();
            if says_no_company(&settings.api, &grant) {
                return Err(TokenError::new(ErrorCode::UnauthorizedClient).because("no_company"));
            }
            let known = presented_by(&grant, client, &settings.api);
            trail.subject = Some(known.subject.clone());
            self.is_no_client(&known.subject, kind)?;
            let given = match &grant {
                Grant::Password { username, .. } => {
                    let username = username.clone();
                    self.throttled(&username, outside.remote().ask(grant, SIGNS_IN, self.sessions.now()), cx).await?
                }
                // How hard the keys of that authority are to guess, nobody knows here.
                Grant::ApiKey { .. } => {
                    self.throttled(&known.subject, outside.remote().ask(grant, SIGNS_IN, self.sessions.now()), cx)
                        .await?
                }
                _ => outside.remote().ask(grant, SIGNS_IN, self.sessions.now()).await.map_err(judged)?,
            };
            let identity = self.recognised(outside, &given, told(&given, known), kind).await?;
            self.is_no_client(&identity.subject, kind)?;
            return Ok(Vouched { identity, held: held(given, outside.remote()) });
        }
        let (identity, account) = self.mapped(client, &grant, trail, cx).await?;
        let account = account.ok_or_else(|| TokenError::invalid_grant().because("no_account_at_the_authority"))?;
        // Not what was presented is wrong then, but what the operator has written.
        let given =
            outside.remote().ask(account, SIGNS_IN, self.sessions.now()).await.map_err(|error| match error.code {
                ErrorCode::InvalidGrant => {
                    let username = &identity.username;
                    tracing::error!(username, "the authority outside refuses an account: look at what it is mapped to");
                    misconfigured(&error)
                }
                _ => judged(error),
            })?;
        Ok(Vouched { identity, held: held(given, outside.remote()) })
    }

    /// A client's own tokens would pass for those of a user who is called so (RFC 9700, section 4.15).
    fn is_no_client(&self, subject: &str, kind: GrantType) -> Result<(), TokenError> {
        if kind != GrantType::ClientCredentials && self.authority.client(subject).is_some() {
            return Err(TokenError::invalid_grant().because("called_like_a_client"));
        }
        Ok(())
    }

    /// Somebody as the ID token in `given` tells, where one was asked for and given; without one, as `known`.
    async fn recognised(
        &self,
        outside: &Renewals,
        given: &TokenGrant,
        known: Identity,
        kind: GrantType,
    ) -> Result<Identity, TokenError> {
        if kind == GrantType::ClientCredentials {
            return Ok(known);
        }
        if given.id_token.is_none() {
            // Others are known by the subjects of their ID tokens, and somebody may be called like one of those.
            return match outside.remote().settings().sign_in() {
                Some(_) => Err(unproven(Unproven::Missing)),
                None => Ok(known),
            };
        }
        match outside.remote().who(given, None, self.sessions.now()).await {
            Ok(None) => Ok(known),
            Ok(Some(said)) => Ok(Identity {
                subject: said.subject,
                username: said.username,
                claims: said.claims,
                credential: known.credential,
            }),
            Err(error) => Err(unproven(error)),
        }
    }

    /// Who it is by our own lists, and what to sign in with at the authority.
    async fn mapped(
        &self,
        client: &Client,
        grant: &Grant,
        trail: &mut Trail,
        cx: &Context,
    ) -> Result<(Identity, Option<Grant>), TokenError> {
        let identity = match grant {
            Grant::Password { username, password, company } => {
                trail.subject = Some(username.clone());
                self.sign_in(client, username, password, company.as_deref(), cx).await?
            }
            Grant::ApiKey { key } => {
                self.authority.user_of_key(key).ok_or_else(|| TokenError::invalid_grant().because("api_key_unknown"))?
            }
            Grant::ClientCredentials => {
                let identity = Identity {
                    subject: client.id.to_string(),
                    username: client.id.to_string(),
                    claims: client.claims.clone(),
                    credential: None,
                };
                return Ok((identity, client.account.as_ref().map(Account::grant)));
            }
            Grant::AuthorizationCode { .. } | Grant::RefreshToken { .. } => {
                return Err(TokenError::new(ErrorCode::UnsupportedGrantType));
            }
        };
        let account = self.authority.account(&identity.username).map(Account::grant);
        Ok((identity, account))
    }

    /// A guess at somebody's password costs at the authority what it costs here.
    async fn throttled(
        &self,
        username: &str,
        question: impl Future<Output = Result<TokenGrant, TokenError>>,
        cx: &Context,
    ) -> Result<TokenGrant, TokenError> {
        let mut why = None;
        let asked = self.authority.ask(username, cx, async {
            question.await.map_err(|error| {
                let denied = match error.code {
                    ErrorCode::InvalidGrant => Denied::Wrong,
                    _ => Denied::Unavailable(String::new()),
                };
                why = Some(error);
                denied
            })
        });
        let denied = match asked.await {
            Ok(given) => return Ok(given),
            Err(denied) => denied,
        };
        Err(match (why, denied) {
            (Some(error), _) => judged(error),
            (None, Denied::Throttled(seconds)) => TokenError::invalid_grant().throttled(seconds).because("throttled"),
            (None, Denied::Wrong) => TokenError::invalid_grant().because("wrong_password"),
            (None, Denied::Unavailable(cause)) => TokenError::unavailable().because(cause),
        })
    }

    /// The session once the authority outside has agreed that its client goes on: before the client's own token rotates.
    pub(super) async fn agreed(&self, session: Session, presented: u64) -> Result<Session, TokenError> {
        let Some(vouched) = session.state.vouched else { return Ok(session) };
        // A retry, or a reuse: the step itself decides, and the authority is not to be troubled with it.
        if presented < session.state.generation || vouched.renewed_for >= presented {
            return Ok(session);
        }
        let Some(outside) = &self.outside else {
            return Err(TokenError::invalid_grant().because("authority_removed"));
        };
        match outside.renew(session.id, Wanted::ByClient { presented }).await {
            Ok(renewed) => Ok((*renewed).clone()),
            Err(NotRenewed::Ended) => Err(TokenError::invalid_grant().because("ended_by_the_authority")),
            Err(NotRenewed::NotRenewable) => Err(TokenError::invalid_grant().because("not_renewable")),
            Err(
                NotRenewed::NotAsked { retry_after: seconds, busy: true, cause }
                | NotRenewed::Unavailable { retry_after: Some(seconds), throttled: true, cause },
            ) => Err(TokenError::unavailable().throttled(seconds).because(cause)),
            Err(NotRenewed::NotAsked { retry_after, busy: false, cause }) => {
                Err(TokenError { retry_after: Some(retry_after), ..TokenError::unavailable() }.because(cause))
            }
            Err(NotRenewed::Unavailable { retry_after, cause, .. }) => {
                Err(TokenError { retry_after, ..TokenError::unavailable() }.because(cause))
            }
        }
    }
}

/// Whoever signs in: nobody yet, and all of them together.
pub(super) const SIGNS_IN: Option<Whose> = Some(Whose(0));

/// Whether the authority asks for what this client has no word for.
fn says_no_company(api: &RemoteApi, grant: &Grant) -> bool {
    matches!((api, grant), (RemoteApi::Consinco { company: None, .. }, Grant::Password { company: None, .. }))
}

/// Who somebody is as far as what they present tells.
fn presented_by(grant: &Grant, client: &Client, api: &RemoteApi) -> Identity {
    let named = |subject: String, claims| Identity { username: subject.clone(), subject, claims, credential: None };
    match (grant, api) {
        // Two companies may each have a user of the same name.
        (Grant::Password { username, company, .. }, RemoteApi::Consinco { company: default, .. }) => {
            let company = company.as_ref().or(default.as_ref()).map_or("", String::as_str);
            Identity { username: username.clone(), ..named(of_company(company, username), Map::new()) }
        }
        (Grant::Password { username, company, .. }, RemoteApi::Declared { dialect, .. })
            if dialect.names(&Place::Company) =>
        {
            let company = company.as_deref().unwrap_or_default();
            Identity { username: username.clone(), ..named(of_company(company, username), Map::new()) }
        }
        (Grant::Password { username, .. }, _) => named(username.clone(), Map::new()),
        // It stands for somebody whom only the authority knows, always the same one.
        (Grant::ApiKey { key }, _) => {
            let digest = digest::digest(&digest::SHA256, key.expose().as_bytes());
            named(format!("key:{}", BASE64URL.encode(&digest.as_ref()[..16])), Map::new())
        }
        (Grant::ClientCredentials | Grant::AuthorizationCode { .. } | Grant::RefreshToken { .. }, _) => {
            named(client.id.to_string(), client.claims.clone())
        }
    }
}

fn of_company(company: &str, username: &str) -> String {
    format!("{}/{username}", company.replace('%', "%25").replace('/', "%2F"))
}

/// The same with what the authority tells of them. It cannot give a token the claims that a token has of itself.
fn told(given: &TokenGrant, known: Identity) -> Identity {
    let mut claims = known.claims;
    claims.extend(own_claims(&given.claims));
    let username = given.username.as_ref().filter(|name| name.len() <= NAME_BYTES);
    Identity { username: username.cloned().unwrap_or(known.username), claims, ..known }
}

pub(super) fn held(given: TokenGrant, authority: &Remote) -> Held {
    Held {
        expires: given.issued.plus(given.expires_in),
        access_token: given.access_token,
        issued: given.issued,
        authority: authority.identity().to_owned(),
        refresh_token: given.refresh_token,
    }
}

/// What the client is told of the authority's answer: its own business, and nothing of ours.
fn judged(error: TokenError) -> TokenError {
    match error.code {
        ErrorCode::InvalidGrant | ErrorCode::TemporarilyUnavailable => error,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidClient
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::UnsupportedTokenType => misconfigured(&error),
        ErrorCode::ServerError => TokenError::unavailable().because(error.cause.unwrap_or_default()),
    }
}

/// What the client presented was good; what the authority says of it is not, or cannot be verified now.
fn unproven(error: Unproven) -> TokenError {
    if error != Unproven::Undecided {
        tracing::error!(%error, "an ID token of the authority outside is not believed: look at authority.remote.issuer");
    }
    TokenError::unavailable().because(format!("id_token: {error}"))
}

/// The authority refuses us, not the client; it has been told when that began.
fn misconfigured(error: &TokenError) -> TokenError {
    let cause = error.cause.as_deref().unwrap_or(error.code.as_str());
    TokenError::unavailable().because(format!("authority_refuses_us: {cause}"))
}
