//! The dialects beside `oauth2`. Absent sections are not served, whatever their defaults would be.

use jiff::tz::TimeZone;

use crate::{
    config::{
        Consinco, Envelope, Issued, JsonNames, NumberForm, Redex,
        check::{section::Section, urls},
        settings,
    },
    model::RefreshForm,
};

pub(super) fn redex(given: Option<&settings::Redex>, section: &Section<'_>) -> Option<Redex> {
    let envelope = match given.and_then(|redex| redex.envelope) {
        None | Some(settings::Envelope::Current) => Envelope::Current,
        Some(settings::Envelope::Original) => Envelope::Original,
    };
    let expires_in = match given.and_then(|redex| redex.expires_in) {
        None | Some(settings::NumberForm::Text) => NumberForm::Text,
        Some(settings::NumberForm::Number) => NumberForm::Number,
    };
    let refresh_form = match given.and_then(|redex| redex.refresh_token_length) {
        None | Some(settings::RefreshTokenLength::Compact) => RefreshForm::Compact,
        Some(settings::RefreshTokenLength::Full) => RefreshForm::Full,
    };
    let Some(redex) = given else {
        return Some(Redex { token: None, refresh: None, envelope, expires_in, refresh_form });
    };
    let token = urls::path("token", redex.token.as_ref(), "/public/v2/connect/token", section);
    let refresh = urls::path("refresh", redex.refresh.as_ref(), "/public/v2/connect/token/refresh", section);
    Some(Redex { token: token?, refresh: refresh?, envelope, expires_in, refresh_form })
}

pub(super) fn consinco(
    given: Option<&settings::Consinco>,
    authority: &settings::Authority,
    section: &Section<'_>,
) -> Option<Consinco> {
    let absent = settings::Consinco::default();
    let settings = given.unwrap_or(&absent);
    let json_names = match settings.json_names {
        None | Some(settings::JsonNames::Documented) => JsonNames::Documented,
        Some(settings::JsonNames::BackingFields) => JsonNames::BackingFields,
    };
    let issued = match settings.issued {
        None | Some(settings::Issued::Login) => Issued::Login,
        Some(settings::Issued::Token) => Issued::Token,
    };
    let extra_members = settings.extra_members.unwrap_or(false);
    let (login, refresh, client, zone, claims) = match given {
        None => (Some(None), Some(None), Some(String::new()), Some(TimeZone::UTC), Some(Vec::new())),
        Some(settings) => (
            urls::path("login", settings.login.as_ref(), "/api/v1/auth/login", section),
            urls::path("refresh", settings.refresh.as_ref(), "/api/v1/auth/refresh-token", section),
            client(settings, authority, section),
            zone(settings.zone.as_deref(), &section.key("zone")),
            claims(settings, &section.key("claims")),
        ),
    };
    Some(Consinco {
        login: login?,
        refresh: refresh?,
        client: client?,
        json_names,
        extra_members,
        issued,
        zone: zone?,
        claims: claims?,
    })
}

/// Its requests prove nothing of a client, so it must be one that need not prove anything.
fn client(settings: &settings::Consinco, authority: &settings::Authority, section: &Section<'_>) -> Option<String> {
    let id = section.required("client", settings.client.as_ref(), "pos")?;
    public_client(id, authority, &section.key("client"))
}

/// The client `id`, if it is one that need not prove anything.
pub(super) fn public_client(id: &str, authority: &settings::Authority, section: &Section<'_>) -> Option<String> {
    let Some(client) = authority.clients.iter().find(|client| client.id.as_deref() == Some(id)) else {
        section.problem(
            format!("{} is no client of the authority", section.shown(id)),
            "write the id of one of its clients",
        );
        return None;
    };
    if client.public != Some(true) {
        section.problem(
            format!("{} is not public, but nothing in these requests proves a client", section.shown(id)),
            "write public: true for it, and give it no grants that it does not need here",
        );
        return None;
    }
    Some(id.to_owned())
}

fn zone(name: Option<&str>, section: &Section<'_>) -> Option<TimeZone> {
    let Some(name) = name else { return Some(TimeZone::UTC) };
    let zone = TimeZone::get(name).ok();
    if zone.is_none() {
        section.problem(format!("{} is no time zone", section.shown(name)), "write for example America/Sao_Paulo");
    }
    zone
}

fn claims(settings: &settings::Consinco, section: &Section<'_>) -> Option<Vec<(String, String)>> {
    let given = &settings.claims.0;
    let mut complete = true;
    for (member, _) in given {
        if !TYPED.contains(&&**member) && !TEXTS.contains(&&**member) {
            let known = TYPED.iter().chain(&TEXTS).copied().collect::<Vec<_>>().join(", ");
            section.problem(
                format!("{} is no member that tells of a user", section.shown(member)),
                format!("known: {known}"),
            );
            complete = false;
        }
    }
    for member in TYPED {
        if !given.iter().any(|(known, _)| known == member) {
            // A text may be null for readers of old; a number or a truth value may not.
            section.problem(
                format!("{member} is missing: no claim could be guessed for it"),
                format!("write for example {member}: {member}"),
            );
            complete = false;
        }
    }
    complete.then(|| given.clone())
}

/// Members that are integers or booleans.
const TYPED: [&str; 3] = ["id", "userSequence", "isExt"];
const TEXTS: [&str; 9] =
    ["username", "name", "userCode", "loginId", "permissionRole", "company", "companyType", "ADUser", "productLine"];
