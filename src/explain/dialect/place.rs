//! The endpoint that is meant, by its dialect and its name.

use crate::{
    config,
    dialect::{
        Dialect,
        Endpoint::{Obtain, Renew},
    },
};

/// A token endpoint that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub dialect: Dialect,
    pub dialect_name: String,
    pub name: &'static str,
    /// Canonical.
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchPlace {
    #[error("there is no dialect `{given}` here; there are {known}")]
    Dialect { given: String, known: String },
    #[error("{dialect} has no endpoint `{given}`; it has {known}")]
    Endpoint { dialect: String, given: String, known: String },
    #[error("{dialect} has more than one endpoint; choose by --endpoint: {known}")]
    Many { dialect: String, known: String },
    #[error("the configuration serves no such endpoint; `{setting}` switches it on")]
    NotServed { setting: String },
}

impl Place {
    /// The endpoint of `dialect` that is called `endpoint`, which need not be named where there is only one.
    ///
    /// # Errors
    /// What there is instead.
    pub fn find(endpoints: &config::Endpoints, dialect: &str, endpoint: Option<&str>) -> Result<Place, NoSuchPlace> {
        let all = all(endpoints);
        let of_dialect: Vec<&Entry> = all.iter().filter(|entry| entry.dialect_name == dialect).collect();
        let known = join(of_dialect.iter().map(|entry| entry.name));
        let entry = match (endpoint, &*of_dialect) {
            (_, []) => {
                let known = join(all.iter().map(|entry| entry.dialect_name));
                return Err(NoSuchPlace::Dialect { given: dialect.to_owned(), known });
            }
            (None, [only]) => only,
            (None, _) => return Err(NoSuchPlace::Many { dialect: dialect.to_owned(), known }),
            (Some(given), _) => {
                let found = of_dialect.iter().find(|entry| entry.name == given);
                found.ok_or_else(|| NoSuchPlace::Endpoint {
                    dialect: dialect.to_owned(),
                    given: given.to_owned(),
                    known,
                })?
            }
        };
        match entry.path {
            Some(path) => Ok(Place {
                dialect: entry.dialect,
                dialect_name: entry.dialect_name.to_owned(),
                name: entry.name,
                path: path.clone(),
            }),
            None => Err(NoSuchPlace::NotServed { setting: entry.setting.to_owned() }),
        }
    }
}

struct Entry<'a> {
    dialect: Dialect,
    dialect_name: &'a str,
    name: &'static str,
    path: Option<&'a String>,
    setting: &'static str,
}

/// Every token endpoint that could be served.
fn all(endpoints: &config::Endpoints) -> Vec<Entry<'_>> {
    let (redex, consinco) = (&endpoints.redex, &endpoints.consinco);
    let entries = [
        (Dialect::OAuth2, "token", &endpoints.token, "authority.endpoints.token"),
        (Dialect::Redex(Obtain), "token", &redex.token, "authority.endpoints.redex"),
        (Dialect::Redex(Renew), "refresh", &redex.refresh, "authority.endpoints.redex"),
        (Dialect::Consinco(Obtain), "login", &consinco.login, "authority.endpoints.consinco"),
        (Dialect::Consinco(Renew), "refresh", &consinco.refresh, "authority.endpoints.consinco"),
    ];
    let entries = entries.into_iter().map(|(dialect, name, path, setting)| Entry {
        dialect,
        dialect_name: dialect.name(endpoints),
        name,
        path: path.as_ref(),
        setting,
    });
    let declared = endpoints.declared.iter().enumerate().flat_map(|(index, place)| {
        place.endpoints().map(move |endpoint| Entry {
            dialect: Dialect::Declared(index),
            dialect_name: &place.dialect.name,
            name: endpoint.grant.as_str(),
            path: Some(&place.path),
            setting: "authority.endpoints.declared",
        })
    });
    entries.chain(declared).collect()
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
