//! Why a token was refused.

/// Why a JWT was refused. Neither `Display` nor `Debug` contains any byte of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JwtError {
    #[error("not in the form of a signed JWT")]
    NotAJwt,
    #[error("longer than a token may be")]
    TooLong,
    #[error("malformed: {0}")]
    Malformed(&'static str),
    #[error("the header parameter {0} is not supported")]
    UnsupportedHeader(&'static str),
    #[error("`alg` is not one of the issuer's")]
    AlgorithmNotAllowed,
    #[error("`typ` is not one of the issuer's")]
    TypeNotAccepted,
    #[error("`iss` is not the issuer's")]
    WrongIssuer,
    #[error("signed with a key that is not in the issuer's set")]
    UnknownKey,
    #[error("the key that it names is not for its algorithm")]
    KeyUnfit,
    #[error("the signature is wrong")]
    BadSignature,
    #[error("the claim {0} is missing")]
    MissingClaim(&'static str),
    #[error("the claim {0} has a wrong type or value")]
    InvalidClaim(&'static str),
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    NotYetValid,
    #[error("issued in the future")]
    IssuedInFuture,
    #[error("bound to a key of the client (`cnf`), so not a bearer token")]
    Bound,
}

impl JwtError {
    /// The stable word for logs, metrics and `explain`.
    pub fn code(self) -> &'static str {
        match self {
            JwtError::NotAJwt => "not_a_jwt",
            JwtError::TooLong => "token_too_long",
            JwtError::Malformed(_) => "malformed_token",
            JwtError::UnsupportedHeader(_) => "unsupported_header",
            JwtError::AlgorithmNotAllowed => "algorithm_not_allowed",
            JwtError::TypeNotAccepted => "type_not_accepted",
            JwtError::WrongIssuer => "wrong_issuer",
            JwtError::UnknownKey => "unknown_key",
            JwtError::KeyUnfit => "key_unfit",
            JwtError::BadSignature => "bad_signature",
            JwtError::MissingClaim(_) => "missing_claim",
            JwtError::InvalidClaim(_) => "invalid_claim",
            JwtError::Expired => "expired",
            JwtError::NotYetValid => "not_yet_valid",
            JwtError::IssuedInFuture => "issued_in_future",
            JwtError::Bound => "bound_token",
        }
    }

    /// True if the same token may be good a moment later; such a refusal must not be remembered.
    pub fn may_pass_later(self) -> bool {
        matches!(self, JwtError::UnknownKey | JwtError::NotYetValid | JwtError::IssuedInFuture)
    }
}
