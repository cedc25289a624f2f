//! What was counted, put together for people and machines.

use std::{array, sync::PoisonError, sync::atomic::Ordering::Relaxed};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Example, Known, Trial, advice::advice};
use crate::{
    model::{
        UnixTime,
        words::{grouped, percent, span, stamp},
    },
    telemetry::reason::Reason,
};

/// What a route that observes has let pass.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RouteReport {
    pub route: String,
    pub verdict: Judgement,
    /// The same in words.
    pub sentence: String,
    /// When counting began: at the start of the process, or when the counts were reset.
    pub since: String,
    pub requests: u64,
    pub would_allow: u64,
    pub would_refuse: u64,
    /// Of all requests, those that would be refused: 0 to 1.
    pub share: f64,
    pub last_request: Option<String>,
    pub first_refusal: Option<String>,
    pub last_refusal: Option<String>,
    /// What came after the last reload of the configuration; `null`: there was none since counting began.
    pub since_reload: Option<SinceReload>,
    /// The most frequent one first.
    pub reasons: Vec<ReasonReport>,
}

/// What the counts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Nothing would be refused: enforce.
    Enforce,
    /// Nothing would have been refused so far, of too few requests or in too short a time.
    Wait,
    /// Something would be refused.
    Mend,
    /// No request came.
    Unused,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SinceReload {
    pub at: String,
    pub requests: u64,
    pub would_refuse: u64,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReasonReport {
    /// As in the label `reason` of the metrics.
    pub reason: &'static str,
    pub refused: u64,
    /// Of all requests: 0 to 1.
    pub share: f64,
    /// `null`: there was none since counting began.
    pub refused_since_reload: Option<u64>,
    pub first: Option<String>,
    pub last: Option<String>,
    /// What to do about it.
    pub remedy: &'static str,
    /// Of these refusals, those of valid tokens, by the names that the configuration has for whose they are.
    pub known: Vec<KnownReport>,
    /// A few of the last ones.
    pub examples: Vec<ExampleReport>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KnownReport {
    pub issuer: Option<String>,
    /// `null`: the configuration does not name it.
    pub client: Option<String>,
    pub refused: u64,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ExampleReport {
    pub at: String,
    /// As in the access log and in the header `x-request-id`.
    pub request_id: String,
    /// The finer word for the reason.
    pub code: &'static str,
    pub issuer: Option<String>,
    pub client: Option<String>,
}

impl Trial {
    pub fn report(&self, route: &str, now: UnixTime) -> RouteReport {
        // In this order: what comes meanwhile may be missing, and never makes more refusals than requests.
        let refused = self.counts();
        let requests = self.requests.load(Relaxed);
        let would_refuse: u64 = refused.iter().sum();
        let mark = self.mark_at();
        let since_reload = mark.as_ref().map(|mark| array::from_fn(|at| refused[at].saturating_sub(mark.refused[at])));
        let since_reload: Option<[u64; Reason::ALL.len()]> = since_reload;
        let after = mark.as_ref().zip(since_reload).map(|(mark, refused)| After {
            at: mark.at,
            requests: requests.saturating_sub(mark.requests),
            would_refuse: refused.iter().sum(),
        });
        drop(mark);
        let moments = |moment: fn(&super::Tally) -> u64| {
            self.tallies.iter().map(moment).filter(|at| *at > 0).map(UnixTime).collect::<Vec<_>>()
        };
        let mut reasons: Vec<ReasonReport> = Reason::ALL
            .into_iter()
            .filter(|reason| refused[*reason as usize] > 0)
            .map(|reason| {
                let refused_since_reload = since_reload.map(|refused| refused[reason as usize]);
                ReasonReport { refused_since_reload, ..self.reason(reason, refused[reason as usize], requests) }
            })
            .collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.refused));
        let since = UnixTime(self.since.load(Relaxed));
        let counted = Counted { since, requests, would_refuse, after };
        let verdict = counted.judge(now);
        RouteReport {
            sentence: counted.sentence(route, verdict, now),
            verdict,
            route: route.to_owned(),
            since: stamp(since),
            requests,
            would_allow: requests.saturating_sub(would_refuse),
            would_refuse,
            share: share(would_refuse, requests),
            last_request: moment(self.last_request.load(Relaxed)),
            first_refusal: moments(|tally| tally.first.load(Relaxed)).into_iter().min().map(stamp),
            last_refusal: moments(|tally| tally.last.load(Relaxed)).into_iter().max().map(stamp),
            since_reload: counted.after.map(|after| SinceReload {
                at: stamp(after.at),
                requests: after.requests,
                would_refuse: after.would_refuse,
            }),
            reasons,
        }
    }

    fn reason(&self, reason: Reason, refused: u64, requests: u64) -> ReasonReport {
        let tally = &self.tallies[reason as usize];
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut known: Vec<KnownReport> = known
            .iter()
            .filter(|((of, _), _)| *of == reason)
            .map(|((_, known), count)| KnownReport::of(known, count.load(Relaxed)))
            .collect();
        known.sort_by(|a, b| b.refused.cmp(&a.refused).then_with(|| a.client.cmp(&b.client)));
        let examples = tally.examples.lock().unwrap_or_else(PoisonError::into_inner);
        ReasonReport {
            reason: reason.as_str(),
            refused,
            share: share(refused, requests),
            refused_since_reload: None,
            first: moment(tally.first.load(Relaxed)),
            last: moment(tally.last.load(Relaxed)),
            remedy: advice(reason),
            known,
            examples: examples.iter().map(ExampleReport::of).collect(),
        }
    }
}

/// What the judgement rests on.
struct Counted {
    since: UnixTime,
    requests: u64,
    would_refuse: u64,
    after: Option<After>,
}

/// What came after a reload.
#[derive(Clone, Copy)]
struct After {
    at: UnixTime,
    requests: u64,
    would_refuse: u64,
}

impl Counted {
    /// Where something was refused before the last reload, what counts is what came after it: that may have mended it.
    fn basis(&self) -> After {
        let whole = After { at: self.since, requests: self.requests, would_refuse: self.would_refuse };
        self.after.filter(|after| self.would_refuse > 0 && after.requests > 0).unwrap_or(whole)
    }

    fn judge(&self, now: UnixTime) -> Judgement {
        let basis = self.basis();
        match basis {
            After { requests: 0, .. } => Judgement::Unused,
            After { would_refuse: 1.., .. } => Judgement::Mend,
            After { requests, at, .. } if requests < ENOUGH_REQUESTS || at.until(now).as_secs() < ENOUGH_SECONDS => {
                Judgement::Wait
            }
            After { .. } => Judgement::Enforce,
        }
    }

    fn sentence(&self, route: &str, verdict: Judgement, now: UnixTime) -> String {
        let After { at, requests, would_refuse } = self.basis();
        let ago = span(at.until(now).as_secs());
        let refused = format!("{} of {} requests", grouped(would_refuse), grouped(requests));
        let earlier = self.would_refuse - would_refuse.min(self.would_refuse);
        let when = if earlier > 0 {
            format!("since the reload {ago} ago ({} before it)", grouped(earlier))
        } else {
            format!("of the last {ago}")
        };
        match verdict {
            Judgement::Unused => format!("route {route}: no request in {ago}: nothing is known yet."),
            Judgement::Enforce => format!("route {route}: {refused} {when} would have been refused: enforce it."),
            Judgement::Wait => format!(
                "route {route}: {refused} {when} would have been refused: look again when there were {ENOUGH_REQUESTS} and \
                 a whole day."
            ),
            Judgement::Mend => {
                let share = percent(would_refuse, requests);
                format!("route {route}: {refused} {when} would have been refused ({share}).")
            }
        }
    }
}

impl KnownReport {
    fn of(known: &Known, refused: u64) -> KnownReport {
        KnownReport { issuer: text(known.issuer.as_deref()), client: text(known.client.as_deref()), refused }
    }
}

impl ExampleReport {
    fn of(example: &Example) -> ExampleReport {
        ExampleReport {
            at: stamp(example.at),
            request_id: example.id.as_str().to_owned(),
            code: example.code,
            issuer: text(example.known.issuer.as_deref()),
            client: text(example.known.client.as_deref()),
        }
    }
}

fn text(name: Option<&str>) -> Option<String> {
    name.map(str::to_owned)
}

fn moment(at: u64) -> Option<String> {
    (at > 0).then(|| stamp(UnixTime(at)))
}

/// To four digits: enough for one in ten thousand.
fn share(part: u64, whole: u64) -> f64 {
    (part as f64 / whole.max(1) as f64 * 10_000.0).round() / 10_000.0
}

/// Fewer say too little of what clients do.
const ENOUGH_REQUESTS: u64 = 100;
/// What runs once a day has been seen by then.
const ENOUGH_SECONDS: u64 = 24 * 3600;
