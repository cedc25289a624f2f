//! What the targets share: a message out of bytes, the options of the dialects, and what every refusal must hold to.

pub mod consinco;

use std::{path::Path, sync::OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use sidegate::{
    config::{self, Endpoints, Environment},
    model::{ClientProof, ErrorCode, Grant, TokenError, TokenGrant, TokenRequest},
};

/// A file like those of tests/golden: comments, a request, a line `###`, and an answer. Each part may be missing.
pub struct File<'a> {
    pub request: Message<'a>,
    pub answer: Message<'a>,
}

/// A start line, headers, an empty line and a body; what cannot be a header is left out.
pub struct Message<'a> {
    pub line: &'a [u8],
    pub headers: HeaderMap,
    pub body: &'a [u8],
}

impl<'a> File<'a> {
    pub fn read(mut data: &'a [u8]) -> File<'a> {
        while data.starts_with(b"# ") {
            data = split(data, b"\n").1;
        }
        let (request, answer) = split(data, b"\n\n###\n\n");
        File { request: Message::read(request), answer: Message::read(answer) }
    }
}

impl<'a> Message<'a> {
    pub fn read(data: &'a [u8]) -> Message<'a> {
        let (head, body) = split(data, b"\n\n");
        let mut lines = head.split(|byte| *byte == b'\n');
        let line = lines.next().unwrap_or_default();
        let mut headers = HeaderMap::new();
        for line in lines.take(64) {
            let (name, value) = split(line, b": ");
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        Message { line, headers, body }
    }

    /// As the head of a POST; a target that is none becomes `/`.
    pub fn parts(&self) -> Parts {
        let target = self.line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let uri = http::Uri::try_from(target).unwrap_or_default();
        let mut head = Request::post(uri).body(()).expect("a parsed URI is one").into_parts().0;
        head.headers = self.headers.clone();
        head
    }

    /// 200 where the line has none.
    pub fn status(&self) -> StatusCode {
        let status = self.line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        StatusCode::from_bytes(status).unwrap_or(StatusCode::OK)
    }
}

/// What stands before the first `at`, and what behind it.
fn split<'a>(data: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(at.len()).position(|window| window == at) {
        Some(found) => (&data[..found], &data[found + at.len()..]),
        None => (data, &[]),
    }
}

/// Every dialect, with each member of `consinco` that tells of the user shown from the claim of its own name.
pub fn endpoints() -> &'static Endpoints {
    static ENDPOINTS: OnceLock<Endpoints> = OnceLock::new();
    ENDPOINTS.get_or_init(|| {
        let loaded = config::load_str(SETTINGS, "fuzz.yaml", Path::new("/nowhere"), &Environment::default());
        let authority = loaded.unwrap_or_else(|problems| panic!("{problems}")).config.authority;
        authority.expect("the settings have an authority").endpoints
    })
}

const SETTINGS: &str = "
listeners: [{name: public, address: '127.0.0.1:8080'}]
store: {memory: {}}
authority:
  issuer: http://127.0.0.1:8080
  audiences: [api]
  clients: [{id: pos, public: true, grants: [password, refresh_token], scopes: [orders]}]
  users: []
  endpoints:
    redex: {}
    consinco:
      client: pos
      zone: America/Sao_Paulo
      extra_members: true
      claims: {id: id, userSequence: userSequence, isExt: isExt, username: username, name: name, userCode: userCode,
        loginId: loginId, permissionRole: permissionRole, company: company, companyType: companyType, ADUser: ADUser,
        productLine: productLine}
upstreams: [{name: app, url: 'http://127.0.0.1:3000', credential: {none: {}}}]
routes: [{name: all, paths: ['/*'], upstream: app, policy: {audiences: [api], issuers: [local]}}]
";

/// The request said once more and read again is the same.
pub fn assert_same_request(one: &TokenRequest, other: &TokenRequest) {
    assert_eq!(texts(one), texts(other));
}

fn texts(request: &TokenRequest) -> Vec<Option<String>> {
    let proof = match &request.client.proof {
        ClientProof::None => [None, None],
        ClientProof::Secret(secret) => [Some(secret.expose().clone()), None],
        ClientProof::Assertion(assertion) => [None, Some(assertion.expose().clone())],
    };
    let grant = match &request.grant {
        Grant::AuthorizationCode { code, redirect_uri, verifier } => {
            let verifier = verifier.as_ref().map(|verifier| verifier.expose().clone());
            [Some(code.expose().clone()), redirect_uri.clone(), verifier]
        }
        Grant::ClientCredentials => [None, None, None],
        Grant::Password { username, password, company } => {
            [Some(username.clone()), Some(password.expose().clone()), company.clone()]
        }
        Grant::RefreshToken { token } => [Some(token.expose().clone()), None, None],
        Grant::ApiKey { key } => [Some(key.expose().clone()), None, None],
    };
    let rest = [
        Some(request.grant.kind().as_str().to_owned()),
        request.client.id.clone(),
        request.scope.as_ref().map(ToString::to_string),
        Some(request.resources.join("\n")),
    ];
    proof.into_iter().chain(grant).chain(rest).collect()
}

/// A request that could not be read: the client's own fault, said in allowed characters, and never in what was sent.
pub fn assert_refusal(error: &TokenError, answer: &Response<impl AsRef<[u8]>>) {
    assert!(answer.status().is_client_error(), "{error:?}");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let said = error.faults.iter().map(|fault| fault.problem).chain(error.description.as_deref());
    for text in said {
        // RFC 6749, section 5.2.
        assert!(text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{text}");
    }
}

/// An authority in trouble ends no session, whatever it writes.
pub fn assert_ends_no_session_in_trouble(status: StatusCode, heard: &Result<TokenGrant, TokenError>) {
    if let Err(error) = heard {
        let trouble = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        assert!(!trouble || error.code != ErrorCode::InvalidGrant, "{status}: {error:?}");
    }
}
