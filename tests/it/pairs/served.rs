//! How a client of each dialect asks, and how it is answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::cases::{Case, Refusal};
use crate::{
    oauth::house::SECRET,
    support::{
        Reply,
        xml::{Model, document},
    },
};

/// A dialect that sidegate serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    OAuth2,
    Redex,
    ConsincoJson,
    ConsincoXml,
}

/// What a user types, or a device has stored.
#[derive(Debug, Clone)]
pub struct Typed {
    pub username: String,
    pub password: String,
    pub company: String,
    pub api_key: String,
}

/// What an answer gives.
#[derive(Debug)]
pub struct Answer {
    pub access: String,
    pub refresh: String,
    /// What it tells of the user, by its documented names.
    pub told: BTreeMap<String, Value>,
}

type Ask = Request<Full<Bytes>>;

impl Served {
    /// How a session begins.
    pub fn begin(self, typed: &Typed) -> Ask {
        self.post(true, self.media(), &self.obtains(typed))
    }

    /// How it goes on.
    pub fn renew(self, token: &str) -> Ask {
        self.post(false, self.media(), &self.renews(token))
    }

    /// Requests of this case, by a client whose session has the refresh token `token`.
    pub fn asks(self, case: Case, typed: &Typed, token: &str) -> Vec<Ask> {
        let (obtains, renews) = (self.obtains(typed), self.renews(token));
        let both = |change: &dyn Fn(Members) -> Members| {
            vec![
                self.post(true, self.media(), &change(obtains.clone())),
                self.post(false, self.media(), &change(renews.clone())),
            ]
        };
        match case {
            Case::MissingMember => {
                let each = |begins: bool, members: &Members| -> Vec<Ask> {
                    let needed = members.iter().filter(|(name, _)| !self.is_optional(name));
                    let needed = needed.map(|(name, _)| without(members, name));
                    needed.map(|rest| self.post(begins, self.media(), &rest)).collect()
                };
                each(true, &obtains).into_iter().chain(each(false, &renews)).collect()
            }
            Case::WrongType => self.of_wrong_types(&obtains, &renews),
            Case::UnknownMember => both(&|members| with(&members, "Unknown", "<é&\"'>")),
            Case::EmptyBody => {
                [true, false].map(|begins| self.bytes(begins, self.media(), String::new())).into_iter().collect()
            }
            Case::WrongMediaType => {
                let other =
                    if self == Served::OAuth2 { "application/json" } else { "application/x-www-form-urlencoded" };
                let write = |begins, members: &Members| self.bytes(begins, other, self.write(begins, members));
                vec![write(true, &obtains), write(false, &renews)]
            }
            Case::BodyOverTheLimit => both(&|members| with(&members, "Unknown", &"x".repeat(70 * 1024))),
            Case::UnknownGrantType => {
                let name = self.grant_type();
                // A login has none.
                let all =
                    if self.is_consinco() { vec![(false, renews)] } else { vec![(true, obtains), (false, renews)] };
                all.iter().map(|(begins, m)| self.post(*begins, self.media(), &with(m, name, "magic <é&>"))).collect()
            }
            Case::UnknownClient if self.is_consinco() => {
                vec![self.post(true, self.media(), &with(&obtains, self.name("username"), "nobody <é&>"))]
            }
            Case::WrongSecret if self.is_consinco() => {
                vec![self.post(true, self.media(), &with(&obtains, self.name("password"), "guess <é&>"))]
            }
            Case::UnknownClient => both(&|members| with(&members, self.name("client_id"), "nobody <é&>")),
            Case::WrongSecret => both(&|members| with(&members, self.name("client_secret"), "guess <é&>")),
            Case::WrongCredentials => {
                let credential = if self == Served::Redex { "api_key" } else { "password" };
                let wrong = with(&obtains, self.name(credential), "guess 2 <é&>");
                let unknown = self.renews("sg1.not-a-token <é&>");
                vec![self.post(true, self.media(), &wrong), self.post(false, self.media(), &unknown)]
            }
            other => panic!("{other:?} is no single request"),
        }
    }

    /// How it revokes `token`: the dialects beside `oauth2` have no endpoint for that, so its own is used.
    pub fn revoke(self, token: &str) -> Ask {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token).append_pair("client_id", self.client());
        if !self.is_consinco() {
            form.append_pair("client_secret", SECRET);
        }
        let request = Request::post("/oauth20/revoke").header("host", "api.test");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(Full::from(form.finish())).unwrap()
    }

    fn client(self) -> &'static str {
        if self.is_consinco() { "pos" } else { "app" }
    }

    pub fn is_consinco(self) -> bool {
        matches!(self, Served::ConsincoJson | Served::ConsincoXml)
    }

    fn obtains(self, typed: &Typed) -> Members {
        match self {
            Served::OAuth2 => members(&[
                ("grant_type", "password"),
                ("username", &typed.username),
                ("password", &typed.password),
                ("client_id", "app"),
                ("client_secret", SECRET),
            ]),
            Served::Redex => members(&[
                ("ApiKey", &typed.api_key),
                ("GrantType", "api_key"),
                ("ClientId", "app"),
                ("ClientSecret", SECRET),
            ]),
            Served::ConsincoJson => {
                members(&[("company", &typed.company), ("username", &typed.username), ("password", &typed.password)])
            }
            Served::ConsincoXml => members(&[
                ("Company", &typed.company),
                ("ControllerVersion", "3"),
                ("Password", &typed.password),
                ("Username", &typed.username),
            ]),
        }
    }

    fn renews(self, token: &str) -> Members {
        match self {
            Served::OAuth2 => members(&[
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", "app"),
                ("client_secret", SECRET),
            ]),
            Served::Redex => members(&[
                ("RefreshToken", token),
                ("GrantType", "refresh_token"),
                ("ClientId", "app"),
                ("ClientSecret", SECRET),
            ]),
            Served::ConsincoJson => members(&[("refresh_token", token), ("grant_type", "refresh_token")]),
            Served::ConsincoXml => {
                members(&[("ControllerVersion", "3"), ("GrantType", "refresh_token"), ("Refreshtoken", token)])
            }
        }
    }

    /// A member by its name in RFC 6749.
    fn name(self, name: &'static str) -> &'static str {
        match (self, name) {
            (Served::Redex, "client_id") => "ClientId",
            (Served::Redex, "client_secret") => "ClientSecret",
            (Served::Redex, "api_key") => "ApiKey",
            (Served::ConsincoXml, "username") => "Username",
            (Served::ConsincoXml, "password") => "Password",
            (_, name) => name,
        }
    }

    fn grant_type(self) -> &'static str {
        match self {
            Served::OAuth2 | Served::ConsincoJson => "grant_type",
            Served::Redex | Served::ConsincoXml => "GrantType",
        }
    }

    /// What may be left out; without a secret or an id a request of `oauth2` is one of nobody, which is another case.
    fn is_optional(self, name: &str) -> bool {
        match self {
            Served::OAuth2 => name.starts_with("client_"),
            Served::Redex => false,
            Served::ConsincoJson => name == "grant_type",
            Served::ConsincoXml => name == "GrantType" || name == "ControllerVersion",
        }
    }

    fn of_wrong_types(self, obtains: &Members, renews: &Members) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (begins, members) in [(true, obtains), (false, renews)] {
            for (name, text) in members {
                match self {
                    // A form has no types, but it may say something twice.
                    Served::OAuth2 => {
                        let twice = format!("{}&{name}=again", self.write(begins, members));
                        asks.push(self.bytes(begins, self.media(), twice));
                    }
                    Served::Redex | Served::ConsincoJson => {
                        for wrong in [json!(7), json!(true), json!([text]), json!({"text": text})] {
                            let mut object: Map<String, Value> =
                                members.iter().map(|(name, text)| (name.clone(), Value::from(&**text))).collect();
                            object.insert(name.clone(), wrong);
                            asks.push(self.bytes(begins, self.media(), Value::Object(object).to_string()));
                        }
                    }
                    Served::ConsincoXml if name != "ControllerVersion" => {
                        let whole = self.write(begins, members);
                        let nested = whole.replace(&format!("</{name}>"), &format!("<b/></{name}>"));
                        asks.push(self.bytes(begins, self.media(), nested));
                    }
                    Served::ConsincoXml => {}
                }
            }
        }
        asks
    }

    fn post(self, begins: bool, media: &str, members: &Members) -> Ask {
        self.bytes(begins, media, self.write(begins, members))
    }

    fn write(self, begins: bool, members: &Members) -> String {
        match self {
            Served::OAuth2 => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(members);
                form.finish()
            }
            Served::Redex | Served::ConsincoJson => {
                let members = members.iter().map(|(name, text)| (name.clone(), Value::from(&**text)));
                Value::Object(members.collect()).to_string()
            }
            Served::ConsincoXml => {
                let root = if begins { "ConsincoUserBindingModel" } else { "ConsincoRefreshTokenBindingModel" };
                let members: Vec<(&str, &str)> = members.iter().map(|(name, text)| (&**name, &**text)).collect();
                document("http://schemas.datacontract.org/2004/07/AuthenticationServer.Models", root, &members)
            }
        }
    }

    pub fn bytes(self, begins: bool, media: &str, body: impl Into<Bytes>) -> Ask {
        let path = match (self, begins) {
            (Served::OAuth2, _) => "/oauth20/token",
            (Served::Redex, true) => "/public/v2/connect/token",
            (Served::Redex, false) => "/public/v2/connect/token/refresh",
            (Served::ConsincoJson | Served::ConsincoXml, true) => "/api/v1/auth/login",
            (Served::ConsincoJson | Served::ConsincoXml, false) => "/api/v1/auth/refresh-token",
        };
        let request = Request::post(path).header("host", "api.test").header("content-type", media);
        request.body(Full::from(body.into())).unwrap()
    }

    pub fn media(self) -> &'static str {
        match self {
            Served::OAuth2 => "application/x-www-form-urlencoded",
            Served::Redex | Served::ConsincoJson => "application/json",
            Served::ConsincoXml => "application/xml",
        }
    }

    /// Reads a success, which must have exactly the form of the dialect.
    pub fn granted(self, reply: &Reply) -> Result<Answer, String> {
        if reply.status != 200 {
            return Err(format!("{} {}", reply.status, reply.text()));
        }
        let (names, members) = self.members_of(reply);
        let expected: &[&str] = match self {
            Served::OAuth2 => &["token_type", "access_token", "expires_in", "scope", "refresh_token"],
            Served::Redex => &["AccessToken", "RefreshToken", "ExpiresIn", "TokenType", "Scope"],
            Served::ConsincoJson | Served::ConsincoXml => &CONSINCO,
        };
        let (mut names, mut expected) = (names, expected.to_vec());
        names.sort();
        expected.sort_unstable();
        if names != expected {
            return Err(format!("members {names:?}"));
        }
        let text = |name: &str| members[name].as_str().unwrap_or_default().to_owned();
        let (access, refresh, kind, expires) = match self {
            Served::Redex => ("AccessToken", "RefreshToken", "TokenType", "ExpiresIn"),
            _ => ("access_token", "refresh_token", "token_type", "expires_in"),
        };
        let hour = if self == Served::OAuth2 { json!(3600) } else { json!("3600") };
        let kind_is_good = text(kind) == if self == Served::Redex { "Bearer" } else { "bearer" };
        if !kind_is_good || members[expires] != hour {
            return Err(format!("{kind} or {expires} in {}", reply.text()));
        }
        let (access, refresh) = (text(access), text(refresh));
        if access.is_empty() || refresh.is_empty() || (self == Served::Redex && refresh.len() > 36) {
            return Err(format!("tokens in {}", reply.text()));
        }
        Ok(Answer { access, refresh, told: members })
    }

    fn members_of(self, reply: &Reply) -> (Vec<String>, BTreeMap<String, Value>) {
        let object: Map<String, Value> = match self {
            Served::OAuth2 | Served::ConsincoJson => reply.json().as_object().unwrap().clone(),
            Served::Redex => {
                let envelope = reply.json();
                assert_eq!((&envelope["StatusCode"], &envelope["Errors"]), (&json!(200), &Value::Null));
                envelope["Data"].as_object().unwrap().clone()
            }
            Served::ConsincoXml => {
                let model = Model::read(&reply.body).unwrap_or_else(|| panic!("no model: {}", reply.text()));
                assert_eq!(model.root, "TokenResponse");
                assert!(model.names().is_sorted(), "{:?}", model.names());
                let named = |name: &str| {
                    let property =
                        name.strip_prefix("_x003C_").unwrap().strip_suffix("_x003E_k__BackingField").unwrap();
                    let at = PROPERTIES.iter().position(|known| *known == property).unwrap();
                    CONSINCO[at].to_owned()
                };
                model.members.iter().map(|(name, text)| (named(name), text.clone().into())).collect()
            }
        };
        (object.keys().cloned().collect(), object.into_iter().collect())
    }

    /// Whether `reply` is this refusal in the dialect's own form; otherwise what it is.
    pub fn refused(self, reply: &Reply, refusal: Refusal) -> Result<(), String> {
        let (status, code) = self.word_for(refusal);
        let wrong = |what: &str| Err(format!("{what}: {} {:?} {}", reply.status, reply.headers, reply.text()));
        if reply.status != StatusCode::from_u16(status).unwrap() {
            return wrong("status");
        }
        if reply.header("cache-control") != Some("no-store") {
            return wrong("it may be stored");
        }
        if reply.header("retry-after").is_some() != matches!(status, 429 | 503) {
            return wrong("retry-after");
        }
        if refusal == Refusal::Busy && reply.header("retry-after") != Some("7") {
            return wrong("not the authority's retry-after");
        }
        let fits = match self {
            Served::OAuth2 => reply.json()["error"] == code && media(reply) == "application/json",
            Served::ConsincoJson => {
                let body = reply.json();
                body["error"] == code && body["error_description"].is_string() && media(reply) == "application/json"
            }
            Served::Redex => {
                let body = reply.json();
                let keyed = body["Errors"].as_array().is_some_and(|items| !items.is_empty());
                let named = refusal == Refusal::Malformed || body["Errors"][0]["Key"] == code;
                keyed && named && body["StatusCode"] == status && body["Message"] == code && body["Data"].is_null()
            }
            // A body of no known media type is answered in JSON.
            Served::ConsincoXml if refusal == Refusal::MediaType => reply.json()["error"] == code,
            Served::ConsincoXml => Model::read(&reply.body).is_some_and(|model| {
                let said = model.text("Message").is_some_and(|text| !text.is_empty());
                model.root == "Error" && said && media(reply) == "application/xml"
            }),
        };
        if fits { Ok(()) } else { wrong(code) }
    }

    fn word_for(self, refusal: Refusal) -> (u16, &'static str) {
        let (status, code) = match refusal {
            Refusal::Malformed => (400, "invalid_request"),
            Refusal::MediaType => (415, "invalid_request"),
            Refusal::TooLarge => (413, "invalid_request"),
            Refusal::GrantType => (400, "unsupported_grant_type"),
            Refusal::Client => (401, "invalid_client"),
            Refusal::Grant => (401, "invalid_grant"),
            Refusal::Away => (503, "temporarily_unavailable"),
            Refusal::Busy => (429, "temporarily_unavailable"),
        };
        match (self, refusal) {
            // RFC 6749, section 5.2.
            (Served::OAuth2, Refusal::MediaType | Refusal::Grant) => (400, code),
            // The only failure that was ever published.
            (Served::Redex, Refusal::GrantType) => (401, code),
            // Its requests name no client: in its place a user is unknown, or a password wrong.
            (Served::ConsincoJson | Served::ConsincoXml, Refusal::Client) => (401, "invalid_grant"),
            _ => (status, code),
        }
    }
}

fn media(reply: &Reply) -> &str {
    reply.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default()
}

type Members = Vec<(String, String)>;

fn members(pairs: &[(&str, &str)]) -> Members {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn without(members: &Members, name: &str) -> Members {
    members.iter().filter(|(known, _)| known != name).cloned().collect()
}

/// With `name`, in its place if it is there already.
fn with(members: &Members, name: &str, text: &str) -> Members {
    let mut members = members.clone();
    match members.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => text.clone_into(known),
        None => members.push((name.to_owned(), text.to_owned())),
    }
    members
}

const CONSINCO: [&str; 16] = [
    "access_token",
    "token_type",
    "expires_in",
    "refresh_token",
    "username",
    "id",
    "name",
    "userSequence",
    "userCode",
    "permissionRole",
    "company",
    "companyType",
    "isExt",
    "loginId",
    ".issued",
    ".expires",
];

/// The same in the XML of the samples.
const PROPERTIES: [&str; 16] = [
    "accessToken",
    "tokenType",
    "expiresIn",
    "refreshToken",
    "userName",
    "id",
    "name",
    "seqUser",
    "userCode",
    "permissionRole",
    "company",
    "companyType",
    "isExt",
    "loginId",
    "issued",
    "expires",
];
