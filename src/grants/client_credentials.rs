//! A client on its own behalf (RFC 6749, section 4.4).

use super::{Grants, audiences_for, scope_for, trail::Trail};
use crate::{
    config::Client,
    model::{ErrorCode, RefreshForm, Scope, TokenError, TokenGrant},
};

impl Grants {
    pub(super) async fn client_credentials(
        &self,
        client: &Client,
        scope: Option<&Scope>,
        resources: &[String],
        trail: &mut Trail,
    ) -> Result<TokenGrant, TokenError> {
        // Anybody can say that they are a public client.
        if client.is_public() {
            return Err(TokenError::new(ErrorCode::UnauthorizedClient).because("public_client"));
        }
        let scope = scope_for(client, scope)?;
        let audiences = audiences_for(&client.audiences, resources)?;
        let granted = self.granted_to(client, scope, audiences)?;
        trail.subject = Some(granted.subject.clone());
        let (session, grant) = self.open(client, granted, None, RefreshForm::Full).await?;
        trail.session = Some(session);
        Ok(grant)
    }
}
