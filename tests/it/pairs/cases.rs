//! The one list: what every dialect must pass, in front of every authority.

/// Something that a client, or the authority, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Obtain, call, refresh, call.
    Success,
    MissingMember,
    WrongType,
    UnknownMember,
    EmptyBody,
    WrongMediaType,
    BodyOverTheLimit,
    UnknownGrantType,
    UnknownClient,
    WrongSecret,
    WrongCredentials,
    ExpiredRefreshToken,
    RevokedRefreshToken,
    ReplayedRefreshToken,
    ConcurrentRefresh,
    /// Dead, failing, saturated, senseless, or not knowing sidegate.
    AuthorityAway,
    /// It does not know the refresh token any more.
    AuthoritySaysNo,
    /// Non-ASCII and markup in every text.
    HardTexts,
}

impl Case {
    pub const ALL: [Case; 18] = [
        Case::Success,
        Case::MissingMember,
        Case::WrongType,
        Case::UnknownMember,
        Case::EmptyBody,
        Case::WrongMediaType,
        Case::BodyOverTheLimit,
        Case::UnknownGrantType,
        Case::UnknownClient,
        Case::WrongSecret,
        Case::WrongCredentials,
        Case::ExpiredRefreshToken,
        Case::RevokedRefreshToken,
        Case::ReplayedRefreshToken,
        Case::ConcurrentRefresh,
        Case::AuthorityAway,
        Case::AuthoritySaysNo,
        Case::HardTexts,
    ];

    /// What the client is told, whatever dialect it is told in.
    pub fn expected(self) -> Expected {
        match self {
            Case::Success | Case::UnknownMember | Case::ConcurrentRefresh | Case::HardTexts => Expected::Granted,
            Case::MissingMember | Case::WrongType | Case::EmptyBody => Expected::Refused(Refusal::Malformed),
            Case::WrongMediaType => Expected::Refused(Refusal::MediaType),
            Case::BodyOverTheLimit => Expected::Refused(Refusal::TooLarge),
            Case::UnknownGrantType => Expected::Refused(Refusal::GrantType),
            Case::UnknownClient | Case::WrongSecret => Expected::Refused(Refusal::Client),
            Case::WrongCredentials
            | Case::ExpiredRefreshToken
            | Case::RevokedRefreshToken
            | Case::ReplayedRefreshToken
            | Case::AuthoritySaysNo => Expected::Refused(Refusal::Grant),
            Case::AuthorityAway => Expected::Refused(Refusal::Away),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Granted,
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    MediaType,
    TooLarge,
    GrantType,
    Client,
    Grant,
    /// Come back in a while.
    Away,
    /// The same, and the authority has said when.
    Busy,
}
