//! A token that the cache does not know: by keys if it is a JWT, by a question to its issuer if it is not.

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use serde_json::Value;
use smallvec::SmallVec;
use tokio::task::yield_now;

use super::{
    Auth, Issuer, Refusal,
    ask::{Answer, AskError},
    bearer::{BearerError, Candidate},
    cache::TokenDigest,
    own::Own,
    policy::Policy,
    verdict::{Slot, Verdict},
};
use crate::{
    jose::{Claims, JwtError, Peek, Verified, peek},
    json::{Member, Members},
    jwks::{KeysUnavailable, Refetch},
    model::{Context, UnixTime},
    rate::Key,
    session::tokens::{is_access_token, is_other_token},
    telemetry::{
        metrics::{Asked, Limited, Method},
        reason::Reason,
    },
};

impl Auth {
    pub(super) async fn validate(
        &self,
        token: Candidate<'_>,
        digest: TokenDigest,
        policy: &Policy,
        cx: &Context,
    ) -> Result<Arc<Verdict>, Refusal> {
        let malformed = |error: BearerError| Refusal::new(Reason::TokenMalformed, error.code());
        let text = token.text().map_err(malformed)?;
        let peeked = peek(text);
        // What could be taken apart consists of base64url and dots.
        if peeked.is_err() {
            token.check().map_err(malformed)?;
        }
        let token = text;
        if let Some(own) = self.own.as_ref().filter(|_| is_access_token(token)) {
            let judged = self.validate_own_opaque(own, token, digest, policy);
            return self.timed(Method::Session, judged).await;
        }
        // A secret between us and a client: no issuer is asked about it.
        if self.own.is_some() && is_other_token(token) {
            return Err(Refusal::new(Reason::TokenInvalid, "no_access_token"));
        }
        let is_ours = |own: &&Own| peeked.as_ref().is_ok_and(|peek| own.issuer() == peek.issuer());
        if let Some(own) = self.passing(policy).filter(|own| !is_ours(own))
            && let Some(verdict) = self.timed(Method::Session, self.validate_passed(own, token, digest, cx)).await?
        {
            return Ok(verdict);
        }
        match peeked {
            Ok(peek) => {
                if let Some(own) = self.own.as_ref().filter(|own| own.issuer() == peek.issuer()) {
                    let judged = self.validate_own_jwt(own, peek, digest, policy);
                    return self.timed(Method::Session, judged).await;
                }
                self.validate_foreign_jwt(token, peek, digest, policy, cx).await
            }
            Err(JwtError::NotAJwt) => self.validate_opaque(token, digest, policy, cx).await,
            Err(error) => Err(refusal_of(error)),
        }
    }

    /// What `judged` comes to; how long that took is noted.
    pub(super) async fn timed<T>(&self, method: Method, judged: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let outcome = judged.await;
        self.metrics.validated(method, started.elapsed());
        outcome
    }

    async fn validate_foreign_jwt(
        &self,
        token: &str,
        peek: Peek<'_>,
        digest: TokenDigest,
        policy: &Policy,
        cx: &Context,
    ) -> Result<Arc<Verdict>, Refusal> {
        match self.issuers.iter().position(|issuer| issuer.settings.issuer == peek.issuer()) {
            Some(index) if self.issuers[index].judges_by_keys() => {
                self.validate_jwt(token, peek, digest, index, cx.now).await
            }
            // Nothing it could say opens this route.
            Some(index) if !policy.issuers.contains(&index) => {
                Err(Refusal::new(Reason::IssuerRefused, Reason::IssuerRefused.as_str()))
            }
            // A JWT of an issuer that publishes no keys is opaque to us.
            Some(index) => self.ask(index, token, digest, cx).await,
            None => Err(Refusal::new(Reason::IssuerUnknown, "issuer_unknown")),
        }
    }

    async fn validate_jwt(
        &self,
        token: &str,
        peek: Peek<'_>,
        digest: TokenDigest,
        index: usize,
        now: UnixTime,
    ) -> Result<Arc<Verdict>, Refusal> {
        if let Some(refusal) = self.cache.refused(digest, now) {
            return Err(refusal);
        }
        match self.timed(Method::Jwt, self.issuers[index].verify(token, peek, now)).await? {
            Ok(verified) => {
                let verdict = Arc::new(self.verdict_of_jwt(index, &verified));
                // If the key goes away between here and any later hit, its liveness says so on that hit.
                self.cache.keep(digest, verdict.clone());
                // A signature takes as long as everything else together. Where several are to be verified, one after the
                // other, and then all requests go to the upstream in a row: it is not woken for each of them.
                yield_now().await;
                Ok(verdict)
            }
            Err(error) => {
                let refusal = refusal_of(error);
                if !error.may_pass_later() {
                    self.cache.keep_refusal(digest, refusal, now, self.negative_ttl);
                }
                Err(refusal)
            }
        }
    }

    /// Asks only issuers that the route trusts: an opaque token is a secret between a client and its issuer.
    async fn validate_opaque(
        &self,
        token: &str,
        digest: TokenDigest,
        policy: &Policy,
        cx: &Context,
    ) -> Result<Arc<Verdict>, Refusal> {
        let mut last = Refusal::new(Reason::TokenInvalid, "not_a_jwt");
        for &index in &policy.issuers {
            // The local authority has no place among them, and knew its own by their form.
            if self.issuers.get(index).is_none_or(|issuer| issuer.asker.is_none()) {
                continue;
            }
            match self.ask(index, token, digest, cx).await {
                Ok(verdict) => return Ok(verdict),
                // Unreachable is not a no: another issuer may know the token, but if none does, it stays undecided.
                Err(refusal) if last.reason == Reason::Undecided && refusal.reason != Reason::Undecided => {}
                Err(refusal) => last = refusal,
            }
        }
        Err(last)
    }

    async fn ask(&self, index: usize, token: &str, digest: TokenDigest, cx: &Context) -> Result<Arc<Verdict>, Refusal> {
        let now = cx.now;
        let issuer = &self.issuers[index];
        let Some(asker) = &issuer.asker else {
            return Err(Refusal::new(Reason::IssuerRefused, "no_introspection"));
        };
        let inquiry = asker.inquiry();
        let refused = digest.at_issuer(index);
        if let Some(refusal) = self.cache.refused(refused, now) {
            return Err(refusal);
        }
        let undecided = |error: &AskError| Refusal::new(Reason::Undecided, asker.code(error));
        // Random tokens must not become a flood at the issuer.
        let limited = cx.client.is_some_and(|address| self.questions.check(Key::address(address), cx.started).is_err());
        if limited {
            self.metrics.rate_limited(Limited::from(&inquiry.way));
            return Err(undecided(&AskError::Limited));
        }
        // Behind the limit: whoever makes tokens up costs no more looks at the store than questions.
        if let Some(own) = &self.own
            && own.is_compact_refresh_token(token).await?
        {
            return Err(Refusal::new(Reason::TokenInvalid, "no_access_token"));
        }
        let question = asker.ask(token, digest.bytes(), now, || self.cache.coalesced());
        let answer = self.timed(Method::from(&inquiry.way), question).await;
        if let Some(metrics) = &self.inquiries[index] {
            metrics.came_to(asked(&answer));
        }
        match answer {
            Ok(Answer::Active(claims)) => {
                let verdict = Arc::new(self.verdict_of_answer(index, &claims, now.plus(inquiry.cache_ttl.as_secs())));
                if !inquiry.cache_ttl.is_zero() {
                    self.cache.keep(digest, verdict.clone());
                }
                Ok(verdict)
            }
            Ok(Answer::Inactive) => {
                let refusal = Refusal::new(Reason::TokenRevoked, "inactive");
                // What was good a moment ago is not any more.
                self.cache.forget(digest);
                self.cache.keep_refusal(refused, refusal, now, inquiry.negative_ttl);
                Err(refusal)
            }
            Ok(Answer::Refused(error)) => Err(refusal_of(error)),
            Err(error) => Err(undecided(&error)),
        }
    }

    fn verdict_of_jwt(&self, issuer: usize, verified: &Verified) -> Verdict {
        let valid_until = verified.expires.plus(self.issuers[issuer].settings.leeway.as_secs());
        Verdict {
            liveness: Some(verified.key.liveness().clone()),
            ..self.verdict(issuer, verified.claims.members(), verified.claims.audiences(), valid_until, valid_until)
        }
    }

    fn verdict_of_answer(&self, issuer: usize, claims: &Claims, fresh_until: UnixTime) -> Verdict {
        let leeway = self.issuers[issuer].settings.leeway.as_secs();
        let valid_until = claims.expires().map_or(UnixTime(u64::MAX), |expires| expires.plus(leeway));
        let fresh_until = fresh_until.min(valid_until);
        self.verdict(issuer, claims.members(), claims.audiences(), valid_until, fresh_until)
    }

    pub(super) fn verdict<'a>(
        &self,
        issuer: usize,
        claims: &Members,
        audiences: impl Iterator<Item = &'a str>,
        valid_until: UnixTime,
        fresh_until: UnixTime,
    ) -> Verdict {
        let text = |name: &str| claims.get(name).and_then(Member::as_str);
        let client = text("client_id").or_else(|| text("azp"));
        let subject = text("sub");
        Verdict {
            issuer,
            valid_until,
            fresh_until,
            audiences: self.audiences.shared(&audiences.map(Into::into).collect::<SmallVec<[_; 2]>>()),
            scope: self.texts.shared(&scope(claims)),
            client: client.map(|client| self.texts.shared(client)),
            subject: subject.map(Into::into),
            claims: self.plan.take(claims),
            principal: principal(issuer, subject, client),
            liveness: None,
            session: None,
            slides: None,
            succession: None,
            prepared: (0..self.profiles.slots()).map(|_| Slot::default()).collect(),
        }
    }
}

impl Issuer {
    fn judges_by_keys(&self) -> bool {
        self.settings.keys != crate::config::KeySource::None
    }

    /// The outer error: there are no keys to judge by. For a `kid` that is not known the issuer is asked again.
    async fn verify(
        &self,
        token: &str,
        peeked: Peek<'_>,
        now: UnixTime,
    ) -> Result<Result<Verified, JwtError>, Refusal> {
        let unavailable = |KeysUnavailable| Refusal::new(Reason::Undecided, "keys_unavailable");
        let nameless = peeked.kid().is_none();
        let keys = self.keys.keys_for(peeked.kid(), now).await.map_err(unavailable)?;
        let outcome = peeked.verify(&self.settings, &keys, now);
        // Without a `kid`, a key that came with a rotation shows only in that no known one fits.
        let may_be_new = nameless && matches!(outcome, Err(JwtError::BadSignature | JwtError::UnknownKey));
        if !may_be_new || self.keys.refetch_for_unknown_kid(now).await != Refetch::Done {
            return Ok(outcome);
        }
        let keys = self.keys.ready_or_wait().await.map_err(unavailable)?;
        Ok(peek(token).and_then(|peeked| peeked.verify(&self.settings, &keys, now)))
    }
}

/// `scope` as RFC 6749 writes it, or the list `scp` of some issuers.
fn scope(claims: &Members) -> Cow<'_, str> {
    match (claims.get("scope"), claims.get("scp")) {
        (Some(Member::Text(scope)), _) | (None, Some(Member::Text(scope))) => scope.into(),
        (Some(Member::Other(Value::Array(scopes))), _) | (None, Some(Member::Other(Value::Array(scopes)))) => {
            scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ").into()
        }
        _ => "".into(),
    }
}

fn principal(issuer: usize, subject: Option<&str>, client: Option<&str>) -> u64 {
    // Not a secret and not on the wire: two that collide share a rate limit.
    let mut hasher = std::hash::DefaultHasher::new();
    (issuer, subject, client).hash(&mut hasher);
    hasher.finish()
}

pub(super) fn refusal_of(error: JwtError) -> Refusal {
    let reason = match error {
        JwtError::Expired => Reason::TokenExpired,
        JwtError::NotYetValid | JwtError::IssuedInFuture => Reason::TokenNotYetValid,
        JwtError::UnknownKey => Reason::KeyUnknown,
        JwtError::WrongIssuer => Reason::IssuerUnknown,
        JwtError::TooLong
        | JwtError::NotAJwt
        | JwtError::Malformed(_)
        | JwtError::UnsupportedHeader(_)
        | JwtError::AlgorithmNotAllowed
        | JwtError::TypeNotAccepted
        | JwtError::KeyUnfit
        | JwtError::BadSignature
        | JwtError::MissingClaim(_)
        | JwtError::InvalidClaim(_)
        | JwtError::Bound => Reason::TokenInvalid,
    };
    Refusal::new(reason, error.code())
}

fn asked(answer: &Result<Answer, AskError>) -> Asked {
    match answer {
        Ok(Answer::Active(_)) => Asked::Active,
        Ok(Answer::Inactive) => Asked::Inactive,
        Ok(Answer::Refused(_)) => Asked::Refused,
        Err(AskError::Limited | AskError::Saturated) => Asked::Saturated,
        Err(AskError::Unavailable(_) | AskError::Broken(_)) => Asked::Unavailable,
        Err(AskError::Misconfigured(_)) => Asked::Misconfigured,
    }
}
