//! A key that stands for one user of one business account. It is found by its hash and needs no slow one: it was made
//! by a machine.

use super::{Grants, audiences_for, scope_for, trail::Trail};
use crate::{
    config::Client,
    model::{GrantType, RefreshForm, Secret, TokenError, TokenGrant},
};

impl Grants {
    pub(super) async fn api_key(
        &self,
        client: &Client,
        key: &Secret<String>,
        form: RefreshForm,
        trail: &mut Trail,
    ) -> Result<TokenGrant, TokenError> {
        let user = self.authority.user_of_key(key);
        let user = user.ok_or_else(|| TokenError::invalid_grant().because("api_key_unknown"))?;
        trail.subject = Some(user.subject.clone());
        let granted =
            self.granted_by(user, GrantType::ApiKey, scope_for(client, None)?, audiences_for(&client.audiences, &[])?)?;
        let (session, grant) = self.open(client, granted, None, form).await?;
        trail.session = Some(session);
        Ok(grant)
    }
}
