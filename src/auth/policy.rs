//! What a route asks of a token: decided on every request, also on a cache hit.

use super::verdict::{ClaimPlan, Verdict};
use crate::{config, telemetry::reason::Reason};

/// A route's policy, its claims resolved to their places in a verdict.
#[derive(Debug)]
pub struct Policy {
    pub issuers: Vec<usize>,
    audiences: Vec<String>,
    scopes_all: Vec<String>,
    scopes_any: Vec<String>,
    clients: Vec<String>,
    claims: Vec<(usize, Vec<String>)>,
    /// What the challenge of a 403 names (RFC 6750, section 3).
    pub challenge_scope: Option<String>,
}

impl Policy {
    /// Every claim of `settings` must have a place in `plan`; one that has none is refused to everybody.
    pub fn new(settings: &config::Policy, plan: &ClaimPlan) -> Policy {
        let wanted = if settings.scopes_all.is_empty() { &settings.scopes_any } else { &settings.scopes_all };
        Policy {
            issuers: settings.issuers.clone(),
            audiences: settings.audiences.clone(),
            scopes_all: settings.scopes_all.clone(),
            scopes_any: settings.scopes_any.clone(),
            clients: settings.clients.clone(),
            claims: settings
                .claims
                .iter()
                .map(|(name, accepted)| (plan.slot(name).unwrap_or(usize::MAX), accepted.clone()))
                .collect(),
            challenge_scope: (!wanted.is_empty()).then(|| wanted.join(" ")),
        }
    }

    /// `Err` with the reason of the first condition that is not met.
    pub fn check(&self, verdict: &Verdict) -> Result<(), Reason> {
        match Condition::ALL.into_iter().find(|condition| !self.meets(*condition, verdict)) {
            None => Ok(()),
            Some(condition) => Err(condition.reason()),
        }
    }

    /// Whether one condition is met.
    pub fn meets(&self, condition: Condition, verdict: &Verdict) -> bool {
        match condition {
            Condition::Issuer => self.issuers.contains(&verdict.issuer),
            Condition::Audience => verdict.has_audience(&self.audiences),
            Condition::Scope => {
                let any = || self.scopes_any.is_empty() || self.scopes_any.iter().any(|scope| verdict.has_scope(scope));
                self.scopes_all.iter().all(|scope| verdict.has_scope(scope)) && any()
            }
            Condition::Client => {
                let client = verdict.client.as_deref();
                self.clients.is_empty() || self.clients.iter().any(|wanted| Some(wanted.as_str()) == client)
            }
            Condition::Claims => self.claims.iter().all(|(slot, accepted)| {
                let claim = verdict.claims.get(*slot).and_then(Option::as_ref);
                claim.is_some_and(|claim| claim.is_any_of(accepted))
            }),
        }
    }
}

/// What a policy may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Issuer,
    Audience,
    Scope,
    Client,
    Claims,
}

impl Condition {
    /// In the order in which they are held against a token.
    pub const ALL: [Condition; 5] =
        [Condition::Issuer, Condition::Audience, Condition::Scope, Condition::Client, Condition::Claims];

    /// Why a token is refused that does not meet it.
    pub fn reason(self) -> Reason {
        match self {
            Condition::Issuer => Reason::IssuerRefused,
            Condition::Audience => Reason::AudienceRefused,
            Condition::Scope => Reason::ScopeMissing,
            Condition::Client => Reason::ClientRefused,
            Condition::Claims => Reason::ClaimRefused,
        }
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::*;
    use crate::{auth::verdict::Claim, model::UnixTime};

    fn plan() -> ClaimPlan {
        ClaimPlan::new(["tenant".to_owned()])
    }

    fn verdict() -> Verdict {
        Verdict {
            issuer: 1,
            valid_until: UnixTime(100),
            fresh_until: UnixTime(100),
            audiences: ["orders".into(), "other".into()].into(),
            scope: "read write".into(),
            client: Some("app".into()),
            subject: Some("ana".into()),
            claims: [Some(Claim::Many(["acme".into(), "umbrella".into()].into()))].into(),
            principal: 0,
            liveness: None,
            session: None,
            slides: None,
            succession: None,
            prepared: SmallVec::new(),
        }
    }

    fn settings() -> config::Policy {
        config::Policy { issuers: vec![1], audiences: vec!["orders".into()], ..Default::default() }
    }

    fn decide(change: impl FnOnce(&mut config::Policy)) -> Result<(), Reason> {
        let mut settings = settings();
        change(&mut settings);
        Policy::new(&settings, &plan()).check(&verdict())
    }

    #[test]
    fn a_token_of_the_issuer_and_for_the_audience_passes() {
        assert_eq!(decide(|_| {}), Ok(()));
    }

    #[test]
    fn each_condition_refuses_with_its_own_reason() {
        assert_eq!(decide(|p| p.issuers = vec![0]), Err(Reason::IssuerRefused));
        assert_eq!(decide(|p| p.audiences = vec!["order".into()]), Err(Reason::AudienceRefused));
        assert_eq!(decide(|p| p.audiences.clear()), Err(Reason::AudienceRefused));
        assert_eq!(decide(|p| p.scopes_all = vec!["read".into(), "admin".into()]), Err(Reason::ScopeMissing));
        assert_eq!(decide(|p| p.scopes_any = vec!["admin".into()]), Err(Reason::ScopeMissing));
        assert_eq!(decide(|p| p.scopes_all = vec!["rea".into()]), Err(Reason::ScopeMissing));
        assert_eq!(decide(|p| p.clients = vec!["app2".into()]), Err(Reason::ClientRefused));
        assert_eq!(decide(|p| p.claims = vec![("tenant".into(), vec!["wayne".into()])]), Err(Reason::ClaimRefused));
        assert_eq!(decide(|p| p.claims = vec![("unplanned".into(), vec!["x".into()])]), Err(Reason::ClaimRefused));
    }

    #[test]
    fn any_one_of_several_is_enough_where_the_policy_says_any() {
        assert_eq!(decide(|p| p.scopes_any = vec!["admin".into(), "write".into()]), Ok(()));
        assert_eq!(decide(|p| p.claims = vec![("tenant".into(), vec!["x".into(), "umbrella".into()])]), Ok(()));
    }
}
