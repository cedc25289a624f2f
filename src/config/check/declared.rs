//! Token APIs that the configuration tells of.

mod message;
mod shape;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use jiff::{Timestamp, tz::TimeZone};

use self::message::Usage;
use super::{
    names::{self, Distinct},
    section::Section,
    urls,
};
use crate::{
    config::{
        DeclaredDialect,
        declared::{Content, DeclaredEndpoint, DeclaredResponse, Format, MediaType, Message, Place, Presence, Times},
        settings,
    },
    model::{ErrorCode, GrantType, RefreshForm},
};

/// Each of them, or `None` if one is wrong.
pub(super) fn check(
    settings: &[settings::DeclaredDialect],
    section: &Section<'_>,
) -> Option<Vec<Arc<DeclaredDialect>>> {
    let mut known = Distinct::default();
    for (index, dialect) in settings.iter().enumerate() {
        if let Some(name) = &dialect.name {
            known.note(name, index, "dialects", &section.key(index).key("name"));
        }
    }
    names::all(settings, section, |dialect, section| check_dialect(dialect, section).map(Arc::new))
}

fn check_dialect(settings: &settings::DeclaredDialect, section: &Section<'_>) -> Option<DeclaredDialect> {
    let name = names::label(settings.name.as_ref(), section, "acme").filter(|name| {
        let free = !BUILT_IN.contains(&&**name);
        if !free {
            section.key("name").problem("a dialect that is built in has this name", "choose another");
        }
        free
    });
    let times = times(&settings.times, &section.key("times"));
    let responses = responses(&settings.responses, &section.key("responses"));
    let endpoints = endpoints(settings, responses.as_deref(), section);
    if settings.errors.is_empty() {
        section.key("errors").problem("missing", "write for example errors: [{body: {error: \"{code}\"}}]");
    }
    let errors = names::all(&settings.errors, &section.key("errors"), |error, section| {
        message::check(&message::Given::from(error), Usage::Error, section)
    });
    let statuses = by_code(&settings.statuses.0, &section.key("statuses"), |status, section| {
        let status = StatusCode::from_u16(*status).ok();
        let good = status.filter(|status| *status == StatusCode::OK || status.as_u16() >= 400 && status.as_u16() < 600);
        if good.is_none() {
            section.problem("not a status of an error", "write 200, or one of 400 to 599");
        }
        good
    });
    let codes = by_code(&settings.codes.0, &section.key("codes"), |word, _| Some(word.clone()));
    let descriptions = by_code(&settings.descriptions.0, &section.key("descriptions"), |text, _| Some(text.clone()));
    let s = Duration::from_secs;
    let dialect = DeclaredDialect {
        name: name?,
        endpoints: endpoints?,
        errors: errors.filter(|errors| !errors.is_empty())?,
        statuses: statuses?,
        codes: codes?,
        descriptions: descriptions?,
        times: times?,
        refresh_form: match settings.refresh_token_length {
            Some(settings::RefreshTokenLength::Compact) => RefreshForm::Compact,
            None | Some(settings::RefreshTokenLength::Full) => RefreshForm::Full,
        },
        lifetime: section.span("lifetime", settings.lifetime, s(60), s(1)..=s(365 * 24 * 3600)).as_secs(),
    };
    warn_of_one_word(&dialect, section);
    Some(dialect)
}

/// A word for a token that is no longer good ends the session that reads it, so it should mean nothing else.
fn warn_of_one_word(dialect: &DeclaredDialect, section: &Section<'_>) {
    let word = dialect.word(ErrorCode::InvalidGrant);
    if dialect.code(word).is_none() {
        section.key("codes").warn(
            "several codes are written like invalid_grant: an authority that says it is understood by its status alone",
            "give invalid_grant a word of its own",
        );
    }
}

fn endpoints(
    dialect: &settings::DeclaredDialect,
    shared: Option<&[DeclaredResponse]>,
    section: &Section<'_>,
) -> Option<Vec<DeclaredEndpoint>> {
    let section = section.key("endpoints");
    if dialect.endpoints.is_empty() {
        section
            .problem("missing", "write for example endpoints: [{grant: refresh_token, path: /token, requests: […]}]");
        return None;
    }
    let endpoints = names::all(&dialect.endpoints, &section, |settings, section| endpoint(settings, shared, section))?;
    let mut distinct = true;
    for (index, endpoint) in endpoints.iter().enumerate() {
        let place = section.key(index);
        if let Some(first) = endpoints[..index].iter().position(|other| other.grant == endpoint.grant) {
            place.key("grant").problem(format!("endpoints[{first}] is for the same grant"), "leave one of them out");
            distinct = false;
        } else if let Some(first) = endpoints[..index].iter().position(|other| could_be(other, endpoint)) {
            let remedy = "let a constant of their requests differ, such as grant_type, or their paths";
            place.key("path").problem(format!("requests for endpoints[{first}] look the same"), remedy);
            distinct = false;
        } else if endpoints[..index]
            .iter()
            .any(|other| other.path == endpoint.path && other.responses != endpoint.responses)
        {
            let remedy = "write their responses once, in the dialect, or give them different paths";
            place.key("responses").problem("endpoints at one path answer alike", remedy);
            distinct = false;
        }
    }
    distinct.then_some(endpoints)
}

/// Whether nothing but their grants tells requests for both apart.
fn could_be(one: &DeclaredEndpoint, other: &DeclaredEndpoint) -> bool {
    let constants = |endpoint: &DeclaredEndpoint| -> Vec<(String, Content)> {
        let leaves = endpoint.requests.iter().flat_map(Message::leaves);
        let constants = leaves.filter(|leaf| leaf.presence == Presence::Required);
        let constants = constants.filter(|leaf| matches!(leaf.content, Content::Constant(_)));
        constants.map(|leaf| (leaf.name.clone(), leaf.content.clone())).collect()
    };
    one.path == other.path && constants(one) == constants(other)
}

fn endpoint(
    settings: &settings::DeclaredEndpoint,
    shared: Option<&[DeclaredResponse]>,
    section: &Section<'_>,
) -> Option<DeclaredEndpoint> {
    let grant = match settings.grant {
        Some(settings::DeclaredGrant::RefreshToken) => Some(GrantType::RefreshToken),
        Some(settings::DeclaredGrant::ApiKey) => Some(GrantType::ApiKey),
        Some(settings::DeclaredGrant::Password) => Some(GrantType::Password),
        Some(settings::DeclaredGrant::ClientCredentials) => Some(GrantType::ClientCredentials),
        None => {
            section.key("grant").problem("missing", "write for example grant: refresh_token");
            None
        }
    };
    let path = section.required("path", settings.path.as_ref(), "/token").filter(|path| {
        let fault = urls::literal_path_fault(path);
        if let Some(fault) = &fault {
            section.key("path").problem(format!("{} {fault}", section.shown(path)), "");
        }
        fault.is_none()
    });
    let basic = settings.basic.unwrap_or(false);
    let requests = requests(settings, grant, basic, &section.key("requests"));
    let own = responses(&settings.responses, &section.key("responses"));
    if settings.responses.is_empty() && shared.is_some_and(<[_]>::is_empty) {
        section.key("responses").problem(
            "missing, and the dialect has none either",
            "write for example responses: [{body: {access_token: \"{access_token}\", expires_in: \"{expires_in}\"}}]",
        );
    }
    let responses = if settings.responses.is_empty() { shared?.to_vec() } else { own? };
    let requests = requests?;
    let wrong_media_type = match &settings.wrong_media_type {
        Some(text) => text.as_str().into(),
        None => media_types(&requests).into(),
    };
    Some(DeclaredEndpoint {
        grant: grant?,
        path: path?.clone(),
        basic,
        requests,
        responses: (!responses.is_empty()).then_some(responses)?,
        missing: settings.missing.as_deref().map(Into::into),
        wrong_media_type,
    })
}

/// In the words of a refusal.
fn media_types(requests: &[Message]) -> String {
    let types: Vec<&str> =
        requests.iter().flat_map(|request| &request.media_types).map(|media| media.essence.as_str()).collect();
    match types.as_slice() {
        [one] => format!("Content-Type must be {one}"),
        several => format!("Content-Type must be one of {}", several.join(", ")),
    }
}

fn requests(
    settings: &settings::DeclaredEndpoint,
    grant: Option<GrantType>,
    basic: bool,
    section: &Section<'_>,
) -> Option<Vec<Message>> {
    if settings.requests.is_empty() {
        section.problem("missing", "write for example requests: [{body: {refresh_token: \"{refresh_token}\"}}]");
        return None;
    }
    let requests = names::all(&settings.requests, section, |request, section| {
        let message = message::check(&message::Given::from(request), Usage::Request(grant?), section)?;
        is_complete(&message, grant?, basic, section).then_some(message)
    })?;
    let types: Vec<(usize, &MediaType)> = requests
        .iter()
        .enumerate()
        .flat_map(|(index, request)| request.media_types.iter().map(move |media| (index, media)))
        .collect();
    for (at, (index, media)) in types.iter().enumerate() {
        if types[..at].iter().any(|(_, other)| other.essence == media.essence) {
            let place = section.key(*index).key("media_types");
            place.problem(format!("{} is that of a request before", media.essence), "leave it out");
            return None;
        }
    }
    let queries = requests.iter().filter(|request| request.format == Format::Query).count();
    if queries > 1 {
        section.problem("two queries could not be told apart", "leave one of them out");
        return None;
    }
    Some(requests)
}

/// Whether everything stands in a request without which it would mean nothing.
fn is_complete(request: &Message, grant: GrantType, basic: bool, section: &Section<'_>) -> bool {
    let body = section.key("body");
    let (must, _) = Place::of_request(grant);
    let mut whole = true;
    let mut wrong = |message: String, remedy: String| {
        body.problem(message, remedy);
        whole = false;
    };
    for place in must {
        let leaf = request.leaves().into_iter().find(|leaf| leaf.names(place));
        if leaf.is_none_or(|leaf| leaf.presence != Presence::Required) {
            let name = place.name();
            wrong(
                format!("a request for {} must have {{{name}}} in it", grant.as_str()),
                format!("write for example {name}: \"{{{name}}}\""),
            );
        }
    }
    let (id, secret) = (request.names(&Place::ClientId), request.names(&Place::ClientSecret));
    if basic && (id || secret) {
        wrong("the client proves itself by HTTP Basic and in the body".into(), "leave out one of them".into());
    }
    if secret && !id {
        wrong("a secret without {client_id}".into(), "write for example client_id: \"{client_id}\"".into());
    }
    if grant == GrantType::ClientCredentials && !basic && !(id && secret) {
        wrong(
            "nothing proves the client".into(),
            "write basic: true, or put {client_id} and {client_secret} into the body".into(),
        );
    }
    if request.format == Format::Query {
        section.key("form").warn(
            "the credential stands in the URL, which proxies and servers on the way may note",
            "use it only for an API that knows nothing else; sidegate itself never logs a query",
        );
    }
    whole
}

fn responses(settings: &[settings::DeclaredResponse], section: &Section<'_>) -> Option<Vec<DeclaredResponse>> {
    names::all(settings, section, |response, section| {
        let status = section.number("status", response.status, 200, 200..=299);
        let message = message::check(&message::Given::from(response), Usage::Response, section)?;
        if !message.names(&Place::AccessToken) {
            section
                .key("body")
                .problem("no {access_token} in it", "write for example access_token: \"{access_token}\"");
            return None;
        }
        Some(DeclaredResponse {
            status: StatusCode::from_u16(status).ok()?,
            omits: response.absent == Some(settings::DeclaredAbsent::Omit),
            message,
        })
    })
}

/// Error code to what it becomes.
fn by_code<T, U>(
    given: &[(String, T)],
    section: &Section<'_>,
    check: impl Fn(&T, &Section<'_>) -> Option<U>,
) -> Option<Vec<(ErrorCode, U)>> {
    let mut whole = true;
    let mut checked = Vec::new();
    for (name, value) in given {
        let section = section.key(name.as_str());
        let Some(code) = ErrorCode::parse(name) else {
            let known = ErrorCode::ALL.map(ErrorCode::as_str).join(", ");
            section.problem("there is no such error code", format!("known: {known}"));
            whole = false;
            continue;
        };
        match check(value, &section) {
            Some(value) => checked.push((code, value)),
            None => whole = false,
        }
    }
    whole.then_some(checked)
}

fn times(settings: &settings::DeclaredTimes, section: &Section<'_>) -> Option<Times> {
    let zone = match settings.zone.as_deref() {
        None => Some(TimeZone::UTC),
        Some(name) => {
            let zone = TimeZone::get(name).ok();
            if zone.is_none() {
                let section = section.key("zone");
                section
                    .problem(format!("{} is no time zone", section.shown(name)), "write for example America/Sao_Paulo");
            }
            zone
        }
    };
    let pattern = match settings.format.as_deref() {
        Some("unix") => Some(None),
        given => {
            let pattern = given.unwrap_or(ISO_8601);
            let moment = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
            // A pattern that says less than a moment could not be read back.
            let written = jiff::fmt::strtime::format(pattern, &moment);
            let whole = written.is_ok_and(|text| Timestamp::strptime(pattern, text).is_ok());
            if !whole {
                section.key("format").problem(
                    "not a pattern from which date, time and offset could be read back",
                    format!("write unix, or for example {ISO_8601}"),
                );
            }
            whole.then(|| Some(pattern.to_owned()))
        }
    };
    Some(Times { pattern: pattern?, zone: zone? })
}

const ISO_8601: &str = "%Y-%m-%dT%H:%M:%S%:z";
/// No metric may count two dialects as one.
pub(super) const BUILT_IN: [&str; 3] = ["oauth2", "redex", "consinco"];
