//! Every golden file, served and spoken.
//!
//! A file begins with lines `# …`: what it is about, and `# key: value` for what the bytes cannot tell:
//! - `outcome`: what is decided behind the dialect: `granted`, `granted bare`, `granted markup`, an error code,
//!   `throttled SECONDS` or a status. A request that cannot be read must give this very error by itself;
//! - `options`: under which it is served;
//! - `heard`: what a reader of the answer makes of it, where it says less than the outcome;
//! - `spoken: reply`: we would say the request in other bytes.
//!
//! Then come the request, a line `###`, and the answer. Outside of texts, white space is free.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request::Parts};

use super::sample;
use crate::{
    config::{Consinco, DeclaredDialect, DeclaredPlace, Envelope, Issued, JsonNames, NumberForm, Redex},
    dialect::{Endpoint, Heard, consinco, declared, redex},
    model::{ErrorCode, TokenError, TokenGrant, TokenRequest},
};

type Reply = Result<TokenGrant, TokenError>;

#[test]
fn redex_is_served_and_spoken_as_its_golden_files_show() {
    for file in files("redex") {
        let mut options = sample::redex();
        for option in file.options() {
            match option {
                "envelope=original" => options.envelope = Envelope::Original,
                "expires_in=number" => options.expires_in = NumberForm::Number,
                other => panic!("{}: no such option: {other}", file.name),
            }
        }
        check_redex(&file, &options);
    }
}

fn check_redex(file: &File, options: &Redex) {
    let endpoint = if file.head.uri.path().ends_with("/refresh") { Endpoint::Renew } else { Endpoint::Obtain };
    let read = redex::read_request(endpoint, &file.head, &file.body, &sample::redex());
    if let (Ok(request), true) = (&read, file.is_request_spoken()) {
        let said = redex::write_request(request).unwrap();
        assert_eq!((said.endpoint, compact(said.body())), (endpoint, compact(&file.body)), "{}", file.name);
    }
    file.check_served(&redex::write_reply(&file.reply(read), options, REALM));
    let heard = redex::read_reply(&file.heard());
    if let Some(grant) = file.check_heard(heard) {
        file.check_served(&redex::write_reply(&Ok(grant), options, REALM));
    }
}

#[test]
fn consinco_is_served_and_spoken_as_its_golden_files_show() {
    for file in files("consinco") {
        let mut options = sample::consinco();
        for option in file.options() {
            match option.split_once('=') {
                Some(("json_names", "backing_fields")) => options.json_names = JsonNames::BackingFields,
                Some(("issued", "token")) => options.issued = Issued::Token,
                Some(("zone", zone)) => options.zone = jiff::tz::TimeZone::get(zone).unwrap(),
                None if option == "extra_members" => options.extra_members = true,
                _ => panic!("{}: no such option: {option}", file.name),
            }
        }
        check_consinco(&file, &options);
    }
}

fn check_consinco(file: &File, options: &Consinco) {
    let endpoint = if file.head.uri.path().ends_with("/login") { Endpoint::Obtain } else { Endpoint::Renew };
    let read = consinco::read_request(endpoint, &file.head, &file.body, options);
    if let (Ok(request), true) = (&read, file.is_request_spoken()) {
        let is_xml = file.body.starts_with(b"<");
        let format = if is_xml { crate::config::Format::Xml } else { crate::config::Format::Json };
        let said = consinco::write_request(request, &consinco::Speech { format, company: None }).unwrap();
        assert_eq!((said.endpoint, compact(said.body())), (endpoint, compact(&file.body)), "{}", file.name);
    }
    file.check_served(&consinco::write_reply(&file.reply(read), &file.head, options, REALM));
    if let Some(grant) = file.check_heard(consinco::read_reply(&file.heard())) {
        let options = sample::unmapped(options);
        file.check_served(&consinco::write_reply(&Ok(grant), &file.head, &options, REALM));
    }
}

/// The same files, and not one line of code for the dialect.
#[test]
fn redex_as_a_declared_dialect_passes_the_same_golden_files() {
    for file in files("redex") {
        let (mut source, mut name) = (sample::declared("redex"), "current");
        for option in file.options() {
            match option {
                "envelope=original" => name = "original",
                "expires_in=number" => source = source.replace("{expires_in as text}", "{expires_in}"),
                other => panic!("{}: no such option: {other}", file.name),
            }
        }
        check_declared(&file, &sample::dialect(&source, name), None);
    }
}

#[test]
fn consinco_as_a_declared_dialect_passes_the_same_golden_files() {
    for file in files("consinco") {
        let (mut source, mut name) = (sample::declared("consinco"), "documented");
        for option in file.options() {
            match option.split_once('=') {
                Some(("json_names", "backing_fields")) => name = "backing_fields",
                Some(("issued", "token")) => source = source.replace("{login}", "{issued}"),
                Some(("zone", zone)) => source = source.replace("America/Sao_Paulo", zone),
                None if option == "extra_members" => source = with_extra_members(&source),
                _ => panic!("{}: no such option: {option}", file.name),
            }
        }
        check_declared(&file, &sample::dialect(&source, name), Some("pdv"));
    }
}

fn with_extra_members(source: &str) -> String {
    let first_in_xml = "      _x003C_accessToken_x003E_k__BackingField:";
    let behind_role_in_xml = "      _x003C_refreshToken_x003E_k__BackingField:";
    let (user, line) = ("\"{claim:ADUser as text}\"\n", "\"{claim:productLine as text}\"\n");
    source
        .replace(
            "      .expires: \"{expires}\"\n",
            &format!("      .expires: \"{{expires}}\"\n      ADUser: {user}      productLine: {line}"),
        )
        .replace(first_in_xml, &format!("      _x003C_ADUser_x003E_k__BackingField: {user}{first_in_xml}"))
        .replace(
            behind_role_in_xml,
            &format!("      _x003C_productLine_x003E_k__BackingField: {line}{behind_role_in_xml}"),
        )
}

fn check_declared(file: &File, dialect: &DeclaredDialect, client: Option<&str>) {
    let mut dialect = dialect.clone();
    // What is named first is spoken.
    if file.body.starts_with(b"<") {
        dialect.endpoints.iter_mut().for_each(|endpoint| endpoint.requests.reverse());
    }
    let path = file.head.uri.path();
    let index = dialect.endpoints.iter().position(|endpoint| endpoint.path == path).unwrap();
    let (dialect, endpoints) = (Arc::new(dialect), vec![index]);
    let place = DeclaredPlace { dialect, endpoints, path: path.into(), client: client.map(str::to_owned) };
    let read = declared::read_request(&place, &file.head, &file.body);
    if let (Ok(request), true) = (&read, file.is_request_spoken()) {
        let said = declared::write_request(&place.dialect, request).unwrap();
        assert_eq!((said.path.as_deref(), compact(said.body())), (Some(path), compact(&file.body)), "{}", file.name);
    }
    file.check_served(&declared::write_reply(&place, &file.reply(read), &file.head, REALM));
    if let Some(grant) = file.check_heard(declared::read_reply(&place.dialect, &file.heard())) {
        file.check_served(&declared::write_reply(&place, &Ok(grant), &file.head, REALM));
    }
}

/// One golden file.
struct File {
    name: String,
    keys: Vec<(String, String)>,
    head: Parts,
    body: Vec<u8>,
    answer: Response<Vec<u8>>,
}

impl File {
    fn read(path: &Path) -> File {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).unwrap();
        let (request, answer) = text.split_once("\n\n###\n\n").unwrap_or_else(|| panic!("{name}: no line ###"));
        let about: Vec<&str> = request.lines().map_while(|line| line.strip_prefix("# ")).collect();
        let keys = about.iter().filter_map(|line| line.split_once(": "));
        let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let request = request.lines().skip(about.len()).collect::<Vec<_>>().join("\n");
        let (line, headers, body) = message(&request);
        let mut head = Request::post(line.split(' ').nth(1).unwrap()).body(()).unwrap();
        *head.headers_mut() = headers;
        let (line, headers, answer_body) = message(answer);
        let mut answer = Response::new(answer_body);
        *answer.status_mut() = line.split(' ').nth(1).unwrap().parse().unwrap();
        *answer.headers_mut() = headers;
        File { name, keys, head: head.into_parts().0, body, answer }
    }

    fn key(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn options(&self) -> impl Iterator<Item = &str> {
        self.key("options").into_iter().flat_map(|options| options.split(", "))
    }

    fn is_request_spoken(&self) -> bool {
        self.key("spoken") != Some("reply")
    }

    /// What is decided behind the dialect, or the error of a request that cannot be read.
    fn reply(&self, read: Result<TokenRequest, TokenError>) -> Reply {
        let outcome = self.key("outcome").unwrap_or_else(|| panic!("{}: no outcome", self.name));
        let mut words = outcome.split(' ');
        let (word, second) = (words.next().unwrap(), words.next());
        if let Err(error) = read {
            assert_eq!(error.code.as_str(), word, "{}", self.name);
            return Err(error);
        }
        if let Some(code) = ErrorCode::parse(word) {
            assert_ne!(code, ErrorCode::InvalidRequest, "{}: the request was read", self.name);
            return Err(TokenError::new(code));
        }
        match (word, second) {
            ("granted", kind) => Ok(sample::grant(kind)),
            ("throttled", Some(seconds)) => Err(TokenError::invalid_grant().throttled(seconds.parse().unwrap())),
            (status, None) => {
                let status = StatusCode::from_bytes(status.as_bytes()).unwrap();
                Err(TokenError::new(ErrorCode::InvalidRequest).with_status(status))
            }
            _ => panic!("{}: no such outcome: {outcome}", self.name),
        }
    }

    /// The answer must be the file's in status, in every header, and in its body.
    fn check_served(&self, answer: &Response<Bytes>) {
        let headers = |headers: &HeaderMap| {
            let mut headers: Vec<String> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            headers.sort();
            headers
        };
        assert_eq!(answer.status(), self.answer.status(), "{}", self.name);
        assert_eq!(headers(answer.headers()), headers(self.answer.headers()), "{}", self.name);
        assert_eq!(compact(answer.body()), compact(self.answer.body()), "{}", self.name);
    }

    fn heard(&self) -> Heard<'_> {
        let (status, headers, body) = (self.answer.status(), self.answer.headers(), self.answer.body());
        Heard { status, headers, body, asked: sample::ISSUED }
    }

    /// What was granted; an error must be the one that the file names.
    fn check_heard(&self, heard: Reply) -> Option<TokenGrant> {
        let expected = self.key("heard").or(self.key("outcome")).unwrap();
        match heard {
            Ok(grant) => {
                assert!(expected.starts_with("granted"), "{}", self.name);
                Some(grant)
            }
            Err(error) => {
                let seconds = error.throttled.map(|seconds| format!(" {seconds}")).unwrap_or_default();
                assert_eq!(format!("{}{seconds}", error.code.as_str()), expected, "{}: {error:?}", self.name);
                None
            }
        }
    }
}

fn files(dialect: &str) -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dialect);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "too few in {}", folder.display());
    paths.iter().map(|path| File::read(path)).collect()
}

/// Start line, headers and body.
fn message(text: &str) -> (&str, HeaderMap, Vec<u8>) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mut lines = head.lines();
    let line = lines.next().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
    };
    (line, lines.map(header).collect(), body.trim_end().as_bytes().to_vec())
}

/// Without the white space that is free: between JSON's tokens, and between XML's tags.
fn compact(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap();
    if text.starts_with('<') {
        let lines: String = text.lines().map(str::trim).collect();
        return lines.replace(" />", "/>");
    }
    let (mut inside, mut escaped) = (false, false);
    let kept = text.chars().filter(|&char| {
        let free = !inside && char.is_ascii_whitespace();
        inside ^= char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        !free
    });
    kept.collect()
}

const REALM: &str = "sidegate";
