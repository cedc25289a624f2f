//! Who asks, and what the configuration says of them.

use std::sync::Arc;

use super::{good, hidden};
use crate::{
    config::{self, Client, ClientAuthentication},
    explain::{Detail, Mark, Step},
    grants::{audiences_for, scope_for},
    model::{ClientProof, ErrorCode, Grant, Scope, TokenError, TokenRequest},
};

/// The client of the request, with what it may have of what it asks for. `None` if only an assertion names it.
///
/// # Errors
/// As [`crate::grants::Grants::issue`] would refuse it, whatever its secret is worth.
pub fn judge<'a>(
    request: &TokenRequest,
    authority: &'a config::Authority,
    steps: &mut Vec<Step>,
) -> Result<Option<&'a Arc<Client>>, TokenError> {
    let proof = match &request.client.proof {
        ClientProof::None => "no proof: a public client".to_owned(),
        ClientProof::Secret(secret) if request.client.by_header => {
            format!("a secret by HTTP Basic: {}", hidden(secret))
        }
        ClientProof::Secret(secret) => format!("a secret: {}", hidden(secret)),
        ClientProof::Assertion(assertion) => format!("an assertion: {}", hidden(assertion)),
    };
    let mut details = vec![Detail::plain(proof)];
    let Some(id) = &request.client.id else {
        steps.push(good("client", "named by its assertion alone", details));
        return Ok(None);
    };
    let refused = |why: String, details: Vec<Detail>, error: TokenError| {
        (Step { step: "client", mark: Mark::Refused, says: format!("`{id}`: {why}"), details }, error)
    };
    let found = authority.clients.get(id);
    let (step, error) = match found {
        None => refused("there is no such client".to_owned(), details, TokenError::invalid_client()),
        Some(client) if !client.enabled => refused("it is disabled".to_owned(), details, TokenError::invalid_client()),
        Some(client) if !proves(client, &request.client.proof) => {
            let why = match client.authentication {
                ClientAuthentication::Public => "it is a public client and has no secret",
                ClientAuthentication::Secrets(_) => "it proves itself by a secret",
                ClientAuthentication::PrivateKeyJwt(_) => "it proves itself by an assertion",
            };
            refused(why.to_owned(), details, TokenError::invalid_client())
        }
        Some(client) if !client.may(request.grant.kind()) => {
            let grant = request.grant.kind().as_str();
            let why = format!("`{grant}` is not among its grants");
            refused(why, details, TokenError::new(ErrorCode::UnauthorizedClient))
        }
        Some(client) => {
            let grants: Vec<&str> = client.grants.iter().map(|grant| grant.as_str()).collect();
            details.push(Detail::plain(format!("its grants: {}", grants.join(", "))));
            steps.push(good("client", format!("`{id}`"), details));
            return scope(request, client, steps).map(|()| Some(client));
        }
    };
    steps.push(step);
    Err(error)
}

fn proves(client: &Client, proof: &ClientProof) -> bool {
    matches!(
        (&client.authentication, proof),
        (ClientAuthentication::Public, ClientProof::None)
            | (ClientAuthentication::Secrets(_), ClientProof::Secret(_))
            | (ClientAuthentication::PrivateKeyJwt(_), ClientProof::Assertion(_))
    )
}

fn scope(request: &TokenRequest, client: &Client, steps: &mut Vec<Step>) -> Result<(), TokenError> {
    let asked = request.scope.as_ref();
    let (says, result) = match (&request.grant, asked) {
        (Grant::AuthorizationCode { .. }, _) => ("that of the code".to_owned(), Ok(())),
        (Grant::RefreshToken { .. }, Some(asked)) if client.narrows => {
            (format!("that of the session, narrowed to {}", shown(asked)), Ok(()))
        }
        (Grant::RefreshToken { .. }, Some(_)) => {
            ("that of the session; what is asked for is ignored, as published".to_owned(), Ok(()))
        }
        (Grant::RefreshToken { .. }, None) => ("that of the session".to_owned(), Ok(())),
        (_, None) => (format!("none is asked for, so {}", shown(&client.default_scopes)), Ok(())),
        (_, Some(asked)) => match scope_for(client, Some(asked)) {
            Ok(scope) => (shown(&scope), Ok(())),
            Err(error) => (format!("the client may only have {}", shown(&client.scopes)), Err(error)),
        },
    };
    // A session's own audiences are known to the store alone.
    let is_new = matches!(request.grant, Grant::ClientCredentials | Grant::Password { .. } | Grant::ApiKey { .. });
    let result = match result {
        Ok(()) if is_new => audiences_for(&client.audiences, &request.resources).map(|_| ()),
        other => other,
    };
    let mark = if result.is_ok() { Mark::Good } else { Mark::Refused };
    let resources = request.resources.iter().map(|resource| Detail::plain(format!("resource: {resource}"))).collect();
    steps.push(Step { step: "scope", mark, says, details: resources });
    result
}

fn shown(scope: &Scope) -> String {
    if scope.is_empty() { "none".to_owned() } else { format!("`{scope}`") }
}
