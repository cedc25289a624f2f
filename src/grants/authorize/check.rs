//! One request against the configuration, in an order that never redirects to what is not the client's own.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use super::{
    Authorization, AuthorizeError, Failure, Fault, Intent, Parameters, Prompt, Refusal, Repeated, ResponseType, Target,
    redirect::matches,
};
use crate::{
    config::{Authority, Client},
    model::{GrantType, Scope},
};

/// Reads the request that `form` holds, a query or a body.
///
/// # Errors
/// Whom to tell what.
pub fn check(form: &[u8], authority: &Authority) -> Result<Authorization, Failure> {
    // What is kept of a request goes through the user's browser and back.
    if form.len() > MOST_BYTES {
        return Err(Failure::Page(Fault::TooLong));
    }
    let parameters = Parameters::parse(form);
    let client = client(&parameters, authority).map_err(Failure::Page)?;
    let (uri, given) = redirect_uri(&parameters, &client).map_err(Failure::Page)?;
    let response_type = parameters.text("response_type");
    let target = Target {
        uri,
        fragment: matches!(response_type.as_ref(), Ok(Some(kind)) if kind == "token"),
        state: parameters.bytes("state").ok().flatten().map(<[u8]>::to_vec),
    };
    let request = Request { parameters: &parameters, client: &client, authority };
    match request.read(response_type) {
        Ok(asked) => Ok(Authorization { redirect_uri: given.then(|| target.uri.clone()), client, target, ..asked }),
        Err(refusal) => Err(Failure::Redirect(target, refusal)),
    }
}

fn client(parameters: &Parameters<'_>, authority: &Authority) -> Result<Arc<Client>, Fault> {
    let id = parameters.text("client_id").map_err(|Repeated| Fault::ClientRepeated)?.ok_or(Fault::ClientMissing)?;
    let client = authority.clients.get(&*id).filter(|client| client.enabled);
    client.cloned().ok_or(Fault::ClientUnknown)
}

/// Where the answer goes, and whether the request said so.
fn redirect_uri(parameters: &Parameters<'_>, client: &Client) -> Result<(String, bool), Fault> {
    match parameters.text("redirect_uri").map_err(|Repeated| Fault::RedirectRepeated)? {
        Some(presented) => {
            let known = client.redirect_uris.iter().any(|registered| matches(registered, &presented));
            if known { Ok((presented.into_owned(), true)) } else { Err(Fault::RedirectUnknown) }
        }
        None => match client.redirect_uris.as_slice() {
            [only] => Ok((only.clone(), false)),
            _ => Err(Fault::RedirectMissing),
        },
    }
}

/// A request whose answers have somewhere to go.
struct Request<'a> {
    parameters: &'a Parameters<'a>,
    client: &'a Arc<Client>,
    authority: &'a Authority,
}

impl Request<'_> {
    fn read(&self, response_type: Result<Option<Cow<'_, str>>, Repeated>) -> Result<Authorization, Refusal> {
        if self.parameters.repeats(&["resource"]) {
            return Err(Refusal::invalid_request("a parameter is repeated"));
        }
        for (name, error) in
            [("request", AuthorizeError::RequestNotSupported), ("request_uri", AuthorizeError::RequestUriNotSupported)]
        {
            if self.parameters.has(name) {
                return Err(error.into());
            }
        }
        let response = self.response(response_type.ok().flatten().as_deref())?;
        let challenge = self.challenge(response)?;
        Ok(Authorization {
            client: self.client.clone(),
            target: Target { uri: String::new(), fragment: false, state: None },
            redirect_uri: None,
            response,
            scope: self.scope()?,
            audiences: self.audiences()?,
            challenge,
            nonce: self.text("nonce")?,
            login_hint: self.text("login_hint")?,
            ui_locales: self.text("ui_locales")?,
            prompt: self.prompt()?,
            max_age: self.max_age()?,
            intent: self.intent()?,
        })
    }

    fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        let text =
            self.parameters.text(name).map_err(|Repeated| Refusal::invalid_request("a parameter is repeated"))?;
        Ok(text.map(Cow::into_owned))
    }

    fn response(&self, response_type: Option<&str>) -> Result<ResponseType, Refusal> {
        let (response, grant, mode) = match response_type {
            None => return Err(Refusal::invalid_request("response_type is missing")),
            Some("code") => (ResponseType::Code, GrantType::AuthorizationCode, "query"),
            Some("token") => (ResponseType::Token, GrantType::Implicit, "fragment"),
            Some(_) => return Err(AuthorizeError::UnsupportedResponseType.into()),
        };
        if !self.client.may(grant) {
            return Err(AuthorizeError::UnauthorizedClient.into());
        }
        match self.text("response_mode")? {
            Some(other) if other != mode => Err(Refusal::invalid_request("response_mode is not supported")),
            _ => Ok(response),
        }
    }

    /// RFC 7636, by S256 alone.
    fn challenge(&self, response: ResponseType) -> Result<Option<String>, Refusal> {
        if response == ResponseType::Token {
            return Ok(None);
        }
        match (self.text("code_challenge")?, self.text("code_challenge_method")?.as_deref()) {
            (None, None) if self.client.pkce => Err(Refusal::invalid_request("code_challenge is missing")),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Refusal::invalid_request("code_challenge is missing")),
            (Some(challenge), Some("S256")) => {
                let digest = BASE64URL.decode(&challenge).is_ok_and(|digest| digest.len() == 32);
                let good = digest.then_some(challenge);
                good.map(Some).ok_or(Refusal::invalid_request("code_challenge is malformed"))
            }
            (Some(_), _) => Err(Refusal::invalid_request("code_challenge_method must be S256")),
        }
    }

    fn scope(&self) -> Result<Scope, Refusal> {
        let Some(asked) = self.text("scope")? else { return Ok(self.client.default_scopes.clone()) };
        // Published clients separate them by commas.
        let asked = Scope::parse(&asked.replace(',', " ")).map_err(|_| AuthorizeError::InvalidScope)?;
        if !asked.is_within(&self.client.scopes) {
            return Err(AuthorizeError::InvalidScope.into());
        }
        Ok(if asked.is_empty() { self.client.default_scopes.clone() } else { asked })
    }

    /// RFC 8707.
    fn audiences(&self) -> Result<Vec<String>, Refusal> {
        let mut asked: Vec<String> = self.parameters.texts("resource").map(Cow::into_owned).collect();
        asked.dedup();
        if asked.is_empty() {
            return Ok(self.client.audiences.clone());
        }
        if asked.iter().all(|resource| self.client.audiences.contains(resource)) {
            Ok(asked)
        } else {
            Err(AuthorizeError::InvalidTarget.into())
        }
    }

    fn prompt(&self) -> Result<Prompt, Refusal> {
        let text = self.text("prompt")?.unwrap_or_default();
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let has = |word| words.contains(&word);
        if has("none") && words.len() > 1 {
            return Err(Refusal::invalid_request("prompt none stands alone"));
        }
        Ok(Prompt {
            none: has("none"),
            login: has("login"),
            select_account: has("select_account"),
            consent: has("consent"),
        })
    }

    fn max_age(&self) -> Result<Option<u64>, Refusal> {
        let seconds = self.text("max_age")?.map(|text| text.parse::<u64>());
        seconds.transpose().map_err(|_| Refusal::invalid_request("max_age is malformed"))
    }

    /// The error codes are published and stand in the description.
    fn intent(&self) -> Result<Option<Intent>, Refusal> {
        let (id, kind) = (self.text("intentid")?, self.text("itype")?);
        if !self.client.intent && id.is_none() && kind.is_none() {
            return Ok(None);
        }
        let id = id.ok_or(Refusal::invalid_request("INTENT_ID_MISSING"))?;
        let kind = kind.filter(|kind| self.authority.intent.types.contains(kind));
        let kind = kind.ok_or(Refusal::invalid_request("ITYPE_MISSING_OR_INVALID"))?;
        Ok(Some(Intent { id, kind }))
    }
}

/// Of all parameters together.
const MOST_BYTES: usize = 8 * 1024;
