//! Accounts at an authority outside: whether they are whole, and whether its API takes them.

use crate::config::{
    Account,
    check::{files, section::Section},
    settings,
};

/// Which credentials an API takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config::check) enum Api {
    OAuth2,
    Redex,
    Consinco,
}

impl Api {
    /// `None` for what the configuration tells of.
    pub fn of(dialect: Option<&str>) -> Option<Api> {
        match dialect {
            Some("oauth2") => Some(Api::OAuth2),
            Some("redex") => Some(Api::Redex),
            Some("consinco") => Some(Api::Consinco),
            _ => None,
        }
    }
}

pub(in crate::config::check) fn check(account: &settings::Account, section: &Section<'_>) -> Option<Account> {
    match (&account.api_key_file, &account.username, &account.password_file) {
        (Some(file), None, None) if account.company.is_none() => {
            files::secret_text(file, &section.key("api_key_file")).map(Account::ApiKey)
        }
        (None, Some(username), Some(file)) => {
            let password = files::secret_text(file, &section.key("password_file"))?;
            Some(Account::Password { username: username.clone(), password, company: account.company.clone() })
        }
        _ => {
            section.problem(
                "neither an API key nor a name and a password",
                "write api_key_file, or username and password_file",
            );
            None
        }
    }
}

/// Whether `api` takes such an account; `has_company`: one is told for all of them at `company_for_all`. What is not
/// whole is told of where it is read.
pub(in crate::config::check) fn fits(
    api: Api,
    account: &settings::Account,
    has_company: bool,
    company_for_all: &str,
    section: &Section<'_>,
) {
    if !is_whole(account) {
        return;
    }
    let by_key = account.api_key_file.is_some();
    match (api, by_key) {
        (Api::Redex, true) => {}
        (Api::OAuth2 | Api::Consinco, true) => section
            .key("api_key_file")
            .problem("the authority outside knows no API keys", "write username and password_file"),
        (Api::Redex, false) => {
            section.key("username").problem("the authority outside knows no passwords", "write api_key_file");
        }
        (Api::OAuth2, false) if account.company.is_some() => {
            section.key("company").problem("it means nothing to oauth2", "leave it out");
        }
        (Api::Consinco, false) if account.company.is_none() && !has_company => {
            section.key("company").problem(
                "missing: the authority outside asks for a company",
                format!("write it here, or {company_for_all}"),
            );
        }
        (Api::OAuth2 | Api::Consinco, false) => {}
    }
}

/// Whether it is an API key, or a name and a password.
fn is_whole(account: &settings::Account) -> bool {
    match (&account.api_key_file, &account.username, &account.password_file) {
        (Some(_), None, None) => account.company.is_none(),
        (None, Some(_), Some(_)) => true,
        _ => false,
    }
}
