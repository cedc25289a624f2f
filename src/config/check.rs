//! Settings → [`Config`], or every problem at once.

mod authority;
mod decision;
mod declared;
mod files;
mod internal_jwt;
mod issuers;
mod listeners;
mod names;
mod remote;
mod routes;
mod running;
mod section;
mod sides;
mod store;
mod successors;
mod traces;
mod upstreams;
mod urls;
mod weak;

use std::path::Path;

use self::section::{Notes, Section};
pub use self::urls::is_trusted;
use super::{
    Config, Inputs,
    place::{Problem, Warning},
    settings::Settings,
    tree::Node,
};

/// What came of a check: the configuration is there unless there is a problem.
pub(super) struct Checked {
    pub config: Option<Config>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
    pub inputs: Inputs,
}

/// Checks `settings`, which were read from `root`; the paths in it are relative to `base`. `inputs` is what was read
/// before.
pub(super) fn check(settings: &Settings, root: &Node, base: &Path, inputs: Inputs) -> Checked {
    let notes = Notes::after(inputs);
    let section = Section::root(&notes, root, base);
    let config = build(settings, &section);
    let (problems, warnings, inputs) = notes.into_parts();
    Checked { config: config.filter(|_| problems.is_empty()), problems, warnings, inputs }
}

fn build(settings: &Settings, root: &Section<'_>) -> Option<Config> {
    let trusted_proxies = listeners::trusted_proxies(&settings.trusted_proxies, &root.key("trusted_proxies"));
    let listeners = listeners::check(settings.listeners.as_deref(), root, !settings.trusted_proxies.is_empty());
    let (health, admin) = sides::check(settings, root, listeners.as_deref().unwrap_or_default());
    let issuers = issuers::check(settings, &root.key("issuers"));
    let dialects = declared::check(&settings.dialects, &root.key("dialects"));
    let authority = authority::check(settings, dialects.as_deref(), &root.key("authority"));
    let store = store::store(settings, &root.key("store"));
    let keys = store::keys(settings, store.as_ref(), &root.key("keys"));
    let refresh = running::refresh(&settings.refresh, &root.key("refresh"));
    let internal_jwt = internal_jwt::check(settings.internal_jwt.as_ref(), &root.key("internal_jwt"));
    let upstreams = upstreams::check(settings, dialects.as_deref(), &root.key("upstreams"));
    let mut routes = routes::check(settings, &root.key("routes"), upstreams.as_deref());
    let headers = root.key("refresh").key("successor_headers");
    let successors = successors::check(&settings.refresh.successor_headers, upstreams.as_deref(), &headers);
    let wanted = authority.as_ref().is_some_and(|authority| successors::are_wanted(authority.as_ref()));
    let successors = successors.map(|headers| wanted.then_some(headers));
    if let (Some(Some(headers)), Some(routes)) = (&successors, &mut routes) {
        successors::expose(headers, routes);
    }
    let of_own = authority.as_ref().and_then(Option::as_ref);
    decision::warn(listeners.as_deref(), routes.as_deref(), of_own, root);
    let cache = running::cache(&settings.cache, &root.key("cache"));
    let log = running::log(&settings.log, &root.key("log"));
    let traces = traces::check(&settings.traces, &root.key("traces"));
    let resource = running::resource(&settings.resource, &root.key("resource"));
    let watch = running::watch(&settings.reload, &root.key("reload"));
    let drain = running::drain(&settings.drain, &root.key("drain"));
    let workers = running::workers(settings.workers, &root.key("workers"));
    let config = Config {
        listeners: listeners?,
        health: health?,
        admin: admin?,
        trusted_proxies: trusted_proxies?,
        issuers: issuers?,
        authority: authority?,
        dialects: dialects?,
        store: store?,
        keys: keys?,
        refresh,
        successors: successors?,
        internal_jwt: internal_jwt?,
        upstreams: upstreams?,
        routes: routes?,
        cache,
        log: log?,
        traces: traces?,
        resource: resource?,
        watch,
        drain,
        workers,
    };
    weak::warn_of_published(&config, root);
    Some(config)
}
