//! One token of sidegate's own: who gives it, and what for.

use std::sync::Arc;

use crate::{
    config::{
        Account, DeclaredDialect, Remote, RemoteApi, RemoteAuthentication, Service,
        check::{
            remote::{
                self,
                account::{self, Api},
            },
            section::Section,
        },
        settings,
    },
    model::GrantType,
};

pub(super) fn check(
    settings: &settings::Service,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    section: &Section<'_>,
) -> Option<Service> {
    let remote = remote::check(&settings.as_remote(), dialects, None, section);
    let account = match &settings.account {
        Some(account) => account::check(account, &section.key("account")).map(Some),
        None => Some(None),
    };
    if let Some((api, account)) = Api::of(settings.dialect.as_deref()).zip(settings.account.as_ref()) {
        let for_all = "as company of the service";
        account::fits(api, account, settings.company.is_some(), for_all, &section.key("account"));
    }
    let service = Service { remote: remote?, account: account? };
    gives(&service.remote, service.account.as_ref(), section).then_some(service)
}

/// Whether such a token can ever be got.
fn gives(remote: &Remote, account: Option<&Account>, section: &Section<'_>) -> bool {
    match (&remote.api, account) {
        (RemoteApi::OAuth2(_), None) if remote.authentication == RemoteAuthentication::None => {
            section.key("client").problem(
                "a client that proves nothing gets no token on its own behalf (RFC 6749, section 4.4)",
                "write secret_file or key_file, or an account to sign in with",
            );
            false
        }
        (RemoteApi::Redex { .. }, None) => {
            section.key("account").problem(
                "missing: redex gives a token for an API key",
                "write for example account: {api_key_file: secrets/api-key}",
            );
            false
        }
        (RemoteApi::Consinco { .. }, None) => {
            section.key("account").problem(
                "missing: consinco gives a token for a name and a password",
                "write for example account: {username: sidegate, password_file: secrets/password}",
            );
            false
        }
        (RemoteApi::Declared { dialect, .. }, account) => {
            let grant = account.map_or(GrantType::ClientCredentials, |account| account.grant().kind());
            let known = dialect.endpoints.iter().any(|endpoint| endpoint.grant == grant);
            if !known {
                section.key("account").problem(
                    format!("the dialect {} has no endpoint for the grant {}", dialect.name, grant.as_str()),
                    "give it one, or sign in with what it has: a password, an API key, or no account at all",
                );
            }
            known
        }
        // What the API does not take is told of by now.
        (RemoteApi::OAuth2(_) | RemoteApi::Redex { .. } | RemoteApi::Consinco { .. }, _) => true,
    }
}
