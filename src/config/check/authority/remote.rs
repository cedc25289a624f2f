//! The authority outside that vouches in our place, and the accounts that it is asked with.

use std::sync::Arc;

use crate::config::{
    Account, DeclaredDialect, Remote,
    check::{
        remote::{self, account},
        section::Section,
    },
    settings,
};

/// Outside, `None` if it is wrong; inside, `None` if there is none.
pub(super) fn check(
    authority: &settings::Authority,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    own_issuer: Option<&str>,
    section: &Section<'_>,
) -> Option<Option<Remote>> {
    let Some(remote) = &authority.remote else { return Some(None) };
    let checked = remote::check(remote, dialects, own_issuer, section);
    let mapped = remote.accounts == Some(settings::Accounts::Mapped);
    if remote.dialect.is_some() && !mapped && (!authority.users.is_empty() || authority.user_service.is_some()) {
        section.key("accounts").problem(
            "users are listed here, and whoever signs in is judged by the authority outside",
            "write accounts: mapped, or leave out users, users_file and user_service",
        );
        return None;
    }
    checked.map(Some)
}

/// Outside, `None` if it is wrong; inside, `None` if there is none.
pub(super) fn account(
    given: Option<&settings::Account>,
    authority: &settings::Authority,
    section: &Section<'_>,
) -> Option<Option<Account>> {
    let Some(given) = given else { return Some(None) };
    if authority.remote.as_ref().and_then(|remote| remote.accounts) != Some(settings::Accounts::Mapped) {
        section.problem("nobody uses it", "write accounts: mapped under authority.remote");
        return None;
    }
    account::check(given, section).map(Some)
}
