//! A request that is judged like any other and sent nowhere: what `explain` shows.

use std::sync::Arc;

use http::{HeaderMap, request::Parts};

use super::{Gate, Own, context};
use crate::{
    model::{Connection, Context},
    proxy::{Plan, ProxyError, Seen},
};

/// What would have become of a request.
#[derive(Debug)]
pub struct Rehearsal {
    pub cx: Context,
    pub seen: Seen,
    /// Where the request would be forwarded, what the upstream would see; otherwise the head as it came.
    pub head: Parts,
    /// What a proxy that asks is told, where it is let go on.
    pub answer: HeaderMap,
    pub outcome: Result<Outcome, ProxyError>,
}

/// What happens to a request that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It asks for a document that is served here.
    Document,
    /// It is a preflight, answered here for the route.
    Preflight {
        route: usize,
    },
    Forward {
        route: usize,
    },
    /// A proxy asks, and forwards it itself.
    Allow {
        route: usize,
    },
}

impl Gate {
    /// Decides as [`Gate::handle`] does. Key sets are fetched and issuers asked; the upstream hears nothing, and nothing
    /// is logged.
    pub async fn rehearse(&self, mut head: Parts, connection: &Arc<Connection>) -> Rehearsal {
        let cx = context::of(&head.headers, connection, self.time.now_millis(), &self.config.trusted_proxies);
        let mut seen = Seen::default();
        let mut answer = HeaderMap::new();
        let outcome = match &connection.decision {
            None => self.go(&mut head, &cx, &mut seen).await,
            Some(questions) => match self.judge(&head, questions, &cx, &mut seen).await {
                Ok(headers) => {
                    answer = headers;
                    // What may go on has a route.
                    Ok(Outcome::Allow { route: seen.route.unwrap_or_default() })
                }
                Err(error) => Err(error),
            },
        };
        Rehearsal { cx, seen, head, answer, outcome }
    }

    async fn go(&self, head: &mut Parts, cx: &Context, seen: &mut Seen) -> Result<Outcome, ProxyError> {
        if let Some(own) = self.own(&head.method, &head.uri, &head.headers, cx)? {
            if let Own::Endpoint(endpoints, mount) = own {
                seen.endpoint = Some(endpoints.label(mount));
            }
            return Ok(Outcome::Document);
        }
        Ok(match self.proxy.plan(head, cx, seen).await? {
            Plan::Forward { route, .. } => Outcome::Forward { route },
            Plan::Preflight { route } => Outcome::Preflight { route },
        })
    }
}
