//! `sidegate explain`: what happens to a request, and what the upstream would see.

mod dialect;

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, request::Parts};

use super::{ConfigFile, WRONG_SETTINGS, check, output};
use crate::{
    app::{self, App},
    auth::bearer::TOKEN_BYTES,
    config::{Config, Listener},
    explain::{self, Report},
    model::{BoxError, Connection, HeadLimits, Peer, Secret, Time},
};

#[derive(clap::Args)]
pub struct Question {
    #[command(flatten)]
    config: ConfigFile,
    /// The method of the request; default: GET, and POST with --dialect.
    #[arg(short = 'X', long)]
    method: Option<Method>,
    /// A header of the request, as `Name: value`; may be repeated. Credentials come by --token-file.
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header_of)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A file that holds the token, or `-` for standard input; an argument would stand in the list of processes.
    #[arg(long, value_name = "FILE", conflicts_with = "dialect")]
    token_file: Option<PathBuf>,
    /// The address that the request comes from.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    peer: IpAddr,
    /// The listener that it comes to, by its name. Default: the first that forwards and speaks what the URL says.
    #[arg(long, value_name = "NAME", conflicts_with = "dialect")]
    listener: Option<String>,
    /// Print JSON, for machines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    token_request: dialect::TokenRequest,
    /// A path, or a whole URL. Without a host in it or in a header `Host`: localhost. None with --dialect.
    #[arg(value_name = "URL", required_unless_present = "dialect", conflicts_with = "dialect")]
    target: Option<Uri>,
}

pub fn explain(question: &Question) -> ExitCode {
    app::install_crypto();
    let loaded = match check::load(&question.config.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let asked = match question.token_request.is_asked() {
        true => dialect::ask(question, &loaded.config),
        false => ask(question, loaded.config).map(|(report, token)| {
            print(&report, question.json, token.as_ref());
            report.verdict.is_refused()
        }),
    };
    match asked {
        Ok(is_refused) => ExitCode::from(if is_refused { REFUSED } else { 0 }),
        Err(error) => {
            eprintln!("sidegate: {error}");
            ExitCode::from(WRONG_SETTINGS)
        }
    }
}

fn ask(question: &Question, config: Config) -> Result<(Report, Option<Secret<String>>), BoxError> {
    let head = head_of(question, &config)?;
    let token = question.token_file.as_deref().map(read_token).transpose()?;
    let connection = Arc::new(connection_of(question, &config)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let gate = App::gate_alone(config, &Time::default(), runtime.handle())?;
    let asked = explain::Question { head, token: token.clone(), connection };
    Ok((runtime.block_on(explain::explain(&gate, asked))?, token))
}

/// The head as a client would send it by HTTP/1.1.
fn head_of(question: &Question, config: &Config) -> Result<Parts, BoxError> {
    let method = question.method.clone().unwrap_or(Method::GET);
    let target = question.target.as_ref().ok_or("a path or a URL is needed")?;
    if method == Method::CONNECT {
        return Err("CONNECT is never forwarded".into());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &question.headers {
        let secret = *name == header::AUTHORIZATION || config.routes.iter().any(|route| route.token.header == *name);
        if secret {
            return Err(format!("`{name}` carries a credential; give the token by --token-file").into());
        }
        headers.append(name.clone(), value.clone());
    }
    if !headers.contains_key(header::HOST) {
        let host = target.authority().map_or("localhost", |authority| authority.as_str());
        headers.insert(header::HOST, HeaderValue::from_str(host)?);
    }
    let target = target.path_and_query().cloned().ok_or("a path or a URL is needed")?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    if request.headers().contains_key(header::UPGRADE) {
        // As the server leaves it with a request that may be upgraded.
        let upgrade = hyper::upgrade::on(&mut request);
        request.extensions_mut().insert(upgrade);
    }
    Ok(request.into_parts().0)
}

fn connection_of(question: &Question, config: &Config) -> Result<Connection, BoxError> {
    let listener = listener_of(question, config)?;
    Ok(Connection::new(
        listener.name.clone(),
        HeadLimits { bytes: listener.limits.header_bytes, count: listener.limits.header_count },
        listener.decision.clone(),
        Peer::Tcp(SocketAddr::new(question.peer, 0)),
        listener.tls.is_some(),
        0,
    ))
}

fn listener_of<'c>(question: &Question, config: &'c Config) -> Result<&'c Listener, BoxError> {
    if let Some(name) = &question.listener {
        let found = config.listeners.iter().find(|listener| *listener.name == **name);
        return found.ok_or_else(|| {
            let names: Vec<&str> = config.listeners.iter().map(|listener| &*listener.name).collect();
            format!("there is no listener `{name}`; the configuration has {}", names.join(", ")).into()
        });
    }
    let tls_wanted = question.target.as_ref().and_then(Uri::scheme_str).map(|scheme| scheme == "https");
    let fits = |listener: &&Listener| tls_wanted.is_none_or(|wanted| wanted == listener.tls.is_some());
    let mut forwarding = config.listeners.iter().filter(|listener| listener.decision.is_none());
    let found = forwarding.clone().find(fits).or_else(|| forwarding.next()).or(config.listeners.first());
    // A checked configuration has one.
    found.ok_or_else(|| "the configuration has no listener".into())
}

fn read_token(file: &Path) -> Result<Secret<String>, BoxError> {
    let mut token = String::new();
    let limit = TOKEN_BYTES as u64 + 2;
    let read = match file.as_os_str() == "-" {
        true => io::stdin().take(limit).read_to_string(&mut token),
        false => File::open(file).and_then(|file| file.take(limit).read_to_string(&mut token)),
    };
    let token = Secret::new(token);
    read.map_err(|error| format!("the token cannot be read: {error}"))?;
    match token.expose().trim() {
        "" => Err("the file of the token is empty".into()),
        token => Ok(Secret::new(token.to_owned())),
    }
}

fn header_of(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text.split_once(':').ok_or("a header is `Name: value`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| "not the name of a header")?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "not the value of a header")?;
    Ok((name, value))
}

fn print(report: &Report, json: bool, token: Option<&Secret<String>>) {
    let mut text = String::new();
    if json {
        // Texts and numbers always serialise.
        text = serde_json::to_string_pretty(report).unwrap_or_default() + "\n";
    } else {
        let _ = explain::write(&mut text, report, io::stdout().is_terminal());
    }
    // Whatever else a client may have put it into.
    if let Some(token) = token.filter(|token| token.expose().len() >= WORTH_HIDING) {
        text = text.replace(token.expose().as_str(), "…");
    }
    // Whoever reads no further has seen enough; the exit code tells the rest.
    let _ = output::print(&text);
}

/// The exit code for a request that would be refused.
const REFUSED: u8 = 2;

/// No real token is shorter, and shorter ones are ordinary words.
const WORTH_HIDING: usize = 16;
