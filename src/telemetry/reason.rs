//! Why a request was let through or not: the closed set behind the `reason` label and the log field.

/// The outcome of authentication and policy for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The route asks for no token.
    Public,
    /// Token valid, policy met.
    Allowed,
    TokenMissing,
    TokenMalformed,
    TokenExpired,
    TokenNotYetValid,
    /// Signature, algorithm, type or claims are not what they must be.
    TokenInvalid,
    /// Its issuer, asked, says no, or the key or session behind the token is gone.
    TokenRevoked,
    IssuerUnknown,
    KeyUnknown,
    IssuerRefused,
    AudienceRefused,
    ScopeMissing,
    ClaimRefused,
    ClientRefused,
    RateLimited,
    /// HTTP Basic, and nobody vouches for it.
    PasswordWrong,
    /// No verdict could be had: keys or issuer out of reach.
    Undecided,
}

impl Reason {
    pub const ALL: [Reason; 18] = [
        Reason::Public,
        Reason::Allowed,
        Reason::TokenMissing,
        Reason::TokenMalformed,
        Reason::TokenExpired,
        Reason::TokenNotYetValid,
        Reason::TokenInvalid,
        Reason::TokenRevoked,
        Reason::IssuerUnknown,
        Reason::KeyUnknown,
        Reason::IssuerRefused,
        Reason::AudienceRefused,
        Reason::ScopeMissing,
        Reason::ClaimRefused,
        Reason::ClientRefused,
        Reason::RateLimited,
        Reason::PasswordWrong,
        Reason::Undecided,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Public => "public",
            Reason::Allowed => "allowed",
            Reason::TokenMissing => "token_missing",
            Reason::TokenMalformed => "token_malformed",
            Reason::TokenExpired => "token_expired",
            Reason::TokenNotYetValid => "token_not_yet_valid",
            Reason::TokenInvalid => "token_invalid",
            Reason::TokenRevoked => "token_revoked",
            Reason::IssuerUnknown => "issuer_unknown",
            Reason::KeyUnknown => "key_unknown",
            Reason::IssuerRefused => "issuer_refused",
            Reason::AudienceRefused => "audience_refused",
            Reason::ScopeMissing => "scope_missing",
            Reason::ClaimRefused => "claim_refused",
            Reason::ClientRefused => "client_refused",
            Reason::RateLimited => "rate_limited",
            Reason::PasswordWrong => "password_wrong",
            Reason::Undecided => "undecided",
        }
    }

    /// Whether the token was valid, and what the route asks of it was not met.
    pub fn is_of_policy(self) -> bool {
        matches!(
            self,
            Reason::IssuerRefused
                | Reason::AudienceRefused
                | Reason::ScopeMissing
                | Reason::ClaimRefused
                | Reason::ClientRefused
        )
    }

    /// The `result` label: `allow`, `deny`, or `error` where no verdict could be had.
    pub fn result(self) -> &'static str {
        match self {
            Reason::Public | Reason::Allowed => "allow",
            Reason::Undecided => "error",
            _ => "deny",
        }
    }
}
