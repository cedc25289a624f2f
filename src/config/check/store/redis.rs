//! Sessions in Redis or Valkey: where it is, who sidegate is to it, and what its keys are called.

mod address;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use self::address::{Found, Kind};
use super::{Section, files};
use crate::{
    config::{
        RedisClientCertificate, RedisServers, RedisStore, RedisTls,
        settings::{self, Settings},
    },
    model::Secret,
};

pub(super) fn check(settings: &settings::RedisStore, all: &Settings, section: &Section<'_>) -> Option<RedisStore> {
    let found = servers(settings, section);
    let account = account(settings.username.as_ref(), settings.password_file.as_ref(), section);
    let tls = tls(settings.tls.as_ref(), found.as_ref().map(|found| found.tls), &section.key("tls"));
    let prefix = prefix(settings.prefix.as_deref().unwrap_or("sidegate"), &section.key("prefix"));
    let journal = journal(settings, all, &section.key("journal"));
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let (username, password) = account?;
    let checked = RedisStore {
        servers: found?.servers,
        database: database(settings, section),
        username,
        password,
        tls: tls?,
        prefix: prefix?,
        connections: section.number("connections", settings.connections, 4, 1..=64),
        timeout: section.span("timeout", settings.timeout, s(1), ms(50)..=s(10)),
        journal: journal?,
    };
    Some(checked)
}

fn servers(settings: &settings::RedisStore, section: &Section<'_>) -> Option<Found<RedisServers>> {
    match (&settings.url, &settings.sentinel, &settings.cluster) {
        (Some(url), None, None) => Some(address::one(url, Kind::Server, &section.key("url"))?.map(RedisServers::One)),
        (None, Some(sentinel), None) => sentinels(sentinel, &section.key("sentinel")),
        (None, None, Some(nodes)) => {
            Some(address::all(nodes, Kind::Node, &section.key("cluster"))?.map(RedisServers::Cluster))
        }
        (None, None, None) => {
            section.problem(
                "none of url, sentinel and cluster, so nobody knows where the servers are",
                "write for example url: rediss://redis.example.com:6379",
            );
            None
        }
        (url, sentinel, cluster) => {
            let given = [("url", url.is_some()), ("sentinel", sentinel.is_some()), ("cluster", cluster.is_some())];
            section.problem(super::at_once(&given), "keep one of them");
            None
        }
    }
}

fn sentinels(settings: &settings::Sentinel, section: &Section<'_>) -> Option<Found<RedisServers>> {
    let master = section.required("master", settings.master.as_ref(), "sidegate").filter(|master| {
        let good = is_word(master);
        if !good {
            let section = section.key("master");
            let message = format!("{} is not what a master is called", section.shown(master));
            section.problem(message, "write the name behind `sentinel monitor` in the file of the Sentinels");
        }
        good
    });
    let found = address::all(&settings.urls, Kind::Sentinel, &section.key("urls"));
    let account = account(settings.username.as_ref(), settings.password_file.as_ref(), section);
    let (master, (username, password)) = (master?.clone(), account?);
    Some(found?.map(|sentinels| RedisServers::Sentinel { sentinels, master, username, password }))
}

/// Name and password; `None` if one is wrong.
fn account(
    username: Option<&String>,
    password_file: Option<&PathBuf>,
    section: &Section<'_>,
) -> Option<(Option<String>, Option<Secret<String>>)> {
    let name = username.is_none_or(|name| is_word(name));
    if let Some(username) = username.filter(|_| !name) {
        let section = section.key("username");
        section.problem(format!("{} is not the name of a user", section.shown(username)), "write that of ACL SETUSER");
    }
    let password = match password_file {
        Some(_) => {
            let file = section.required("password_file", password_file, EXAMPLE)?;
            Some(files::secret_text(file, &section.key("password_file"))?)
        }
        None if username.is_some() => {
            section.key("password_file").problem(
                "missing: a user is known by a password",
                format!("write for example password_file: {EXAMPLE}"),
            );
            return None;
        }
        None => None,
    };
    name.then(|| (username.cloned(), password))
}

/// Outside, `None` if it is wrong; inside, `None` without TLS. `wanted` is `None` where that is not known.
fn tls(settings: Option<&settings::RedisTls>, wanted: Option<bool>, section: &Section<'_>) -> Option<Option<RedisTls>> {
    let Some(settings) = settings else {
        return Some(wanted.filter(|wanted| *wanted).map(|_| RedisTls { ca: None, client: None }));
    };
    if wanted == Some(false) {
        section.problem("given, but the servers are not rediss://", "write rediss:// for TLS, or leave it out");
        return None;
    }
    let ca = match &settings.ca_file {
        Some(file) => files::authorities_pem(file, &section.key("ca_file")).map(Some),
        None => Some(None),
    };
    let client = match (&settings.certificate_file, &settings.key_file) {
        (Some(certificate), Some(key)) => files::identity(certificate, key, section).map(|(chain, key)| {
            let (chain, key) = (chain.content().to_vec(), Secret::new(key.content().to_vec()));
            Some(RedisClientCertificate { chain, key })
        }),
        (None, None) => Some(None),
        (certificate, _) => {
            let missing = if certificate.is_some() { "key_file" } else { "certificate_file" };
            section.key(missing).problem("missing", "certificate_file and key_file belong together");
            None
        }
    };
    Some(Some(RedisTls { ca: ca?, client: client? }))
}

fn database(settings: &settings::RedisStore, section: &Section<'_>) -> u16 {
    if settings.cluster.is_some() && settings.database.is_some() {
        section.key("database").problem("a Cluster has one database", "leave it out; prefix keeps sidegates apart");
        return 0;
    }
    section.number("database", settings.database, 0, 0..=15)
}

/// A brace would begin a hash tag, and that decides which slot a key lies in.
fn prefix(prefix: &str, section: &Section<'_>) -> Option<String> {
    const LONGEST: usize = 64;
    let plain = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b));
    if plain && (1..=LONGEST).contains(&prefix.len()) {
        return Some(prefix.to_owned());
    }
    let braces =
        if prefix.contains(['{', '}']) { "; braces decide the hash slot, and are set by sidegate" } else { "" };
    section.problem(
        format!("{} cannot stand in front of keys", section.shown(prefix)),
        format!("use 1 to {LONGEST} letters, digits, \".\", \"_\", \"-\" and \":\"{braces}"),
    );
    None
}

/// Outside, `None` if it is wrong; inside, `None` if there is none.
fn journal(settings: &settings::RedisStore, all: &Settings, section: &Section<'_>) -> Option<Option<PathBuf>> {
    const EXAMPLE: &str = "journal: /var/lib/sidegate/journal";
    let Some(folder) = &settings.journal else {
        if all.authority.as_ref().is_some_and(|authority| authority.remote.is_some()) {
            section.warn(
                "missing: what the authority outside gives while the servers are away is lost if this process ends then",
                format!("name a folder on a disk that outlives the process, for example {EXAMPLE}"),
            );
        }
        return Some(None);
    };
    if folder.as_os_str().is_empty() {
        section.problem("empty", format!("write for example {EXAMPLE}"));
        return None;
    }
    let folder = section.resolve(folder);
    let shown = section.shown(folder.display());
    if folder.exists() && !folder.is_dir() {
        section.problem(format!("{shown} is not a folder"), format!("name one, for example {EXAMPLE}"));
        return None;
    }
    // The folder itself is made where it is not there.
    if !folder.exists() && !folder.parent().is_some_and(Path::is_dir) {
        section.warn(
            format!("there is no folder for {shown}"),
            "make it, and let the user that sidegate runs as write in it",
        );
    }
    Some(Some(folder))
}

/// What the servers take as one word.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

const EXAMPLE: &str = "secrets/redis";
