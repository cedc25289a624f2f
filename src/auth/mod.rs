//! Bearer token → [`Verdict`] → [`Principal`]. Nothing else can make a `Principal`.

pub mod another;
pub mod ask;
pub mod basic;
pub mod bearer;
mod bounded;
pub mod cache;
mod intern;
mod introspect;
mod outside;
pub mod own;
pub mod policy;
mod probe;
pub mod profile;
mod service;
mod sliding;
pub mod successor;
mod validate;
pub mod verdict;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderValue;

use self::{
    ask::Asker,
    bearer::Candidate,
    cache::{TokenDigest, VerdictCache},
    intern::Interned,
    own::Own,
    policy::Policy,
    profile::{MintFailed, Profiles},
    successor::{Coming, Successor},
    verdict::{Claim, ClaimPlan, Prepared, Standing, Verdict},
};
use crate::{
    config,
    jose::mint::Minter,
    jwks::Provider,
    model::{Context, UnixTime},
    rate::Limiter,
    refresh::service::Keeper,
    telemetry::{
        metrics::{InquiryMetrics, Metrics},
        reason::Reason,
    },
};

/// Why a token did not open the door. `code` is for logs and `explain`; the client learns only what RFC 6750 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub code: &'static str,
    /// Seconds, where somebody knows better than the answer's own.
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub fn new(reason: Reason, code: &'static str) -> Refusal {
        Refusal { reason, code, retry_after: None }
    }
}

/// Whose a token is that is valid and was refused all the same.
#[derive(Debug)]
pub struct Whose {
    /// Index into the issuers of the configuration, or [`config::LOCAL_ISSUER`].
    pub issuer: usize,
    /// As the token has it.
    pub client: Option<Arc<str>>,
}

/// Someone whose token is valid and meets the policy of the route at hand.
#[derive(Debug, Clone)]
pub struct Principal {
    verdict: Arc<Verdict>,
    /// The successor of the token is on its way.
    coming: Option<Coming>,
}

impl Principal {
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The token that follows the presented one, if there is one already: what goes on, goes on with it.
    pub fn successor(&self) -> Option<&Successor> {
        self.verdict.succession.as_ref()?.successor()
    }

    /// The key of rate limits; equal for all tokens of one subject and client at one issuer.
    pub fn key(&self) -> u64 {
        self.verdict.principal
    }
}

/// Everything that judges tokens, of one generation of the configuration.
pub struct Auth {
    issuers: Vec<Issuer>,
    own: Option<Own>,
    cache: Arc<VerdictCache>,
    plan: Arc<ClaimPlan>,
    profiles: Profiles,
    minter: Option<Arc<Minter>>,
    /// By upstream.
    services: Vec<Option<Arc<Keeper>>>,
    negative_ttl: Duration,
    audiences: Interned<[Box<str>]>,
    texts: Interned<str>,
    /// Questions to issuers, by address of the client.
    questions: Limiter,
    /// By issuer; `None` for those that cannot be asked.
    inquiries: Vec<Option<InquiryMetrics>>,
    metrics: Arc<Metrics>,
}

/// One trusted issuer with its keys, and the way to ask it.
#[derive(Clone)]
pub struct Issuer {
    pub settings: config::Issuer,
    pub keys: Arc<Provider>,
    pub asker: Option<Arc<Asker>>,
}

impl Auth {
    pub fn new(
        config: &config::Config,
        issuers: Vec<Issuer>,
        own: Option<Own>,
        minter: Option<Arc<Minter>>,
        metrics: Arc<Metrics>,
    ) -> Result<Auth, aws_lc_rs::error::Unspecified> {
        let policies = config.routes.iter().filter_map(|route| route.policy.as_ref());
        let from_policies = policies.flat_map(|policy| policy.claims.iter().map(|(name, _)| name.clone()));
        let from_headers = config
            .upstreams
            .iter()
            .flat_map(|upstream| upstream.identity_headers.iter().map(|(_, claim)| claim.clone()));
        let intent = own.iter().flat_map(|_| profile::INTENT.map(str::to_owned));
        let plan = ClaimPlan::new(from_policies.chain(from_headers).chain(intent));
        let profiles = Profiles::new(&config.upstreams, &plan);
        let cache = VerdictCache::new(
            &config.cache,
            profiles.reserved_bytes(),
            metrics.cache(cache::VERDICTS),
            metrics.cache(cache::REFUSALS),
        )?;
        let questions = Limiter::new(QUESTIONS, Instant::now());
        let inquiry = |issuer: &Issuer| {
            let asker = issuer.asker.as_ref()?;
            Some(metrics.inquiry(&asker.inquiry().way, &issuer.settings.name))
        };
        let inquiries = issuers.iter().map(inquiry).collect();
        Ok(Auth {
            issuers,
            own,
            cache: Arc::new(cache),
            plan: Arc::new(plan),
            profiles,
            minter,
            services: Vec::new(),
            negative_ttl: config.cache.negative_ttl,
            audiences: Interned::default(),
            texts: Interned::default(),
            questions,
            inquiries,
            metrics,
        })
    }

    /// The policy of a route, ready for [`Auth::authenticate`].
    pub fn policy(&self, settings: &config::Policy) -> Policy {
        Policy::new(settings, &self.plan)
    }

    /// Judges `token` under `policy`: from the cache where it can, otherwise by the keys or the word of an issuer.
    ///
    /// # Errors
    /// The refusal, or [`Reason::Undecided`] where no verdict can be had now.
    pub async fn authenticate(
        &self,
        token: Candidate<'_>,
        policy: &Policy,
        cx: &Context,
    ) -> Result<Principal, Refusal> {
        let verdict = match self.judge(token, policy, cx).await {
            // Apart, so that requests which need not wait do not carry what waiting takes.
            Err(refusal) if refusal.reason == Reason::TokenExpired => {
                Box::pin(self.renew_late(token, policy, cx, refusal)).await?
            }
            judged => judged?,
        };
        let mut principal = self.admit(verdict, policy)?;
        self.slide_beside(token, &principal.verdict, cx.now);
        self.succeed_beside(&mut principal, cx.now);
        Ok(principal)
    }

    /// The verdict on a token that was `refused` as over and may yet renew itself.
    async fn renew_late(
        &self,
        token: Candidate<'_>,
        policy: &Policy,
        cx: &Context,
        refused: Refusal,
    ) -> Result<Arc<Verdict>, Refusal> {
        if self.own_opaque(token).is_some() {
            self.slide_late(token, policy, cx, refused).await
        } else {
            self.succeed_late(token, policy, cx, refused).await
        }
    }

    fn admit(&self, verdict: Arc<Verdict>, policy: &Policy) -> Result<Principal, Refusal> {
        match policy.check(&verdict) {
            Ok(()) => Ok(Principal { verdict, coming: None }),
            Err(reason) => Err(Refusal::new(reason, reason.as_str())),
        }
    }

    /// Whether `token` is valid, whatever `policy` asks of it: that only names the issuers that may hear of it.
    ///
    /// # Errors
    /// As [`Auth::authenticate`].
    pub async fn judge(&self, token: Candidate<'_>, policy: &Policy, cx: &Context) -> Result<Arc<Verdict>, Refusal> {
        let digest = self.digest(token, policy)?;
        if let Some(mut verdict) = self.cache.find(digest) {
            if let Some(prolonged) = verdict.slides.as_ref().and_then(|slides| slides.slid()) {
                verdict = Arc::new(verdict.prolonged(prolonged));
                self.cache.keep(digest, verdict.clone());
            }
            match verdict.standing(cx.now) {
                Standing::Good => return Ok(verdict),
                // Another process may have moved its end.
                Standing::Expired if verdict.slides.is_some() => {}
                Standing::Expired => return Err(Refusal::new(Reason::TokenExpired, "expired")),
                // A key that went away ends what it signed; only a fresh look can say otherwise.
                Standing::Ended | Standing::Stale => {}
            }
        }
        // Apart, so that requests with a known token do not carry what finding out takes.
        Box::pin(self.validate(token, digest, policy, cx)).await
    }

    /// Whose `token` is, of those that were judged a moment ago and are valid. Counts as no look-up.
    pub fn whose(&self, token: Candidate<'_>, policy: &Policy) -> Option<Whose> {
        let digest = self.digest(token, policy).ok()?;
        let verdict = self.cache.peek(digest)?;
        Some(Whose { issuer: verdict.issuer, client: verdict.client.clone() })
    }

    fn digest(&self, token: Candidate<'_>, policy: &Policy) -> Result<TokenDigest, Refusal> {
        let digest = self.cache.digest(token.bytes()).map_err(|_| Refusal::new(Reason::Undecided, "digest_failed"))?;
        // What is ours on one route may be an issuer's own on another, which does not trust us.
        Ok(if self.passing(policy).is_some() { digest.at_issuer(config::LOCAL_ISSUER) } else { digest })
    }

    /// Who knows the tokens of the authority outside that clients have, if `policy` trusts sessions of ours.
    fn passing(&self, policy: &Policy) -> Option<&Own> {
        self.own.as_ref().filter(|own| own.passes_through() && policy.issuers.contains(&config::LOCAL_ISSUER))
    }

    /// The headers that the upstream receives for `principal`.
    ///
    /// # Errors
    /// When the internal token cannot be signed.
    pub fn prepare(
        &self,
        principal: &Principal,
        upstream: usize,
        need: Duration,
        now: UnixTime,
    ) -> Result<Option<Arc<Prepared>>, MintFailed> {
        self.profiles.prepare(self.profiles.of(upstream), &principal.verdict, self.minter.as_deref(), need, now)
    }

    /// Refuses a token that has less than `need` left where what `upstream` is shown can live no longer than that.
    ///
    /// # Errors
    /// As for a token that has expired.
    fn check_life(&self, principal: &Principal, upstream: usize, need: Duration, now: UnixTime) -> Result<(), Refusal> {
        if need.is_zero() || self.shows_authority_token(upstream) || self.service(upstream).is_some() {
            return Ok(());
        }
        let verdict = &principal.verdict;
        // None of that leeway is known to whoever judges it next.
        let leeway = self.issuers.get(verdict.issuer).map_or(0, |issuer| issuer.settings.leeway.as_secs());
        if now.until(verdict.valid_until.minus(leeway)) < need {
            return Err(Refusal::new(Reason::TokenExpired, "life_too_short"));
        }
        Ok(())
    }

    /// The credential of `upstream` that does not depend on who asks.
    pub fn fixed_credential(&self, upstream: usize) -> Option<&HeaderValue> {
        self.profiles.fixed(self.profiles.of(upstream))
    }

    pub fn passes_original(&self, upstream: usize) -> bool {
        self.profiles.passes_original(self.profiles.of(upstream))
    }

    /// Whether the upstream receives the token of the authority outside.
    pub fn shows_authority_token(&self, upstream: usize) -> bool {
        self.profiles.shows_authority_token(self.profiles.of(upstream))
    }

    /// The claim `name` of a judged token; only claims that the configuration names are kept.
    pub fn claim<'a>(&self, verdict: &'a Verdict, name: &str) -> Option<&'a Claim> {
        verdict.claims.get(self.plan.slot(name)?)?.as_ref()
    }

    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// What tokens of the local authority are judged by.
    pub fn own(&self) -> Option<&Own> {
        self.own.as_ref()
    }

    pub fn cache(&self) -> &VerdictCache {
        &self.cache
    }

    pub fn minter(&self) -> Option<&Arc<Minter>> {
        self.minter.as_ref()
    }
}

/// What one address may have asked of issuers: tokens that are cached cost nothing of it.
const QUESTIONS: config::Rate = config::Rate { interval: Duration::from_millis(10), burst: 200 };
