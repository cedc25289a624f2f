//! The listeners beside the public ones: for probes, and for operators.

use super::{
    files,
    listeners::{address, bound},
    section::Section,
};
use crate::{
    config::{
        Address, Admin, Listener,
        settings::{self, Settings},
    },
    model::Secret,
};

/// `health` and `admin`; outside, `None` if one is wrong; inside, `None` if it is off.
pub(super) fn check(
    settings: &Settings,
    root: &Section<'_>,
    listeners: &[Listener],
) -> (Option<Option<Address>>, Option<Option<Admin>>) {
    let side = |key: &'static str, settings: Option<Option<&String>>, example| match settings {
        Some(text) => {
            let section = root.key(key);
            let text = section.required("address", text, example)?;
            address(text, &section.key("address")).map(Some)
        }
        None => Some(None),
    };
    let health = side("health", settings.health.as_ref().map(|side| side.address.as_ref()), "127.0.0.1:9901");
    let at = side("admin", settings.admin.as_ref().map(|side| side.address.as_ref()), "127.0.0.1:9902");
    let admin_section = root.key("admin").key("address");
    if let Some(Some(Address::Tcp(address))) = &at
        && !address.ip().is_loopback()
    {
        admin_section.problem(
            format!("{} can be reached from other machines", admin_section.shown(address)),
            "use 127.0.0.1, [::1] or unix:/path",
        );
    }
    let taken = |side: &Option<Option<Address>>| side.as_ref().and_then(|side| side.as_ref()).and_then(bound);
    for (key, mine) in [("health", taken(&health)), ("admin", taken(&at))] {
        let Some(mine) = mine else { continue };
        let section = root.key(key).key("address");
        if let Some(index) = listeners.iter().position(|listener| bound(&listener.address).as_ref() == Some(&mine)) {
            section.problem(format!("{} is already used by listeners[{index}]", section.shown(&mine)), "");
        } else if key == "admin" && taken(&health).as_ref() == Some(&mine) {
            section.problem(format!("{} is already used by health", section.shown(&mine)), "");
        }
    }
    let token = settings.admin.as_ref().map_or(Some(None), |admin| token(admin, &root.key("admin").key("token_file")));
    (health, at.zip(token).map(|(address, token)| address.map(|address| Admin { address, token })))
}

/// Outside, `None` if it is wrong; inside, `None` if there is none.
fn token(settings: &settings::Admin, section: &Section<'_>) -> Option<Option<Secret<String>>> {
    let Some(file) = &settings.token_file else { return Some(None) };
    let token = files::secret_text(file, section)?;
    if token.expose().len() < SHORTEST_TOKEN || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        section.problem(
            format!("the token is not {SHORTEST_TOKEN} or more visible characters"),
            "openssl rand -hex 32 makes a good one",
        );
        return None;
    }
    Some(Some(token))
}

/// It ends sessions, and nothing slows a guess down for good.
const SHORTEST_TOKEN: usize = 16;
