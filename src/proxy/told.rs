//! What a collector of traces is told of an upstream: what the configuration says of it.

use crate::{
    config::{self, Target},
    spans::Attribute,
};

pub(super) fn of(upstream: &config::Upstream) -> Vec<Attribute> {
    let mut attributes = vec![("sidegate.upstream", (&upstream.name).into())];
    match &upstream.target {
        Target::Http { host, port } => attributes.extend(at("http", host, *port)),
        Target::Https { host, port, .. } => attributes.extend(at("https", host, *port)),
        Target::Unix(path) => {
            attributes.push(("server.address", path.display().to_string().into()));
            attributes.push(("network.transport", "unix".into()));
        }
    }
    attributes
}

fn at(scheme: &'static str, host: &str, port: u16) -> [Attribute; 3] {
    [("url.scheme", scheme.into()), ("server.address", host.to_owned().into()), ("server.port", port.into())]
}
