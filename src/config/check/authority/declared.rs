//! Where dialects of the configuration are served.

use std::sync::Arc;

use super::dialects::public_client;
use crate::{
    config::{
        DeclaredDialect, DeclaredPlace,
        check::{names, section::Section, urls},
        declared::{DeclaredEndpoint, Place},
        settings,
    },
    model::GrantType,
};

pub(super) fn check(
    authority: &settings::Authority,
    dialects: Option<&[Arc<DeclaredDialect>]>,
    section: &Section<'_>,
) -> Option<Vec<DeclaredPlace>> {
    let mounts = &authority.endpoints.declared;
    // What is wrong with the dialects is said there.
    let Some(dialects) = dialects else { return mounts.is_empty().then(Vec::new) };
    let places = names::all(mounts, section, |mount, section| {
        let name = section.required("dialect", mount.dialect.as_ref(), "acme")?;
        let known: Vec<Option<&str>> = dialects.iter().map(|dialect| Some(&*dialect.name)).collect();
        let dialect = &dialects[names::find(name, &known, "dialects", &section.key("dialect"))?];
        check_mount(mount, dialect, authority, section)
    })?;
    Some(places.into_iter().flatten().collect())
}

/// Endpoints with one path are served at one place.
fn check_mount(
    mount: &settings::DeclaredMount,
    dialect: &Arc<DeclaredDialect>,
    authority: &settings::Authority,
    section: &Section<'_>,
) -> Option<Vec<DeclaredPlace>> {
    let paths = paths(mount, dialect, &section.key("paths"))?;
    let served: Vec<&DeclaredEndpoint> =
        dialect.endpoints.iter().zip(&paths).filter(|(_, path)| path.is_some()).map(|(endpoint, _)| endpoint).collect();
    if served.is_empty() {
        section.key("paths").problem("every endpoint is switched off", "leave out the whole entry");
        return None;
    }
    let client = client(mount, &served, authority, section)?;
    let mut places: Vec<DeclaredPlace> = Vec::new();
    for (index, path) in paths.into_iter().enumerate().filter_map(|(index, path)| Some((index, path?))) {
        match places.iter_mut().find(|place| place.path == path) {
            Some(place) => place.endpoints.push(index),
            None => places.push(DeclaredPlace {
                dialect: dialect.clone(),
                endpoints: vec![index],
                path,
                client: client.clone(),
            }),
        }
    }
    Some(places)
}

/// The path of each endpoint; `None` for one that is switched off.
fn paths(
    mount: &settings::DeclaredMount,
    dialect: &DeclaredDialect,
    section: &Section<'_>,
) -> Option<Vec<Option<String>>> {
    let mut whole = true;
    let mut paths: Vec<Option<String>> = dialect.endpoints.iter().map(|endpoint| Some(endpoint.path.clone())).collect();
    for (grant, path) in &mount.paths.0 {
        let section = section.key(grant.as_str());
        let index = dialect.endpoints.iter().position(|endpoint| endpoint.grant.as_str() == grant);
        let Some(index) = index else {
            let known: Vec<&str> = dialect.endpoints.iter().map(|endpoint| endpoint.grant.as_str()).collect();
            section.problem("the dialect has no endpoint for this grant", format!("known: {}", known.join(", ")));
            whole = false;
            continue;
        };
        if let Some(fault) = urls::literal_path_fault(path).filter(|_| path != "off") {
            section.problem(format!("{} {fault}", section.shown(path)), "");
            whole = false;
        }
        paths[index] = (path != "off").then(|| path.clone());
    }
    // Those that the dialect has at one path are told apart there; others are not.
    for (index, path) in paths.iter().enumerate() {
        let (Some(path), endpoint) = (path, &dialect.endpoints[index]) else { continue };
        let other = (0..index)
            .find(|&other| paths[other].as_ref() == Some(path) && dialect.endpoints[other].path != endpoint.path);
        if let Some(other) = other {
            let section = section.key(endpoint.grant.as_str());
            let other = dialect.endpoints[other].grant.as_str();
            section.problem(format!("{} is already that of {other}", section.shown(path)), "give it another path");
            whole = false;
        }
    }
    whole.then_some(paths)
}

/// Outside, `None` if it is wrong; inside, `None` if every request names its own.
fn client(
    mount: &settings::DeclaredMount,
    served: &[&DeclaredEndpoint],
    authority: &settings::Authority,
    section: &Section<'_>,
) -> Option<Option<String>> {
    let names_none = |endpoint: &&&DeclaredEndpoint| {
        !endpoint.basic && endpoint.requests.iter().any(|request| !request.names(&Place::ClientId))
    };
    let Some(nameless) = served.iter().find(names_none) else {
        if mount.client.is_some() {
            section.key("client").problem("every request names its own client", "leave it out");
            return None;
        }
        return Some(None);
    };
    if nameless.grant == GrantType::ClientCredentials {
        section.problem("nothing proves the client of client_credentials", "");
        return None;
    }
    let id = section.required("client", mount.client.as_ref(), "pos")?;
    public_client(id, authority, &section.key("client")).map(Some)
}
