//! Whether what clients may do can ever work at the authority outside: each way needs a word of its API, and an account
//! must be one that it has.

use crate::config::{
    check::{
        remote::account::{self, Api},
        section::Section,
    },
    settings,
};

pub(super) fn check(authority: &settings::Authority, section: &Section<'_>) {
    let Some(remote) = &authority.remote else { return };
    // What else there may be is told where the dialect is read.
    let Some(api) = Api::of(remote.dialect.as_deref()) else { return };
    let mapped = remote.accounts == Some(settings::Accounts::Mapped);
    for (index, client) in authority.clients.iter().enumerate() {
        let section = section.key("clients").key(index);
        for (at, grant) in client.grants.iter().enumerate() {
            let section = section.key("grants").key(at);
            match mapped {
                true => works_mapped(client, *grant, &section),
                false => works_presented(api, client, *grant, authority, &section),
            }
        }
        account(api, client.account.as_ref(), remote, &section.key("account"));
    }
    for (index, user) in authority.users.iter().enumerate() {
        account(api, user.account.as_ref(), remote, &section.key("users").key(index).key("account"));
    }
    if mapped && authority.user_service.is_some() {
        section.key("user_service").problem(
            "its users have no accounts at the authority outside, so none of them could sign in",
            "list the users, each with an account, or write accounts: presented and leave user_service out",
        );
    }
}

/// What a client sends goes on as it is.
fn works_presented(
    api: Api,
    client: &settings::Client,
    grant: settings::Grant,
    authority: &settings::Authority,
    section: &Section<'_>,
) {
    use settings::Grant::{ApiKey, AuthorizationCode, Basic, ClientCredentials, Implicit, Password, RefreshToken};
    let name = authority.remote.as_ref().and_then(|remote| remote.dialect.as_deref()).unwrap_or_default();
    let what = match (grant, api) {
        (ApiKey, Api::OAuth2 | Api::Consinco) => "API keys",
        (Password | AuthorizationCode | Implicit, Api::Redex) => "passwords",
        (ClientCredentials, Api::Redex | Api::Consinco) => "clients on their own behalf",
        (Basic, _) => {
            section.problem(
                "names and passwords of each request are compared with users of this file, and there are none",
                "write accounts: mapped and list the users, or take this grant away",
            );
            return;
        }
        (Password | AuthorizationCode | Implicit, Api::Consinco) => {
            let company = authority.remote.as_ref().and_then(|remote| remote.company.as_ref());
            let says_it = authority.endpoints.consinco.as_ref().is_some_and(|own| own.client == client.id);
            if company.is_none() && !says_it {
                section.problem(
                    "the authority outside asks for a company, and such a sign-in names none",
                    "write company under authority.remote, or take this grant away",
                );
            }
            return;
        }
        (Password | AuthorizationCode | Implicit | ClientCredentials, Api::OAuth2)
        | (ApiKey, Api::Redex)
        | (RefreshToken, _) => return,
    };
    section.problem(
        format!("the authority outside speaks {name}, which knows no {what}: nothing could ever be got so"),
        "write accounts: mapped and give accounts to users or clients of this file, or take this grant away",
    );
}

/// Users prove themselves here, which all grants know; a client on its own behalf needs an account of its own.
fn works_mapped(client: &settings::Client, grant: settings::Grant, section: &Section<'_>) {
    if grant == settings::Grant::ClientCredentials && client.account.is_none() {
        section.problem(
            "the client has no account at the authority outside",
            "give it an account, or take this grant away",
        );
    }
}

fn account(api: Api, account: Option<&settings::Account>, remote: &settings::Remote, section: &Section<'_>) {
    if let Some(account) = account {
        account::fits(api, account, remote.company.is_some(), "for all of them under authority.remote", section);
    }
}
