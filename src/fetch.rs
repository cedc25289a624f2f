//! The HTTP client for key sets, discovery documents, introspection, probes and call-outs: bounded in time and size, no redirects.

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    fmt::Write,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use url::Url;

use crate::{
    body::{self, CollectError},
    config::NamedFile,
    model::Secret,
    spans::{self, Attribute},
};

/// Asks exactly the URL that it is given. Runs on whatever runtime it is called from, and keeps few connections.
pub struct Fetcher {
    /// Roots to trust instead of the system's.
    ca_file: Option<NamedFile>,
    plain: Client<HttpConnector, Full<Bytes>>,
    /// Made at the first https URL: reading the system's roots takes long.
    secure: OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

/// Why there is no answer. Holds nothing of a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("not an http or https URL")]
    Url,
    #[error("trust roots: {0}")]
    Roots(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// There was no connection: nothing was sent.
    #[error("{0}")]
    Connect(String),
    /// The connection broke, or what came was no HTTP.
    #[error("{0}")]
    Transport(String),
    #[error("answered with status {0}")]
    Status(StatusCode),
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

/// How long an answer may take, from the first byte sent to the last one read, and how many bytes its body may have.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub timeout: Duration,
    pub bytes: usize,
}

/// A request that is sent as it stands.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub struct Called {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A client's own name and secret (RFC 6749 section 2.3.1).
#[derive(Debug, Clone)]
pub struct ClientAuth {
    basic: HeaderValue,
}

impl ClientAuth {
    /// HTTP Basic of the form-urlencoded id and secret.
    pub fn basic(id: &str, secret: &Secret<String>) -> ClientAuth {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = Secret::new(format!("{}:{}", encode(id), encode(secret.expose())));
        let value = Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair.expose())));
        let mut basic = HeaderValue::from_str(value.expose()).expect("base64 fits into a header");
        basic.set_sensitive(true);
        ClientAuth { basic }
    }
}

impl FetchError {
    /// What kind of fault it is.
    fn word(&self) -> &'static str {
        match self {
            FetchError::Url => "url",
            FetchError::Roots(_) => "roots",
            FetchError::Timeout(_) => "timeout",
            FetchError::Connect(_) => "connect",
            FetchError::Transport(_) => "transport",
            FetchError::Status(_) => "status",
            FetchError::TooLarge(_) => "too_large",
        }
    }
}

impl Fetcher {
    /// `ca_file`: a bundle of PEM certificates to trust instead of the system's.
    pub fn new(ca_file: Option<NamedFile>) -> Fetcher {
        let plain = client(HttpConnector::new());
        Fetcher { ca_file, plain, secure: OnceLock::new() }
    }

    /// GETs a JSON document: the body of a 200, not yet parsed.
    ///
    /// # Errors
    /// If there is none within `bounds`, or the status is another one (a redirect is not followed).
    pub async fn get_json(&self, url: &Url, bounds: Bounds) -> Result<Bytes, FetchError> {
        self.send(url, Request::builder().method(Method::GET), Bytes::new(), bounds).await
    }

    /// POSTs a form and reads the JSON answer: the body of a 200, not yet parsed.
    ///
    /// # Errors
    /// As [`Fetcher::get_json`].
    pub async fn post_form(
        &self,
        url: &Url,
        auth: &ClientAuth,
        form: &[(&str, &str)],
        bounds: Bounds,
    ) -> Result<Bytes, FetchError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder()
            .method(Method::POST)
            .header(AUTHORIZATION, &auth.basic)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(url, request, body.into(), bounds).await
    }

    /// POSTs JSON, with a bearer token if one is given: status and body of the answer, whatever the status is.
    ///
    /// # Errors
    /// If there is none within `bounds`.
    pub async fn post_json(
        &self,
        url: &Url,
        bearer: Option<&Secret<String>>,
        body: &serde_json::Value,
        bounds: Bounds,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let mut request = Request::builder().method(Method::POST).header(CONTENT_TYPE, "application/json");
        if let Some(bearer) = bearer {
            let value = Secret::new(format!("Bearer {}", bearer.expose()));
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| FetchError::Transport("the bearer token does not fit into a header".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let called = self.exchange(url, request, body.to_string().into(), bounds, |_| true).await?;
        Ok((called.status, called.body))
    }

    /// Sends exactly `request`: the answer, whatever its status is.
    ///
    /// # Errors
    /// If there is none within `bounds`.
    pub async fn call(&self, url: &Url, request: Call, bounds: Bounds) -> Result<Called, FetchError> {
        let mut builder = Request::builder().method(request.method);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        self.exchange(url, builder, request.body, bounds, |_| true).await
    }

    /// Sends a request without a body, and reads the answer of a status that is `wanted`, not yet parsed.
    ///
    /// # Errors
    /// If there is none within `bounds`, or the status is another one (a redirect is not followed).
    pub async fn probe(
        &self,
        url: &Url,
        method: &Method,
        headers: HeaderMap,
        bounds: Bounds,
        wanted: impl Fn(StatusCode) -> bool,
    ) -> Result<Bytes, FetchError> {
        let mut request = Request::builder().method(method);
        request.headers_mut().ok_or(FetchError::Url)?.extend(headers);
        self.exchange(url, request, Bytes::new(), bounds, wanted).await.map(|called| called.body)
    }

    /// The body of a 200.
    async fn send(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Bytes, FetchError> {
        let answer = self.exchange(url, request, body, bounds, |status| status == StatusCode::OK).await;
        answer.map(|called| called.body)
    }

    /// Reads the body only of a status that is `wanted`.
    async fn exchange(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Bytes,
        bounds: Bounds,
        wanted: impl Fn(StatusCode) -> bool,
    ) -> Result<Called, FetchError> {
        let uri: Uri = url.as_str().parse().map_err(|_| FetchError::Url)?;
        let mut request = request.uri(uri).body(Full::new(body)).map_err(|_| FetchError::Url)?;
        for (name, value) in [(ACCEPT, "application/json"), (USER_AGENT, OURSELVES)] {
            request.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
        let span = spans::asking(request.method(), || told(url));
        let response = match url.scheme() {
            "http" => self.plain.request(request),
            "https" => self.secure()?.request(request),
            _ => return Err(FetchError::Url),
        };
        let answer = async {
            let response = response.await.map_err(|error| {
                let cause = chain(&error);
                if error.is_connect() { FetchError::Connect(cause) } else { FetchError::Transport(cause) }
            })?;
            let (status, headers) = (response.status(), response.headers().clone());
            if !wanted(status) {
                return Err(FetchError::Status(status));
            }
            let body = body::collect(response.into_body(), bounds.bytes).await.map_err(|error| match error {
                CollectError::TooLarge { limit } => FetchError::TooLarge(limit),
                CollectError::Broken(error) => FetchError::Transport(chain(&*error)),
            })?;
            Ok(Called { status, headers, body })
        };
        let answer = tokio::time::timeout(bounds.timeout, answer).await;
        let answer = answer.unwrap_or(Err(FetchError::Timeout(bounds.timeout)));
        span.end(match &answer {
            Ok(Called { status, .. }) | Err(FetchError::Status(status)) => Ok(*status),
            Err(error) => Err(error.word()),
        });
        answer
    }

    fn secure(&self) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, FetchError> {
        if let Some(client) = self.secure.get() {
            return Ok(client);
        }
        let config = tls(self.ca_file.as_ref())?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_all_versions();
        Ok(self.secure.get_or_init(|| client(connector.wrap_connector(tcp))))
    }
}

/// What a collector of traces is told of whoever is asked; never the path, which may be as secret as the query.
fn told(url: &Url) -> Vec<Attribute> {
    let mut attributes = vec![("url.scheme", url.scheme().to_owned().into())];
    attributes.extend(url.host_str().map(|host| ("server.address", host.to_owned().into())));
    attributes.extend(url.port_or_known_default().map(|port| ("server.port", port.into())));
    attributes
}

/// TLS towards servers whose certificate is signed by one in `ca_file`, or by one of the system's roots.
///
/// # Errors
/// If there are no roots.
pub fn tls(ca_file: Option<&NamedFile>) -> Result<ClientConfig, FetchError> {
    let roots = match ca_file {
        Some(file) => Arc::new(roots_of(file).map_err(FetchError::Roots)?),
        None => system_roots()?,
    };
    // Named, so that no other part of the process decides on the provider.
    Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Roots(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(4)
        .build(connector)
}

fn roots_of(file: &NamedFile) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(file.content()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("no certificate in the file".to_owned()) } else { Ok(roots) }
}

/// The system's roots, read once in the life of the process.
fn system_roots() -> Result<Arc<RootCertStore>, FetchError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    // A single bad certificate among the system's is no reason to trust none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(FetchError::Roots("the system has none; set `ca_file`".to_owned()));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

/// An error with its causes: hyper says what went wrong only in the innermost.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}

const OURSELVES: &str = concat!("sidegate/", env!("CARGO_PKG_VERSION"));
