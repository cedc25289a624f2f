//! The steps in their order.

use std::ops::ControlFlow::{self, Break, Continue};

use http::{HeaderMap, HeaderValue, header, request::Parts};

use super::{Detail, Mark, Step, afterwards, route, token, verdict::Place, word};
use crate::{
    config::{Cors, Preflight, Rate, Route},
    gate::{Gate, Outcome, Rehearsal},
    proxy::{cors, headers, path},
};

pub(super) struct Teller<'a> {
    pub gate: &'a Gate,
    /// As it came, with the token.
    pub head: &'a Parts,
    pub rehearsal: &'a Rehearsal,
    pub place: Option<Place>,
    /// Of the authority's token, before the rehearsal.
    pub standing: Option<String>,
    pub steps: Vec<Step>,
}

impl Teller<'_> {
    /// Breaks off where the request does not go on.
    pub(super) async fn tell(&mut self) -> ControlFlow<()> {
        self.before_routes()?;
        let index = self.route()?;
        let config = self.gate.config().clone();
        let route = &config.routes[index];
        self.preflight(route)?;
        self.limits(route)?;
        token::tell(self, index).await?;
        self.upstream(route)
    }

    fn before_routes(&mut self) -> ControlFlow<()> {
        let connection = &self.rehearsal.cx.connection;
        let limits = format!(
            "within the {} bytes and {} headers of listener `{}`",
            connection.head_limits.bytes, connection.head_limits.count, connection.listener
        );
        self.step("limits", Place::Limits, limits, Vec::new())?;
        if matches!(self.rehearsal.outcome, Ok(Outcome::Document)) {
            let (says, details) = own(self.rehearsal.seen.endpoint.as_deref());
            self.note("documents", Mark::Good, says, details);
            return Break(());
        }
        if self.place == Some(Place::Documents) {
            return self.step("documents", Place::Documents, String::new(), Vec::new());
        }
        self.note("documents", Mark::Skipped, "none of sidegate's own", Vec::new());
        let host = headers::one_host(&self.head.uri, &self.head.headers).unwrap_or_default().to_owned();
        self.step("host", Place::Host, host, Vec::new())?;
        let written = self.head.uri.path();
        let path = match path::canonical(written) {
            Ok(path) if path.as_str() == written => format!("{written}, which is canonical"),
            Ok(path) => format!("{written} becomes {}", path.as_str()),
            Err(_) => written.to_owned(),
        };
        self.step("path", Place::Path, path, Vec::new())
    }

    fn route(&mut self) -> ControlFlow<(), usize> {
        let found = self.rehearsal.seen.route;
        let (says, details) = route::tell(self.gate, self.head, found, &self.rehearsal.outcome);
        self.step("route", Place::Route, says, details)?;
        // Behind this step there is a route, or the way has ended.
        found.map_or(Break(()), Continue)
    }

    fn preflight(&mut self, route: &Route) -> ControlFlow<()> {
        if cors::preflight_method(&self.head.method, &self.head.headers).is_none() {
            let says = match &route.cors {
                None => "not a preflight, and this route answers no scripts of other origins".to_owned(),
                Some(cors) => readers(cors, cors::the_origin(&self.head.headers)),
            };
            self.note("cors", Mark::Skipped, says, Vec::new());
            return Continue(());
        }
        let (mark, says) = match route.preflight {
            Preflight::Answer => (Mark::Good, "a preflight, answered by sidegate itself"),
            Preflight::Forward => (Mark::Good, "a preflight, forwarded without asking for a token"),
            Preflight::Ignore => (Mark::Skipped, "a preflight, which this route treats like any other request"),
        };
        if self.place == Some(Place::Preflight) {
            return self.step("cors", Place::Preflight, String::new(), Vec::new());
        }
        let answer = route.cors.as_ref().filter(|_| route.preflight == Preflight::Answer);
        let details = answer.map(|cors| cors::preflight(cors, &self.head.headers)).unwrap_or_default();
        let details = details
            .iter()
            .map(|(name, value)| Detail::plain(format!("{name}: {}", value.to_str().unwrap_or_default())))
            .collect();
        self.note("cors", mark, says, details);
        if route.preflight == Preflight::Answer { Break(()) } else { Continue(()) }
    }

    fn limits(&mut self, route: &Route) -> ControlFlow<()> {
        let rate = |what: &str, rate: &Rate| {
            let every = humantime::format_duration(rate.interval);
            Detail::plain(format!("{what}: one every {every}, {} at once", rate.burst))
        };
        let address = route.rate_per_address.iter().map(|limit| rate("per address", limit));
        let principal = route.rate_per_principal.iter().map(|limit| rate("per principal", limit));
        let rates: Vec<Detail> = address.chain(principal).collect();
        if rates.is_empty() {
            self.note("rates", Mark::Skipped, "no limit", Vec::new());
        } else {
            self.step("rates", Place::Rates, "this request is not counted".into(), rates)?;
        }
        let announced = self.head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        match (route.max_body_bytes, announced) {
            (None, _) => self.note("body", Mark::Skipped, "no limit", Vec::new()),
            (Some(limit), None) => {
                self.note("body", Mark::Skipped, format!("at most {limit} bytes, counted as they come"), Vec::new());
            }
            (Some(limit), Some(length)) => {
                self.step("body", Place::Body, format!("{length} bytes announced, {limit} allowed"), Vec::new())?;
            }
        }
        Continue(())
    }

    fn upstream(&mut self, route: &Route) -> ControlFlow<()> {
        let upstream = &self.gate.config().upstreams[route.upstream].name;
        let mut says = format!("`{upstream}`");
        if !route.strip_prefix.is_empty() {
            says.push_str(&format!(", without the prefix {}", route.strip_prefix));
        }
        if !route.add_prefix.is_empty() {
            says.push_str(&format!(", with {} in front", route.add_prefix));
        }
        let Some(questions) = &self.rehearsal.cx.connection.decision else {
            return self.step("upstream", Place::Upstream, says, afterwards::tell(route));
        };
        says.push_str(", to which the proxy that asks forwards");
        self.step("upstream", Place::Upstream, says, Vec::new())?;
        let listener = &self.rehearsal.cx.connection.listener;
        let says = format!("listener `{listener}` decides (`{}`) and forwards nothing", questions.as_str());
        self.step("decision", Place::Answer, says, Vec::new())
    }

    /// A step that may be the last: `says` holds where it is not, and the error's own word where it is.
    pub(super) fn step(
        &mut self,
        step: &'static str,
        place: Place,
        says: String,
        details: Vec<Detail>,
    ) -> ControlFlow<()> {
        if self.place != Some(place) {
            self.note(step, Mark::Good, says, details);
            return Continue(());
        }
        match &self.rehearsal.outcome {
            Err(error) => {
                self.note(step, Mark::Refused, word(error), details);
                Break(())
            }
            Ok(_) => {
                self.note(step, Mark::Observed, self.rehearsal.seen.code.unwrap_or_default(), details);
                Continue(())
            }
        }
    }

    pub(super) fn note(&mut self, step: &'static str, mark: Mark, says: impl Into<String>, details: Vec<Detail>) {
        self.steps.push(Step { step, mark, says: says.into(), details });
    }
}

/// What is said of a path of sidegate's own.
fn own(endpoint: Option<&str>) -> (String, Vec<Detail>) {
    match endpoint {
        None => ("sidegate serves this document itself, to everybody, before any route".to_owned(), Vec::new()),
        Some(name) => (
            format!("`{name}`, an endpoint of sidegate's own, which comes before any route"),
            vec![Detail::plain(
                "what it does with a token request, `sidegate explain --dialect NAME --body FILE` tells",
            )],
        ),
    }
}

/// Whether a script may read the answer.
fn readers(cors: &Cors, origin: Option<&HeaderValue>) -> String {
    let Some(origin) = origin else { return "not a preflight, and without one `Origin`: no script asks".to_owned() };
    let mut answer = HeaderMap::new();
    cors::decorate(cors, Some(origin), &mut answer);
    let may = if answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) { "may" } else { "may not" };
    format!("not a preflight; scripts of {} {may} read the answer", String::from_utf8_lossy(origin.as_bytes()))
}
