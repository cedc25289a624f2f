//! The user's password passes through the client (RFC 6749, section 4.3). RFC 9700 advises against it; old clients know
//! nothing else.

use serde_json::Value;

use super::{Grants, audiences_for, scope_for, trail::Trail};
use crate::{
    authority::{Denied, Identity},
    config::Client,
    model::{Context, GrantType, RefreshForm, Scope, Secret, TokenError, TokenGrant},
};

/// What the client has sent.
pub(super) struct Typed<'a> {
    pub username: &'a str,
    pub password: &'a Secret<String>,
    /// Where the dialect asks for one.
    pub company: Option<&'a str>,
    pub scope: Option<&'a Scope>,
    pub resources: &'a [String],
    pub form: RefreshForm,
}

impl Grants {
    pub(super) async fn password(
        &self,
        client: &Client,
        typed: Typed<'_>,
        trail: &mut Trail,
        cx: &Context,
    ) -> Result<TokenGrant, TokenError> {
        trail.subject = Some(typed.username.to_owned());
        // Before the password is looked at: hashing is the expensive part.
        let scope = scope_for(client, typed.scope)?;
        let audiences = audiences_for(&client.audiences, typed.resources)?;
        let user = self.sign_in(client, typed.username, typed.password, typed.company, cx).await?;
        trail.subject = Some(user.subject.clone());
        let granted = self.granted_by(user, GrantType::Password, scope, audiences)?;
        let (session, grant) = self.open(client, granted, None, typed.form).await?;
        trail.session = Some(session);
        Ok(grant)
    }

    /// The user whom name and password prove, by our own lists.
    pub(super) async fn sign_in(
        &self,
        client: &Client,
        username: &str,
        password: &Secret<String>,
        company: Option<&str>,
        cx: &Context,
    ) -> Result<Identity, TokenError> {
        let user = self.authority.verify_user(username, password, &client.id, cx).await;
        let user = user.map_err(|denied| match denied {
            Denied::Wrong => TokenError::invalid_grant().because("wrong_password"),
            Denied::Throttled(seconds) => TokenError::invalid_grant().throttled(seconds).because("throttled"),
            Denied::Unavailable(cause) => TokenError::unavailable().because(cause),
        })?;
        if company.is_some_and(|company| self.is_of_another(company, &user)) {
            return Err(TokenError::invalid_grant().because("other_company"));
        }
        Ok(user)
    }

    /// Whether a user is known to belong to another business account than `company`.
    fn is_of_another(&self, company: &str, user: &Identity) -> bool {
        let claim = self.settings().endpoints.consinco.claim("company").unwrap_or("company");
        match user.claims.get(claim) {
            None | Some(Value::Null) => false,
            Some(Value::String(own)) => own != company,
            Some(Value::Number(own)) => own.to_string() != company,
            Some(_) => true,
        }
    }
}
