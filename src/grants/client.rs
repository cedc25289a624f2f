//! Who the client is. It proves itself by the one method that it is registered for.

use std::sync::Arc;

use super::Grants;
use crate::{
    authority::Denied,
    config::Client,
    model::{ClientProof, Context, PresentedClient, Secret, TokenError},
};

impl Grants {
    /// The client that a request comes from.
    ///
    /// # Errors
    /// `invalid_client`, the same for one that is not there and for one that did not prove itself.
    pub async fn authenticate(&self, presented: PresentedClient, cx: &Context) -> Result<Arc<Client>, TokenError> {
        match (presented.id, presented.proof) {
            (Some(id), ClientProof::None) => self.public_client(&id),
            (Some(id), ClientProof::Secret(secret)) => self.by_secret(&id, &secret, cx).await,
            (id, ClientProof::Assertion(assertion)) => Box::pin(self.by_assertion(id.as_deref(), &assertion)).await,
            (None, _) => Err(TokenError::invalid_client().because("no_client")),
        }
    }

    fn public_client(&self, id: &str) -> Result<Arc<Client>, TokenError> {
        let client = self.authority.client(id).filter(|client| client.enabled && client.is_public());
        client.cloned().ok_or_else(|| TokenError::invalid_client().because("not_authenticated"))
    }

    async fn by_secret(&self, id: &str, secret: &Secret<String>, cx: &Context) -> Result<Arc<Client>, TokenError> {
        self.authority.verify_client(id, secret, cx).await.map_err(|denied| match denied {
            Denied::Wrong => TokenError::invalid_client().because("wrong_secret"),
            Denied::Throttled(seconds) => TokenError::invalid_client().throttled(seconds).because("throttled"),
            Denied::Unavailable(cause) => TokenError::unavailable().because(cause),
        })
    }
}
