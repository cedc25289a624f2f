//! What the program runs on: a configuration that was checked whole.
//!
//! [`settings::Settings`] is the file as written; [`load()`] turns it into [`Config`] or into every problem at once:
//! `tree` reads it and knows where everything stands, `expand` and `environment` put the variables in, `decode` makes
//! typed settings of it, `check` looks at what they mean, and `report` shows what is wrong without showing a secret.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, Uri};
use ipnet::IpNet;
use url::Url;

use crate::model::{Questions, Secret};

mod authority;
mod check;
pub mod declared;
mod decode;
mod dialects;
mod environment;
mod expand;
mod include;
mod inputs;
mod inquiry;
mod load;
mod master_ring;
mod named_file;
mod place;
mod redis;
mod remote;
mod report;
mod schema;
mod secrecy;
pub mod settings;
mod shape;
mod suggest;
#[cfg(test)]
mod tests;
mod traces;
mod tree;
mod units;

pub use self::{
    authority::*,
    check::is_trusted,
    declared::{DeclaredDialect, DeclaredPlace},
    dialects::*,
    environment::Environment,
    inputs::Inputs,
    inquiry::*,
    load::{Loaded, load, load_str},
    named_file::NamedFile,
    place::{KeyPath, Origin, Problem, Problems, Segment, Warning},
    redis::*,
    remote::*,
    schema::{markdown, schema},
    traces::*,
};

/// Everything that `app` needs; every reference between sections is resolved and valid.
#[derive(Debug)]
pub struct Config {
    pub listeners: Vec<Listener>,
    pub health: Option<Address>,
    pub admin: Option<Admin>,
    pub trusted_proxies: Vec<IpNet>,
    pub issuers: Vec<Issuer>,
    /// Token endpoints of our own.
    pub authority: Option<Authority>,
    /// Token APIs that the configuration tells of.
    pub dialects: Vec<Arc<DeclaredDialect>>,
    /// Where their sessions are kept, and under which keys.
    pub store: Store,
    pub keys: MasterKeys,
    pub refresh: Refresh,
    /// `None`: no client's tokens have successors.
    pub successors: Option<SuccessorHeaders>,
    pub internal_jwt: Option<InternalJwt>,
    pub upstreams: Vec<Upstream>,
    pub routes: Vec<Route>,
    pub cache: Cache,
    pub log: Log,
    /// `None`: nobody is told of spans.
    pub traces: Option<Otlp>,
    pub resource: Resource,
    /// How often the files are looked at; `None`: a reload is asked for by signal.
    pub watch: Option<Duration>,
    pub drain: Drain,
    /// Number of worker threads, at least 1.
    pub workers: usize,
}

impl Config {
    /// The sections that say something else than those of `old`.
    pub fn changed_since(&self, old: &Config) -> Vec<&'static str> {
        let differs = [
            ("listeners", self.listeners != old.listeners),
            ("health", self.health != old.health),
            ("admin", self.admin != old.admin),
            ("trusted_proxies", self.trusted_proxies != old.trusted_proxies),
            ("issuers", self.issuers != old.issuers),
            ("authority", self.authority != old.authority),
            ("dialects", self.dialects != old.dialects),
            ("store", self.store != old.store),
            ("keys", self.keys != old.keys),
            ("refresh", self.refresh != old.refresh || self.successors != old.successors),
            ("internal_jwt", self.internal_jwt != old.internal_jwt),
            ("upstreams", self.upstreams != old.upstreams),
            ("routes", self.routes != old.routes),
            ("cache", self.cache != old.cache),
            ("log", self.log != old.log),
            ("resource", self.resource != old.resource),
            ("reload", self.watch != old.watch),
            ("drain", self.drain != old.drain),
            ("workers", self.workers != old.workers),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
    }
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// As the configuration writes it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The listener of operators.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    pub address: Address,
    /// What the administration of sessions asks for; `None`: it is off.
    pub token: Option<Secret<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: Arc<str>,
    pub address: Address,
    pub protocols: Protocols,
    pub tls: Option<ListenerTls>,
    /// A PROXY protocol header (v1 or v2) must come first, and only from a trusted peer.
    pub proxy_protocol: bool,
    /// It decides for a proxy that asks in this way, and forwards nothing.
    pub decision: Option<Questions>,
    pub limits: Limits,
}

/// Which HTTP versions a listener speaks; at least one is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    pub http1: bool,
    pub http2: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    pub certificate_file: NamedFile,
    pub key_file: NamedFile,
    pub client_certificates: ClientCertificates,
    pub min_version: TlsVersion,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ClientCertificates {
    Off,
    Optional { ca_file: NamedFile },
    Required { ca_file: NamedFile },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub connections: usize,
    /// Bytes of request line and headers together.
    pub header_bytes: usize,
    pub header_count: usize,
    pub header_read_timeout: Duration,
    pub idle_timeout: Duration,
    pub http2_streams: u32,
    pub http2_pending_resets: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    pub name: Arc<str>,
    /// Compared byte for byte with `iss`.
    pub issuer: String,
    pub keys: KeySource,
    /// Never empty. HS* only together with [`KeySource::Shared`], and that one only with HS*.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Accepted `typ` values in lower case without `application/`; a token without `typ` is accepted when this is empty
    /// or when the defaults apply (see `token_type_required`).
    pub token_types: Vec<String>,
    pub token_type_required: bool,
    pub leeway: Duration,
    pub required: bool,
    pub ca_file: Option<NamedFile>,
    pub refresh_interval: Duration,
    pub max_stale: Duration,
    /// How tokens are judged that its keys cannot judge.
    pub inquiry: Option<Inquiry>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum KeySource {
    /// The URL of the discovery document.
    Discovery(Url),
    JwksUri(Url),
    /// Read again like a URL; a reload starts anew if its content has changed.
    JwksFile(NamedFile),
    /// A secret shared with a named legacy issuer: HS256, HS384, HS512.
    Shared(Secret<Vec<u8>>),
    /// Opaque tokens only.
    None,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InternalJwt {
    pub issuer: String,
    pub algorithm: jsonwebtoken::Algorithm,
    pub key: InternalKey,
    pub lifetime: Duration,
    pub jwks_path: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum InternalKey {
    /// Made at start; the upstream learns it from the published key set.
    Generate,
    /// PKCS#8 PEM, or the raw secret for HS256.
    Given(Secret<Vec<u8>>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    pub name: Arc<str>,
    pub target: Target,
    pub http2: bool,
    pub credential: Credential,
    /// Header to claim, in the order of the file.
    pub identity_headers: Vec<(HeaderName, String)>,
    pub timeouts: Timeouts,
    pub connections: Connections,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    Http { host: String, port: u16 },
    Https { host: String, port: u16, tls: UpstreamTls },
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct UpstreamTls {
    pub ca_file: Option<NamedFile>,
    pub server_name: Option<String>,
    /// Certificate and key for mutual TLS.
    pub identity: Option<(NamedFile, NamedFile)>,
}

/// What is put on the forwarded request in place of the client's `Authorization`.
#[derive(Debug, Clone, PartialEq)]
pub enum Credential {
    InternalJwt {
        audience: String,
    },
    Original,
    /// What the authority outside gave for the session.
    AuthorityToken,
    /// One token of sidegate's own, for all requests.
    Service(Arc<Service>),
    /// The ready value of the header, marked sensitive.
    Basic(HeaderValue),
    None,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    pub connect: Duration,
    pub first_byte: Duration,
    pub idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Connections {
    pub max_idle: usize,
    pub idle_timeout: Duration,
    pub max_age: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: Arc<str>,
    /// In lower case, without port; `*.example.com` covers any deeper name. Empty: any host.
    pub hosts: Vec<String>,
    pub paths: Vec<String>,
    /// Empty: any method.
    pub methods: Vec<Method>,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// `None` for a public route.
    pub policy: Option<Policy>,
    pub observe: bool,
    pub token: TokenPlace,
    pub host: HostHeader,
    pub strip_prefix: String,
    pub add_prefix: String,
    pub allow_encoded_slashes: bool,
    /// `None`: no limit.
    pub max_body_bytes: Option<u64>,
    pub rate_per_principal: Option<Rate>,
    pub rate_per_address: Option<Rate>,
    pub cors: Option<Cors>,
    pub preflight: Preflight,
    pub pass_headers: Vec<HeaderName>,
    pub on_expiry: OnExpiry,
    /// What the credential must have left when a request begins.
    pub min_life: Duration,
    /// The bytes of a body that are kept so that a request which the upstream answers with 401 can be sent once more;
    /// `None`: it never is, since that is switched off or could bring nothing.
    pub replay: Option<usize>,
    /// The upstream's, with the route's own on top.
    pub timeouts: Timeouts,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// Indexes into [`Config::issuers`], or [`LOCAL_ISSUER`]; never empty.
    pub issuers: Vec<usize>,
    /// Never empty.
    pub audiences: Vec<String>,
    pub scopes_all: Vec<String>,
    pub scopes_any: Vec<String>,
    pub clients: Vec<String>,
    /// Claim to accepted values.
    pub claims: Vec<(String, Vec<String>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TokenPlace {
    /// `authorization` carries `Bearer …`; any other header carries the bare token.
    pub header: HeaderName,
    pub query_parameter: Option<String>,
    /// The client for which HTTP Basic is taken in place of a token; it exists and has the grant `basic`.
    pub basic: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum HostHeader {
    Preserve,
    Upstream,
    Named(HeaderValue),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Time between two requests at the sustained rate.
    pub interval: Duration,
    /// Requests that may come at once, at least 1.
    pub burst: u32,
}

/// When a stream that outlives its token is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExpiry {
    /// Never.
    Keep,
    /// With the token that began it, or with its session.
    CloseAtExpiry,
    /// With the session, or the key where there is none.
    CloseWhenSessionEnds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preflight {
    /// No special treatment: a preflight is a request like any other (and fails without a token).
    Ignore,
    /// Answered here, from the CORS settings.
    Answer,
    /// Forwarded without a token.
    Forward,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cors {
    pub origins: Origins,
    pub methods: Vec<Method>,
    pub headers: Vec<HeaderName>,
    pub expose_headers: Vec<HeaderName>,
    pub credentials: bool,
    pub max_age: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Origins {
    /// `*`; never together with credentials.
    Any,
    Listed(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cache {
    pub max_bytes: u64,
    pub negative_max_bytes: u64,
    pub negative_ttl: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    pub level: tracing::Level,
    pub access: AccessLog,
    pub audit: Audit,
}

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audit {
    /// Among the other lines, recognisable by their target.
    Stderr,
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    All,
    /// Every refused or failed request, and one in this many of the others.
    Sampled(u32),
    /// Only what was refused or failed.
    Refused,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The `resource` of RFC 9728; `None`: no metadata is served or named.
    pub identifier: Option<Uri>,
    pub realm: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drain {
    pub delay: Duration,
    pub timeout: Duration,
}
