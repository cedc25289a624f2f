//! `sidegate explain --dialect`: how the body of a token request is read.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

use http::{HeaderValue, Method, Request, header, request::Parts};

use super::Question;
use crate::{
    cli::output,
    config::{self, Config},
    endpoints::BODY_BYTES,
    explain::dialect::{self, Place, Report},
    model::{BoxError, Secret, Time},
};

#[derive(clap::Args)]
pub struct TokenRequest {
    /// Explain a token request in this dialect, as its endpoint here would read it.
    #[arg(long, value_name = "NAME", requires = "body")]
    dialect: Option<String>,
    /// Which endpoint of the dialect, where it has more than one: token, refresh, login.
    #[arg(long, value_name = "NAME", requires = "dialect")]
    endpoint: Option<String>,
    /// A file that holds the body, or the query of a GET (also as `@FILE`); `-` for standard input.
    #[arg(long, value_name = "FILE", requires = "dialect")]
    body: Option<String>,
}

impl TokenRequest {
    pub fn is_asked(&self) -> bool {
        self.dialect.is_some()
    }
}

/// Prints the report; whether the request would be refused.
pub fn ask(question: &Question, config: &Config) -> Result<bool, BoxError> {
    let asked = &question.token_request;
    let authority = config.authority.as_ref().ok_or(
        "the configuration has no token endpoints; config/authority.yaml is an example of the section `authority`",
    )?;
    let (Some(name), Some(file)) = (&asked.dialect, &asked.body) else { return Err("--body is needed".into()) };
    let place = Place::find(&authority.endpoints, name, asked.endpoint.as_deref())?;
    let body = read_body(file)?;
    let head = head_of(question, &place, &authority.endpoints, body.expose())?;
    let question_of_body = dialect::Question { place, head, body, now: Time::default().now() };
    let report = dialect::explain(&question_of_body, authority, &config.resource.realm);
    print(&report, question.json);
    Ok(report.verdict.is_refused())
}

/// One byte more than may be, so that too long a body is told from one that just fits.
fn read_body(file: &str) -> Result<Secret<Vec<u8>>, BoxError> {
    let file = file.strip_prefix('@').unwrap_or(file);
    let limit = BODY_BYTES as u64 + 1;
    let mut body = Vec::new();
    let read = match file {
        "-" => io::stdin().take(limit).read_to_end(&mut body),
        file => File::open(Path::new(file)).and_then(|file| file.take(limit).read_to_end(&mut body)),
    };
    let body = Secret::new(body);
    read.map_err(|error| format!("the body cannot be read from the file that --body names: {error}"))?;
    Ok(body)
}

fn head_of(question: &Question, place: &Place, endpoints: &config::Endpoints, body: &[u8]) -> Result<Parts, BoxError> {
    let methods = place.dialect.methods(endpoints);
    let method = question.method.clone().unwrap_or(if methods == "GET" { Method::GET } else { Method::POST });
    if !methods.split(", ").any(|allowed| allowed == method.as_str()) {
        return Err(format!("{method}: a token request of {} is {methods}", place.dialect_name).into());
    }
    // What a GET has instead of a body.
    let target = match (&method, std::str::from_utf8(body)) {
        (&Method::GET, Ok(query)) => format!("{}?{}", place.path, query.trim()),
        (&Method::GET, Err(_)) => return Err("the file that --body names holds no query".into()),
        _ => place.path.clone(),
    };
    let request = Request::builder().method(method).uri(target).body(());
    // Its error tells nothing of what is in it.
    let mut head = request.map_err(|_| "the file that --body names holds no query")?.into_parts().0;
    for (name, value) in &question.headers {
        if *name == header::AUTHORIZATION {
            return Err("`authorization` carries a credential, and other users can read arguments; \
                put client_id and client_secret into the body"
                .into());
        }
        head.headers.append(name.clone(), value.clone());
    }
    if head.method != Method::GET && !head.headers.contains_key(header::CONTENT_TYPE) {
        head.headers.insert(header::CONTENT_TYPE, usual_type(place, body));
    }
    Ok(head)
}

/// What clients say of such a body.
fn usual_type(place: &Place, body: &[u8]) -> HeaderValue {
    HeaderValue::from_static(match body.trim_ascii_start().first() {
        _ if place.dialect_name == "oauth2" => "application/x-www-form-urlencoded",
        Some(b'<') => "application/xml",
        _ => "application/json",
    })
}

fn print(report: &Report, json: bool) {
    let mut text = String::new();
    if json {
        // Texts and numbers always serialise.
        text = serde_json::to_string_pretty(report).unwrap_or_default() + "\n";
    } else {
        let _ = dialect::write(&mut text, report, io::stdout().is_terminal());
    }
    // Whoever reads no further has seen enough; the exit code tells the rest.
    let _ = output::print(&text);
}
