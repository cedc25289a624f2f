//! The dialects as an authority reads and writes them, after the published samples.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::{
    Asked, COMPANY, Given, No, Speech, Wanted, moment, plain,
    told::{CODE, COMPANY_TYPE, DISPLAY_NAME, ROLE},
};
use crate::support::xml::{Model, document};

/// What is wanted, and the client that says so with its secret.
type Understood = (Option<Wanted>, Option<(String, String)>);

/// What is wanted, and who wants it.
pub fn read(speech: Speech, asked: &Asked) -> Understood {
    match speech {
        Speech::OAuth2 => form(asked),
        Speech::Redex => envelope(asked).unwrap_or_default(),
        Speech::Consinco => (model(asked), None),
    }
}

fn form(asked: &Asked) -> Understood {
    let members: Vec<(String, String)> = form_urlencoded::parse(&asked.body).into_owned().collect();
    let text = |name: &str| {
        let mut found = members.iter().filter(|(known, _)| known == name);
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "{name} stands twice");
        first.map(|(_, value)| value.clone())
    };
    let basic = asked.headers.get("authorization").and_then(|value| {
        let pair = BASE64_STANDARD.decode(value.to_str().ok()?.strip_prefix("Basic ")?).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (id, secret) = pair.split_once(':')?;
        // Each is a form of its own (RFC 6749, section 2.3.1).
        let decode = |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned());
        decode(id).zip(decode(secret))
    });
    let in_form = text("client_id").zip(Some(text("client_secret").unwrap_or_default()));
    assert!(basic.is_none() || in_form.is_none(), "by two methods at once");
    let wanted = || {
        Some(match text("grant_type")?.as_str() {
            "password" => Wanted::Password { username: text("username")?, password: text("password")?, company: None },
            "client_credentials" => Wanted::ClientCredentials,
            "refresh_token" => Wanted::Refresh(text("refresh_token")?),
            _ => return None,
        })
    };
    let is_form = media(asked) == "application/x-www-form-urlencoded" && asked.target == OAUTH2;
    (if is_form { wanted() } else { None }, basic.or(in_form))
}

fn envelope(asked: &Asked) -> Option<Understood> {
    let members: Map<String, Value> = serde_json::from_slice(&asked.body).ok()?;
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let wanted = || {
        let fits = members.len() == 4 && media(asked) == "application/json";
        match (asked.target.as_str(), text("GrantType")?.as_str()) {
            ("/public/v2/connect/token", "api_key") if fits => text("ApiKey").map(Wanted::ApiKey),
            ("/public/v2/connect/token/refresh", "refresh_token") if fits => text("RefreshToken").map(Wanted::Refresh),
            _ => None,
        }
    };
    Some((wanted(), text("ClientId").zip(text("ClientSecret"))))
}

fn model(asked: &Asked) -> Option<Wanted> {
    let (begins, members) = match media(asked) {
        "application/json" | "text/json" => {
            let members: Map<String, Value> = serde_json::from_slice(&asked.body).ok()?;
            let members = members.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
            (asked.target.ends_with("/login"), members.collect::<Vec<_>>())
        }
        _ => {
            let model = Model::read(&asked.body)?;
            let names = model.names();
            assert!(names.is_sorted(), "a DataContract reader skips what is out of order: {names:?}");
            assert_eq!(model.namespace.as_deref(), Some(MODELS));
            let begins = model.root == "ConsincoUserBindingModel";
            assert!(begins || model.root == "ConsincoRefreshTokenBindingModel", "{}", model.root);
            let json_name = |name: &str| match name {
                "Refreshtoken" => "refresh_token".to_owned(),
                other => other.to_ascii_lowercase(),
            };
            (begins, model.members.iter().filter_map(|(name, text)| Some((json_name(name), text.clone()?))).collect())
        }
    };
    let text = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone());
    match (asked.target.as_str(), begins) {
        ("/api/v1/auth/login", true) => Some(Wanted::Password {
            username: text("username")?,
            password: text("password")?,
            company: Some(text("company")?),
        }),
        ("/api/v1/auth/refresh-token", false) => text("refresh_token").map(Wanted::Refresh),
        _ => None,
    }
}

fn media(asked: &Asked) -> &str {
    let value = asked.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
    value.split(';').next().unwrap_or_default()
}

fn wants_xml(asked: &Asked) -> bool {
    asked.headers.get("accept").is_some_and(|accept| accept.to_str().unwrap().contains("xml"))
}

pub fn give(speech: Speech, asked: &Asked, given: &Given) -> Response<Full<Bytes>> {
    match speech {
        Speech::OAuth2 => {
            let mut body = json!({
                "token_type": "bearer", "access_token": given.access, "expires_in": given.lifetime,
                "scope": "accounts payments", "unknown": {"to": ["us"]},
            });
            if let Some(refresh) = &given.refresh {
                body["refresh_token"] = refresh.as_str().into();
            }
            plain(200, "application/json", body.to_string())
        }
        Speech::Redex => {
            let data = json!({
                "AccessToken": given.access, "RefreshToken": given.refresh, "ExpiresIn": given.lifetime.to_string(),
                "TokenType": "Bearer", "Scope": "REConnect_api REDEX_api REHash_api",
            });
            let message = "Return tokens successfully";
            let body = json!({"Data": data, "Errors": null, "StatusCode": 200, "Message": message, "Meta": null});
            plain(200, "application/json", body.to_string())
        }
        Speech::Consinco => told(asked, given),
    }
}

/// Names of JSON and XML, in the order of the samples.
fn told(asked: &Asked, given: &Given) -> Response<Full<Bytes>> {
    let lifetime = given.lifetime.to_string();
    let login = given.username.as_deref().unwrap_or_default();
    let refresh = given.refresh.as_deref().unwrap_or_default();
    let (issued, expires) = match given.stamped {
        Some(now) => (moment(now).to_string(), moment(now.plus(given.lifetime)).to_string()),
        None => ("2021-01-28T10:31:08.8943474-03:00".to_owned(), "2021-01-28T11:31:08.8943474-03:00".to_owned()),
    };
    let members: [(&str, &str, &str); 16] = [
        ("access_token", "accessToken", &given.access),
        ("token_type", "tokenType", "bearer"),
        ("expires_in", "expiresIn", &lifetime),
        ("refresh_token", "refreshToken", refresh),
        ("username", "userName", DISPLAY_NAME),
        ("id", "id", "6"),
        ("name", "name", login),
        ("userSequence", "seqUser", "8"),
        ("userCode", "userCode", CODE),
        ("permissionRole", "permissionRole", ROLE),
        ("company", "company", COMPANY),
        ("companyType", "companyType", COMPANY_TYPE),
        ("isExt", "isExt", "true"),
        ("loginId", "loginId", login),
        (".issued", "issued", &issued),
        (".expires", "expires", &expires),
    ];
    let members = members.iter().filter(|(name, ..)| *name != "expires_in" || given.stamped.is_none());
    if wants_xml(asked) {
        let mut elements: Vec<(String, &str)> =
            members.map(|(_, property, text)| (format!("_x003C_{property}_x003E_k__BackingField"), *text)).collect();
        elements.sort();
        let elements: Vec<(&str, &str)> = elements.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        return plain(200, "application/xml; charset=utf-8", document(RESPONSE, "TokenResponse", &elements));
    }
    let body: Map<String, Value> = members
        .map(|(name, _, text)| {
            let value = match *name {
                "id" | "userSequence" => Value::from(text.parse::<i64>().unwrap()),
                "isExt" => Value::Bool(true),
                _ => Value::from(*text),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    plain(200, "application/json; charset=utf-8", Value::Object(body).to_string())
}

pub fn refuse(speech: Speech, asked: &Asked, no: No) -> Response<Full<Bytes>> {
    let code = match no {
        No::Malformed => "invalid_request",
        No::Client => "invalid_client",
        No::Grant => "invalid_grant",
    };
    match speech {
        Speech::OAuth2 => {
            let status = if no == No::Client { 401 } else { 400 };
            plain(status, "application/json", json!({"error": code, "error_description": "no"}).to_string())
        }
        Speech::Redex => {
            let status = if no == No::Malformed { 400 } else { 401 };
            let errors = json!([{"Key": code, "Message": code}]);
            let body = json!({"Data": null, "Errors": errors, "StatusCode": status, "Message": code, "Meta": null});
            plain(status, "application/json", body.to_string())
        }
        Speech::Consinco => {
            let status = if no == No::Malformed { 400 } else { 401 };
            match wants_xml(asked) {
                true => plain(status, "application/xml", document("", "Error", &[("Message", "não")])),
                false => plain(status, "application/json", json!({"error": code}).to_string()),
            }
        }
    }
}

const OAUTH2: &str = "/oauth20/token";
const MODELS: &str = "http://schemas.datacontract.org/2004/07/AuthenticationServer.Models";
const RESPONSE: &str = "http://schemas.datacontract.org/2004/07/Kike.Security.Data.Dto";
