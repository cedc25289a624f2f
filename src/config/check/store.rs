//! Where sessions are kept, and the master keys.

mod redis;

use std::path::{Path, PathBuf};

use super::{files, section::Section, weak};
use crate::{
    config::{
        MasterKeys, MasterRing, Store,
        settings::{RedbStore, Settings},
    },
    model::Secret,
};

pub(super) fn store(settings: &Settings, section: &Section<'_>) -> Option<Store> {
    let store = &settings.store;
    match (&store.memory, &store.redb, &store.redis) {
        (Some(_), None, None) => Some(Store::Memory),
        (None, redb, None) => Some(Store::Redb { path: redb_file(redb.as_ref(), settings, &section.key("redb")) }),
        (None, None, Some(redis)) => {
            redis::check(redis, settings, &section.key("redis")).map(Box::new).map(Store::Redis)
        }
        (memory, redb, redis) => {
            let given = [("memory", memory.is_some()), ("redb", redb.is_some()), ("redis", redis.is_some())];
            section.problem(at_once(&given), "keep one of them");
            None
        }
    }
}

/// What is given, of things of which there is one.
fn at_once(keys: &[(&str, bool)]) -> String {
    let given: Vec<_> = keys.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
    format!("{} at once", given.join(" and "))
}

fn redb_file(redb: Option<&RedbStore>, settings: &Settings, section: &Section<'_>) -> PathBuf {
    let path = redb.and_then(|redb| redb.path.as_deref());
    let path = section.resolve(path.unwrap_or(Path::new("/var/lib/sidegate/sessions.redb")));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if settings.authority.is_some() && folder.is_some_and(|folder| !folder.is_dir()) {
        let place = section.key("path");
        place.warn(
            format!("there is no folder for {}", place.shown(path.display())),
            "make it, and let the user that sidegate runs as write in it",
        );
    }
    path
}

pub(super) fn keys(settings: &Settings, store: Option<&Store>, section: &Section<'_>) -> Option<MasterKeys> {
    let generate = settings.keys.generate.unwrap_or(false);
    let shared = settings.store.redis.is_some();
    if generate && shared {
        section.key("generate").problem(
            "with store.redis each replica would make its own, and none could read what another one keeps",
            "make one with sidegate keys master > FILE, and give it to all replicas as master_file",
        );
    } else if generate && settings.authority.is_some() {
        section.key("generate").warn(
            "a key beside the data protects little: whoever copies the disk has both",
            "sidegate keys master makes a ring that you can mount from elsewhere",
        );
    }
    match &settings.keys.master_file {
        None if shared => {
            section.key("master_file").problem(
                "missing: what is kept in store.redis is sealed under it, and all replicas need the same",
                "sidegate keys master > FILE makes one; mount it in every replica",
            );
            None
        }
        None if settings.authority.is_none() || store == Some(&Store::Memory) => Some(MasterKeys::Ephemeral),
        None => {
            section.key("master_file").problem(
                "missing: sessions on disk are sealed under it",
                "sidegate keys master > FILE makes one; generate: true makes it at the first start",
            );
            None
        }
        Some(file) if generate && !shared && !section.resolve(file).exists() => {
            Some(MasterKeys::Generate(section.resolve(file)))
        }
        Some(file) => ring(&files::secret_lines(file, &section.key("master_file"))?, &section.key("master_file")),
    }
}

/// One key a line: its id, a colon, and 32 bytes in base64url. The first line is current.
fn ring(text: &Secret<String>, section: &Section<'_>) -> Option<MasterKeys> {
    match MasterRing::parse(text.expose()) {
        Some(ring) => {
            weak::warn_of_weak_ring(&ring, section);
            Some(MasterKeys::Given(ring))
        }
        None => {
            section.problem("not a ring of master keys", "sidegate keys master makes one");
            None
        }
    }
}
