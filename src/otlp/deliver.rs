//! One message to the collector: sent, sent again where that may help, or given up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER},
};
use prost::Message;
use url::Url;

use super::wire::ExportTraceServiceResponse;
use crate::{
    backoff,
    config::Otlp,
    fetch::{Bounds, Call, Called, Fetcher},
    telemetry::metrics::{LostSpan, Metrics},
};

pub struct Collector {
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    bounds: Bounds,
    fetcher: Fetcher,
    metrics: Arc<Metrics>,
    /// The last message was not taken; only the first one of a row is logged.
    failing: AtomicBool,
}

/// What an attempt came to.
enum Attempt {
    /// Of which so many were refused.
    Taken {
        refused: u64,
    },
    /// Another one may be taken, perhaps after so long.
    Later {
        after: Option<Duration>,
        cause: String,
    },
    Refused {
        cause: String,
    },
}

impl Collector {
    pub fn new(settings: &Otlp, metrics: Arc<Metrics>) -> Collector {
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        let mut headers = vec![(CONTENT_TYPE, protobuf.clone()), (ACCEPT, protobuf)];
        headers.extend(settings.headers.iter().cloned());
        Collector {
            url: settings.url.clone(),
            headers,
            bounds: Bounds { timeout: settings.timeout, bytes: LONGEST_ANSWER },
            fetcher: Fetcher::new(settings.ca_file.clone()),
            metrics,
            failing: AtomicBool::new(false),
        }
    }

    /// Sends a message of `count` spans. Returns when it is taken or lost.
    pub async fn deliver(&self, message: Bytes, count: u64) {
        for attempt in 1.. {
            match self.attempt(message.clone()).await {
                Attempt::Taken { refused } => {
                    self.metrics.spans.lost(LostSpan::Refused, refused);
                    self.metrics.spans.sent(count.saturating_sub(refused));
                    if self.failing.swap(false, Ordering::Relaxed) {
                        tracing::info!("the collector takes spans again");
                    }
                    return;
                }
                Attempt::Later { after, cause } if attempt < ATTEMPTS => {
                    self.tell(&cause);
                    let pause = backoff::between(attempt, FIRST_PAUSE, LONGEST_PAUSE, backoff::chance());
                    tokio::time::sleep(after.map_or(pause, |after| after.min(LONGEST_PAUSE))).await;
                }
                Attempt::Later { .. } => return self.metrics.spans.lost(LostSpan::Unanswered, count),
                Attempt::Refused { cause } => {
                    self.tell(&cause);
                    return self.metrics.spans.lost(LostSpan::Refused, count);
                }
            }
        }
    }

    fn tell(&self, cause: &str) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(cause, "the collector does not take spans; what it takes too late is lost");
        }
    }

    async fn attempt(&self, body: Bytes) -> Attempt {
        let call = Call { method: Method::POST, headers: self.headers.clone(), body };
        match self.fetcher.call(&self.url, call, self.bounds).await {
            Ok(called) => judge(&called),
            Err(error) => Attempt::Later { after: None, cause: error.to_string() },
        }
    }
}

/// By the table of the protocol (OTLP/HTTP response).
fn judge(called: &Called) -> Attempt {
    let cause = || format!("it answered with status {}", called.status);
    match called.status {
        status if status.is_success() => {
            // An answer that is none takes nothing back.
            let answer = ExportTraceServiceResponse::decode(called.body.clone()).unwrap_or_default();
            let refused = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
            Attempt::Taken { refused: u64::try_from(refused).unwrap_or(0) }
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Attempt::Later { after: retry_after(&called.headers), cause: cause() },
        _ => Attempt::Refused { cause: cause() },
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Together less than a minute of pauses; meanwhile the queue fills up.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: usize = 64 * 1024;
