//! What to do about each reason before a route enforces.

use crate::telemetry::reason::Reason;

pub(super) fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::Public | Reason::Allowed => "nothing: these would go on as they do now",
        Reason::TokenMissing => {
            "these clients send no token: give them one, or name another place in `token` of the route, or give these paths \
             a route that is public"
        }
        Reason::TokenMalformed => {
            "what they send is no single bearer token: look at how these clients write their Authorization header"
        }
        Reason::TokenExpired => {
            "these clients go on with tokens that are over: let them refresh before the end, compare the clocks \
             (issuers[].leeway), or let tokens of sidegate's own renew themselves (access_token.renewal)"
        }
        Reason::TokenNotYetValid => {
            "the issuer's clock is ahead of this one: compare the clocks, or raise issuers[].leeway"
        }
        Reason::TokenInvalid => {
            "these are not tokens of a trusted issuer as they must be (signature, algorithm, type, claims): look at the \
             examples' codes, and ask `sidegate explain` with such a token"
        }
        Reason::TokenRevoked => "their sessions have ended or their issuer says no: let these clients sign in anew",
        Reason::IssuerUnknown => {
            "an issuer that the configuration does not name: add it to `issuers`, exactly as the tokens' `iss`, or move \
             these clients to one that is"
        }
        Reason::KeyUnknown => {
            "no key of the issuer fits: it may not publish the key that it signs with; look at its key set"
        }
        Reason::IssuerRefused => "the route does not take this issuer: add it to policy.issuers if it should",
        Reason::AudienceRefused => {
            "their tokens are for something else: let these clients ask for this audience, or add theirs to policy.audiences"
        }
        Reason::ScopeMissing => {
            "their tokens lack a scope: let these clients ask for it, or ask for less in policy.scopes_*"
        }
        Reason::ClaimRefused => "a claim is not what policy.claims asks for: look at who these users are",
        Reason::ClientRefused => "policy.clients does not name these clients: add those that should come in",
        Reason::RateLimited => "nothing: rate limits hold also where a route observes",
        Reason::PasswordWrong => "nobody vouches for these names and passwords: mend them at the clients",
        Reason::Undecided => {
            "no verdict could be had, since keys, an issuer or the store were out of reach: enforcing answers these with 503; \
             look at the issuers first"
        }
    }
}
