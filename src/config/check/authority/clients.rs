//! Who may ask for tokens.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{DAY, HOUR, claims, hashes, remote};
use crate::{
    config::{
        Client, ClientAuthentication, Renewal, Rotation, TokenFormat,
        check::{files, names, names::Distinct, routes, section::Section, urls},
        settings,
    },
    model::{GrantType, Scope},
};

pub(super) fn check(authority: &settings::Authority, section: &Section<'_>) -> Option<HashMap<String, Arc<Client>>> {
    let section = section.key("clients");
    let mut ids = Distinct::default();
    let checked: Vec<Option<Client>> = authority
        .clients
        .iter()
        .enumerate()
        .map(|(index, client)| {
            let section = section.key(index);
            if let Some(id) = &client.id {
                ids.note(id, index, "clients", &section.key("id"));
            }
            check_one(client, authority, &section)
        })
        .collect();
    let all: Option<Vec<Client>> = checked.into_iter().collect();
    Some(all?.into_iter().map(|client| (client.id.to_string(), Arc::new(client))).collect())
}

fn check_one(client: &settings::Client, authority: &settings::Authority, section: &Section<'_>) -> Option<Client> {
    let id = section.required("id", client.id.as_ref(), "my-app").filter(|id| is_id(id, &section.key("id")));
    let authentication = authentication(client, section);
    let grants = client.grants.iter().map(grant).collect::<Vec<_>>();
    let sound = check_grants(client, &section.key("grants"), section);
    let redirect_uris = names::all(&client.redirect_uris, &section.key("redirect_uris"), redirect_uri);
    let scopes = names::all(&client.scopes, &section.key("scopes"), |scope, section| {
        let known = authority.scopes.0.is_empty() || authority.scopes.0.iter().any(|(name, _)| name == scope);
        if !known {
            section.problem(format!("{} is not in the scopes of the authority", section.shown(scope)), "");
            return None;
        }
        routes::policy::scope(scope, section)
    });
    let defaults = names::all(
        client.default_scopes.as_deref().unwrap_or(&client.scopes),
        &section.key("default_scopes"),
        |scope, section| {
            let known = client.scopes.contains(scope);
            if !known {
                section.problem(format!("{} is not in scopes", section.shown(scope)), "");
            }
            known.then(|| scope.clone())
        },
    );
    let claims = claims::check(&client.claims.0, &section.key("claims"));
    let account = remote::account(client.account.as_ref(), authority, &section.key("account"));
    let s = Duration::from_secs;
    let access = section.key("access_token");
    let passed =
        authority.remote.as_ref().and_then(|remote| remote.tokens) == Some(settings::RemoteTokens::PassThrough);
    if passed && client.access_token.format.is_some() {
        access.key("format").problem(
            "clients get the authority's own access tokens, as those are (authority.remote.tokens: pass_through)",
            "leave it out, or write tokens: own",
        );
    }
    let refresh = section.key("refresh_token");
    let rotation = match client.refresh_token.rotation {
        None | Some(settings::Rotation::Rotate) => Some(Rotation::Rotate),
        Some(settings::Rotation::Stable) if client.public == Some(true) => {
            refresh.key("rotation").problem("a public client's refresh tokens rotate (RFC 9700, section 4.14)", "");
            None
        }
        Some(settings::Rotation::Stable) => Some(Rotation::Stable),
    };
    let renewal = renewal(client, authority, &access.key("renewal"));
    let absolute = refresh.span("absolute", client.refresh_token.absolute, s(90 * DAY), s(1)..=s(3650 * DAY));
    let id: Arc<str> = id?.as_str().into();
    Some(Client {
        name: client.name.clone().unwrap_or_else(|| id.to_string()),
        id,
        enabled: client.enabled.unwrap_or(true),
        authentication: authentication?,
        grants: sound.then_some(grants)?,
        redirect_uris: redirect_uris?,
        scopes: scopes?.into_iter().collect::<Scope>(),
        default_scopes: defaults?.into_iter().collect::<Scope>(),
        audiences: if client.audiences.is_empty() { authority.audiences.clone() } else { client.audiences.clone() },
        format: match client.access_token.format {
            None | Some(settings::TokenFormat::Opaque) => TokenFormat::Opaque,
            Some(settings::TokenFormat::Jwt) => TokenFormat::Jwt,
        },
        access_lifetime: access.span("lifetime", client.access_token.lifetime, s(HOUR), s(1)..=s(DAY)),
        renewal: renewal?,
        rotation: rotation?,
        idle: refresh.span("idle", client.refresh_token.idle, s(30 * DAY), s(1)..=s(3650 * DAY)).min(absolute),
        absolute,
        narrows: client.refresh_token.scope == Some(settings::RefreshScope::Narrow),
        intent: client.intent.unwrap_or(false),
        pkce: client.public.unwrap_or(false) || client.pkce.unwrap_or(true),
        asks_consent: client.consent != Some(settings::Consent::Skip),
        introspects_all: client.introspects_all.unwrap_or(false),
        claims: claims?,
        account: account?,
    })
}

/// How access tokens renew themselves; outside, `None`: they cannot.
fn renewal(
    client: &settings::Client,
    authority: &settings::Authority,
    section: &Section<'_>,
) -> Option<Option<Renewal>> {
    use settings::Grant::{ApiKey, AuthorizationCode, Password};
    let jwt = client.access_token.format == Some(settings::TokenFormat::Jwt);
    let renewal = match client.access_token.renewal {
        None | Some(settings::TokenRenewal::None) => return Some(None),
        Some(settings::TokenRenewal::Sliding) => Renewal::Sliding,
        Some(settings::TokenRenewal::Successor) => Renewal::Successor,
    };
    let passes = |remote: &settings::Remote| remote.tokens == Some(settings::RemoteTokens::PassThrough);
    if authority.remote.as_ref().is_some_and(passes) {
        let what = match renewal {
            Renewal::Sliding => "so they cannot slide",
            Renewal::Successor => "and what follows them is not ours to say",
        };
        section.problem(
            format!("the authority's own tokens end when it says so, {what}"),
            "tokens: own in authority.remote",
        );
        return None;
    }
    match renewal {
        Renewal::Sliding if jwt => {
            section
                .problem("a JWT says itself when it ends, so it cannot slide", "format: opaque, or renewal: successor");
            return None;
        }
        Renewal::Successor if !jwt => {
            section.problem("only a JWT has a successor", "format: jwt, or renewal: sliding");
            return None;
        }
        Renewal::Sliding | Renewal::Successor => {}
    }
    if !client.grants.iter().any(|grant| [AuthorizationCode, Password, ApiKey].contains(grant)) {
        section.warn(
            "no grant of this client gives a token that renews itself: that is never one on its own behalf, nor an \
             implicit one",
            "leave renewal out",
        );
    }
    Some(Some(renewal))
}

/// What the grants of a client have to do with each other and with the rest of it.
fn check_grants(client: &settings::Client, section: &Section<'_>, around: &Section<'_>) -> bool {
    use settings::Grant::{ApiKey, AuthorizationCode, ClientCredentials, Implicit, Password, RefreshToken};
    let has = |grant| client.grants.contains(&grant);
    let place = |grant| {
        let index = client.grants.iter().position(|other| *other == grant);
        index.map_or_else(|| section.clone(), |index| section.key(index))
    };
    let mut sound = true;
    if client.grants.is_empty() {
        section.problem("missing: the client could get no token", "write for example [client_credentials]");
        sound = false;
    }
    for grant in [AuthorizationCode, Implicit] {
        if has(grant) && client.redirect_uris.is_empty() {
            around.key("redirect_uris").problem(
                format!("missing: with {} the answer goes to one of them", self::grant(&grant).as_str()),
                "write for example redirect_uris: [\"https://shop.example.com/callback\"]",
            );
            sound = false;
            break;
        }
    }
    if has(ClientCredentials) && client.public == Some(true) {
        place(ClientCredentials).problem(
            "a public client has no credentials, so anybody could take its tokens (RFC 6749, section 4.4)",
            "leave the grant out, or give the client a secret",
        );
        sound = false;
    }
    if has(RefreshToken) && !has(AuthorizationCode) && !has(Password) && !has(ApiKey) {
        place(RefreshToken).warn(
            "no other grant of this client comes with a refresh token",
            "add authorization_code, or leave refresh_token out",
        );
    }
    if has(Implicit) {
        place(Implicit).warn(
            "tokens in the redirect can leak from the browser (RFC 9700, section 2.1.2); they live at most 10m",
            "use authorization_code with PKCE where the client can",
        );
    }
    if has(Password) {
        place(Password).warn(
            "the client sees its users' passwords (RFC 9700, section 2.4)",
            "use authorization_code where the client can",
        );
    }
    sound
}

/// RFC 6749, appendix A.1; the rest may be sent by Basic and stand in a log line.
fn is_id(id: &str, section: &Section<'_>) -> bool {
    let good = id.len() <= LONGEST_ID && id.bytes().all(|b| (0x20..=0x7e).contains(&b));
    if !good {
        section.problem(format!("not up to {LONGEST_ID} printable ASCII characters"), "");
    }
    good
}

fn grant(grant: &settings::Grant) -> GrantType {
    match grant {
        settings::Grant::AuthorizationCode => GrantType::AuthorizationCode,
        settings::Grant::ClientCredentials => GrantType::ClientCredentials,
        settings::Grant::Password => GrantType::Password,
        settings::Grant::RefreshToken => GrantType::RefreshToken,
        settings::Grant::Implicit => GrantType::Implicit,
        settings::Grant::ApiKey => GrantType::ApiKey,
        settings::Grant::Basic => GrantType::Basic,
    }
}

fn authentication(client: &settings::Client, section: &Section<'_>) -> Option<ClientAuthentication> {
    let public = client.public.unwrap_or(false);
    match (public, client.secret_hashes.as_slice(), &client.jwks_file) {
        (true, [], None) => Some(ClientAuthentication::Public),
        (true, _, _) => {
            section.key("public").problem("a public client proves nothing", "leave out public or the secret");
            None
        }
        (false, [], None) => {
            section.problem(
                "the client has no secret_hashes, no jwks_file and is not public",
                "sidegate hash --generate makes a secret and its hash",
            );
            None
        }
        (false, [_, ..], Some(_)) => {
            section.key("jwks_file").problem("a client has secrets or keys, not both", "");
            None
        }
        (false, hashes, None) => {
            names::all(hashes, &section.key("secret_hashes"), |text, section| hashes::check(text, section))
                .map(ClientAuthentication::Secrets)
        }
        (false, [], Some(file)) => {
            let set = files::key_set(file, &section.key("jwks_file"))?;
            Some(ClientAuthentication::PrivateKeyJwt(set.content().to_vec().into()))
        }
    }
}

/// RFC 9700, section 2.1: https, a private-use scheme, or http on a loopback address; no fragment.
fn redirect_uri(text: &String, section: &Section<'_>) -> Option<String> {
    let url = url::Url::parse(text).ok();
    let good = url.as_ref().is_some_and(|url| {
        url.fragment().is_none()
            && match url.scheme() {
                "https" => true,
                "http" => urls::is_loopback(url),
                // RFC 8252, section 7.1: a domain name turned round.
                scheme => scheme.contains('.'),
            }
    });
    if !good {
        section.problem(
            format!("{} is not a redirect URI that may be used", section.shown(text)),
            "https, or http on a loopback address, or a scheme of your own such as com.example.app:/callback; no fragment",
        );
    }
    good.then(|| text.clone())
}

const LONGEST_ID: usize = 255;
