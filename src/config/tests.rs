//! Whole files in, whole answers out.

use std::path::Path;

use super::*;

mod accounts;
mod authority;
mod declared;
mod decoding;
mod dialects;
mod examples;
pub(super) mod files;
mod issuers;
mod listeners;
mod outside;
mod redis;
mod remote;
mod remote_client;
mod renewal;
mod routes;
mod secrets;
mod service;
mod traces;
mod upstreams;
mod warnings;

/// Loads `source` as `c.yaml` with these variables.
fn load_with(source: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    load_str(source, "c.yaml", Path::new("/nowhere"), &variables.iter().copied().collect())
}

/// What is wrong with `source`, a line each, without the name of the file.
fn problems(source: &str) -> Vec<String> {
    problems_with(source, &[])
}

fn problems_with(source: &str, variables: &[(&str, &str)]) -> Vec<String> {
    lines(load_with(source, variables).map(|loaded| loaded.config))
}

fn lines(answer: Result<Config, Problems>) -> Vec<String> {
    match answer {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list.iter().map(|p| p.to_string().replace("c.yaml:", "")).collect(),
    }
}

/// A valid configuration in which the sections that `other` starts with are replaced by it.
///
/// `other` comes first, so that its lines count from 1.
fn config(other: &str) -> String {
    const SECTIONS: [&str; 3] = [
        "issuers: [{name: corp, issuer: 'https://idp.example.com'}]\n",
        "upstreams: [{name: app, url: 'http://127.0.0.1:3000'}]\n",
        "routes: [{name: all, paths: ['/*'], upstream: app, policy: {audiences: [api]}}]\n",
    ];
    let mut source = other.to_owned();
    if !source.ends_with('\n') {
        source.push('\n');
    }
    for section in SECTIONS {
        let key = section.split_inclusive(':').next().unwrap();
        if !other.lines().any(|line| line.starts_with(key)) {
            source.push_str(section);
        }
    }
    source
}

/// A route with `more`, the rest of it being right.
fn route(more: &str) -> String {
    let policy = if more.contains("policy") || more.contains("public") { "" } else { ", policy: {audiences: [api]}" };
    let paths = if more.contains("paths") { "" } else { "paths: ['/*'], " };
    config(&format!("routes:\n- {{{more}, {paths}name: all, upstream: app{policy}}}\n"))
}
