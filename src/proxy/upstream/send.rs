//! One request: a connection, an exchange, and what happens when the connection has died.

use std::{future::poll_fn, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Again, Answer, Shared, Tunnel,
    connect::{self, Socket},
    error::UpstreamError,
    exchange::{Exchange, Failure, Phase},
    h1::{self, Lost},
    h2,
    kept::Kept,
    request_body::RequestBody,
    response_body::{Carrier, ResponseBody, Streamed},
    retry::{self, Spare},
    stats::Open,
    timer::after,
    wait::Patience,
};
use crate::config::Timeouts;

/// The future is made by hand, and where there is a connection the request goes to it at once: what waits for the
/// response is small.
pub(super) fn http1(
    shared: &Arc<Shared>,
    worker: usize,
    mut request: Request<RequestBody>,
    timeouts: &Timeouts,
    keep: Option<usize>,
    now: Instant,
) -> impl Future<Output = Result<Answer, UpstreamError>> + Send {
    *request.version_mut() = Version::HTTP_11;
    to_origin_form(request.uri_mut());
    let mut client = request.extensions_mut().remove::<OnUpgrade>();
    let exchange = request.body().exchange().cloned();
    hold_for_continue(&mut request, exchange.as_ref());
    let keeps = Keeps::of(&mut request, keep);

    let first = refuse_connect(&request).map(|()| match pooled(shared, worker, now) {
        Some(connection) => First::Begun(Attempt::begin(connection, request, now, true, keeps.any())),
        None => First::Without(Box::new(request)),
    });

    async move {
        let mut number = 0;
        let mut next = first?;
        loop {
            number += 1;
            let Attempt { mut connection, mut response, started, idempotent, spare } = match next {
                First::Begun(attempt) => attempt,
                // Boxed: the future of a request on a pooled connection stays small.
                First::Without(request) => {
                    let connection = Box::pin(open_h1(shared, worker, timeouts)).await?;
                    Attempt::begin(connection, *request, Instant::now(), false, keeps.any())
                }
            };
            let patience = Patience::new(started, timeouts, exchange.clone());
            match poll_fn(|cx| connection.poll_response(&mut response, &patience, cx)).await {
                Ok(response) => {
                    let again = keeps.again(spare, &mut connection, &response, exchange.as_ref(), &mut client);
                    let uploading = exchange.as_ref().is_some_and(|exchange| exchange.phase() != Phase::Done);
                    if uploading || response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        connection.detach();
                    }
                    let carrier = Carrier::H1(connection);
                    let response = finish(shared, response, carrier, exchange, client, timeouts)?;
                    return Ok(Answer { response, again });
                }
                Err(lost) => {
                    let repeatable = |error: &hyper::Error| idempotent && !error.is_parse();
                    // Not from the pool again: what ended one connection has probably ended the others.
                    next = First::Without(Box::new(again(lost, spare, exchange.as_ref(), number, repeatable)?));
                }
            }
            shared.stats.retried();
        }
    }
}

/// What there is of an exchange when somebody begins to wait for it.
#[expect(clippy::large_enum_variant, reason = "made for each request and taken apart at once: a box would cost more")]
enum First {
    Begun(Attempt),
    /// No connection was idle.
    Without(Box<Request<RequestBody>>),
}

/// A request on its connection.
struct Attempt {
    connection: Box<h1::Connection>,
    response: h1::Response1,
    started: Instant,
    /// It may be sent again if the connection dies.
    idempotent: bool,
    spare: Option<Spare>,
}

impl Attempt {
    fn begin(
        mut connection: Box<h1::Connection>,
        request: Request<RequestBody>,
        started: Instant,
        reused: bool,
        is_kept: bool,
    ) -> Attempt {
        let idempotent = reused && retry::is_idempotent(request.method());
        let spare = if idempotent || is_kept { Spare::of(&request, is_kept, || connection.room()) } else { None };
        let response = connection.begin(request);
        Attempt { connection, response, started, idempotent, spare }
    }
}

fn pooled(shared: &Shared, worker: usize, now: Instant) -> Option<Box<h1::Connection>> {
    let connection = shared.pool(worker).take(now, &shared.settings.connections)?;
    shared.stats.reused();
    Some(connection)
}

pub(super) async fn http2(
    shared: &Arc<Shared>,
    worker: usize,
    mut request: Request<RequestBody>,
    timeouts: &Timeouts,
    keep: Option<usize>,
) -> Result<Answer, UpstreamError> {
    refuse_connect(&request)?;
    *request.version_mut() = Version::HTTP_2;
    to_absolute_form(&mut request, shared.endpoint.is_tls())?;
    let exchange = request.body().exchange().cloned();
    let keeps = Keeps::of(&mut request, keep);

    let mut attempt = 0;
    loop {
        attempt += 1;
        let (mut stream, reused) = open_stream(shared, worker, timeouts).await?;
        let spare = Spare::of(&request, keeps.any(), Vec::new);
        let idempotent = reused && attempt == 1 && retry::is_idempotent(request.method());
        let patience = Patience::new(Instant::now(), timeouts, exchange.clone());
        match stream.exchange(request, &patience).await {
            Ok(response) => {
                let again = keeps.again_on_401(spare, &response, exchange.as_ref(), &mut None);
                let response = finish(shared, response, Carrier::H2(Box::new(stream)), exchange, None, timeouts)?;
                return Ok(Answer { response, again });
            }
            Err(lost) => {
                let repeatable =
                    |error: &hyper::Error| retry::was_unprocessed(error) || (idempotent && retry::has_died(error));
                request = again(lost, spare, exchange.as_ref(), attempt, repeatable)?;
            }
        }
        shared.stats.retried();
    }
}

/// What is there of a request's body in case that the upstream answers 401.
enum Keeps {
    Nothing,
    AtHand,
    /// Once it has passed.
    Coming(oneshot::Receiver<Kept>),
}

impl Keeps {
    /// `most`: how long a body may be that is kept; `None`: nobody would send the request once more.
    fn of(request: &mut Request<RequestBody>, most: Option<usize>) -> Keeps {
        let Some(most) = most else { return Keeps::Nothing };
        match request.body_mut().keep(most) {
            Some(kept) => Keeps::Coming(kept),
            None if request.body().exchange().is_none() => Keeps::AtHand,
            None => Keeps::Nothing,
        }
    }

    fn any(&self) -> bool {
        !matches!(self, Keeps::Nothing)
    }

    /// The request once more, if `response` is a 401; otherwise `connection` has the room again that the copy took.
    fn again(
        self,
        spare: Option<Spare>,
        connection: &mut h1::Connection,
        response: &Response<Incoming>,
        exchange: Option<&Arc<Exchange>>,
        client: &mut Option<OnUpgrade>,
    ) -> Option<Box<Again>> {
        if response.status() == StatusCode::UNAUTHORIZED {
            return self.again_on_401(spare, response, exchange, client);
        }
        if let Some(spare) = spare {
            connection.keep_room(spare.into_room());
        }
        None
    }

    /// The request once more, if `response` is a 401.
    fn again_on_401(
        self,
        spare: Option<Spare>,
        response: &Response<Incoming>,
        exchange: Option<&Arc<Exchange>>,
        client: &mut Option<OnUpgrade>,
    ) -> Option<Box<Again>> {
        if response.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        let kept = match self {
            Keeps::Nothing => return None,
            Keeps::AtHand => None,
            // Refused before the body was asked for: the client still has it, and decides itself.
            Keeps::Coming(_) if exchange.is_some_and(|exchange| exchange.phase() == Phase::Held) => return None,
            Keeps::Coming(kept) => Some(kept),
        };
        Again::new(spare?, kept, client.take())
    }
}

/// The request to send again, or why not.
fn again(
    lost: Lost,
    spare: Option<Spare>,
    exchange: Option<&Arc<Exchange>>,
    attempt: u32,
    repeatable: impl FnOnce(&hyper::Error) -> bool,
) -> Result<Request<RequestBody>, UpstreamError> {
    match lost {
        Lost::Unsent(request, _) if attempt < MAX_ATTEMPTS => Ok(*request),
        Lost::Sent(error) => match spare {
            Some(spare) if attempt < MAX_ATTEMPTS && repeatable(&error) => {
                spare.into_request().ok_or_else(|| cause(error, exchange))
            }
            _ => Err(cause(error, exchange)),
        },
        Lost::Unsent(_, error) => Err(UpstreamError::from_exchange(error)),
        Lost::Timeout(error) => {
            if let Some(exchange) = exchange {
                exchange.cancel();
            }
            Err(error)
        }
    }
}

/// What ended the exchange: the client's body, if that failed, and otherwise the upstream.
fn cause(error: hyper::Error, exchange: Option<&Arc<Exchange>>) -> UpstreamError {
    match exchange.map_or(Failure::None, |exchange| exchange.failure()) {
        Failure::TooLarge => UpstreamError::BodyTooLarge,
        Failure::Client => UpstreamError::RequestBody,
        Failure::None | Failure::Cancelled => UpstreamError::from_exchange(error),
    }
}

fn finish(
    shared: &Arc<Shared>,
    mut response: Response<Incoming>,
    carrier: Carrier,
    exchange: Option<Arc<Exchange>>,
    client: Option<OnUpgrade>,
    timeouts: &Timeouts,
) -> Result<Response<ResponseBody>, UpstreamError> {
    *response.version_mut() = Version::HTTP_11;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let client = client.ok_or(UpstreamError::UnexpectedUpgrade)?;
        let tunnel = Tunnel::new(client, hyper::upgrade::on(&mut response), Open::still(&shared.stats));
        response.extensions_mut().insert(tunnel);
        return Ok(response.map(|_| ResponseBody::default()));
    }
    let stats = Arc::clone(&shared.stats);
    Ok(response.map(|body| ResponseBody::upstream(Streamed::new(body, carrier, exchange, stats, timeouts.idle))))
}

async fn open_h1(
    shared: &Arc<Shared>,
    worker: usize,
    timeouts: &Timeouts,
) -> Result<Box<h1::Connection>, UpstreamError> {
    let stats = &shared.stats;
    match shared.endpoint.dial(after(Instant::now(), timeouts.connect)).await? {
        Socket::Tcp(io) => h1::Connection::open(io, shared, worker, stats).await,
        Socket::Tls(io) => h1::Connection::open(io, shared, worker, stats).await,
        Socket::Unix(io) => h1::Connection::open(io, shared, worker, stats).await,
    }
}

/// A stream, and whether its connection was there before.
async fn open_stream(
    shared: &Arc<Shared>,
    worker: usize,
    timeouts: &Timeouts,
) -> Result<(h2::Stream, bool), UpstreamError> {
    let limits = &shared.settings.connections;
    let stats = &shared.stats;
    if let Some(stream) = shared.pool(worker).stream(Instant::now(), limits) {
        stats.reused();
        return Ok((stream, true));
    }
    // Boxed: the future of a request on an open connection stays small.
    Box::pin(open_h2(shared, worker, timeouts)).await
}

async fn open_h2(
    shared: &Arc<Shared>,
    worker: usize,
    timeouts: &Timeouts,
) -> Result<(h2::Stream, bool), UpstreamError> {
    let limits = &shared.settings.connections;
    let stats = &shared.stats;
    let deadline = after(Instant::now(), timeouts.connect);
    let _opening = connect::within(deadline, shared.workers[worker].opening.lock()).await?;
    // Another request may have opened one while we waited.
    if let Some(stream) = shared.pool(worker).stream(Instant::now(), limits) {
        stats.reused();
        return Ok((stream, true));
    }
    let mut connection = match shared.endpoint.dial(deadline).await? {
        Socket::Tcp(io) => h2::Connection::open(io, stats).await?,
        Socket::Tls(io) => h2::Connection::open(io, stats).await?,
        Socket::Unix(io) => h2::Connection::open(io, stats).await?,
    };
    let stream = connection.first_stream(Instant::now());
    shared.put_multiplexed(worker, connection);
    Ok((stream, false))
}

/// A tunnel through a gateway would reach what no rule covers.
fn refuse_connect(request: &Request<RequestBody>) -> Result<(), UpstreamError> {
    if request.method() == Method::CONNECT { Err(UpstreamError::ConnectMethod) } else { Ok(()) }
}

/// Has the body wait for the upstream's 100. Without a body there is nothing to expect.
fn hold_for_continue(request: &mut Request<RequestBody>, exchange: Option<&Arc<Exchange>>) {
    if !request.headers().contains_key(header::EXPECT) {
        return;
    }
    let Some(exchange) = exchange.cloned() else {
        request.headers_mut().remove(header::EXPECT);
        return;
    };
    exchange.set_phase(Phase::Held);
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            exchange.release();
        }
    });
}

/// RFC 9112, section 3.2.1.
fn to_origin_form(uri: &mut Uri) {
    if uri.authority().is_some() {
        *uri = uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    }
}

/// RFC 9113, section 8.3.1: `:authority` in place of `Host`; and section 8.2.2: no header of the connection.
fn to_absolute_form(request: &mut Request<RequestBody>, tls: bool) -> Result<(), UpstreamError> {
    let headers = request.headers_mut();
    let host = headers.remove(header::HOST);
    for name in [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING, header::EXPECT] {
        headers.remove(name);
    }
    keep_trailers_only(headers);
    let mut parts = uri::Parts::default();
    parts.scheme = Some(if tls { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
    parts.path_and_query =
        request.uri().path_and_query().cloned().or_else(|| Some(uri::PathAndQuery::from_static("/")));
    parts.authority = match host {
        Some(host) => Some(uri::Authority::try_from(host.as_bytes()).map_err(|_| UpstreamError::InvalidHost)?),
        None => request.uri().authority().cloned(),
    };
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| UpstreamError::InvalidHost)?;
    Ok(())
}

fn keep_trailers_only(headers: &mut HeaderMap) {
    if let Some(te) = headers.remove(header::TE)
        && te.to_str().is_ok_and(|te| te.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
    {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Tries of one request, the first included.
const MAX_ATTEMPTS: u32 = 3;
