//! What the routes that observe have let pass. It names nobody but whom the configuration names, so no token is asked for;
//! who begins the counts anew shows one.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;

use super::{Admin, json, refusal};
use crate::gate::trial::RouteReport;

#[derive(Serialize)]
struct Report {
    routes: Vec<RouteReport>,
}

#[derive(Serialize)]
struct Reset {
    reset: usize,
}

impl Admin {
    pub(super) fn report(&self) -> Response<Full<Bytes>> {
        json(StatusCode::OK, &Report { routes: self.gate.load().observed() })
    }

    /// `?route=NAME`: that one alone.
    pub(super) async fn reset_report(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let asked: Vec<_> = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).collect();
        let route = match &asked[..] {
            [] => None,
            [(name, route)] if name == "route" => Some(&**route),
            _ => return refusal(StatusCode::BAD_REQUEST, "query_wrong", "known is one `route`"),
        };
        match self.gate.load().reset_observed(route) {
            0 if route.is_some() => refusal(StatusCode::NOT_FOUND, "route_unknown", "no route of this name observes"),
            reset => {
                tracing::info!(route, reset, "an operator began the counts of observed routes anew");
                json(StatusCode::OK, &Reset { reset })
            }
        }
    }
}
