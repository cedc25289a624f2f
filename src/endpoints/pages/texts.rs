//! What the pages say, one file per language. A new language is a new file here and a line in [`ALL`]; the compiler
//! lists what it has not yet said.

mod en;
mod pt;

use serde::Serialize;

/// Templates see them as `t`. Words in braces are replaced by the templates.
#[derive(Debug, Serialize)]
pub struct Texts {
    /// As in `lang` (BCP 47); its first part is what `Accept-Language` is held against.
    pub lang: &'static str,
    pub sign_in: &'static str,
    /// `{client}`
    pub sign_in_to: &'static str,
    pub username: &'static str,
    pub password: &'static str,
    pub remember: &'static str,
    pub wrong: &'static str,
    /// `{seconds}`
    pub throttled: &'static str,
    /// `{minutes}`
    pub throttled_long: &'static str,
    pub consent: &'static str,
    /// `{client}`
    pub consent_asks: &'static str,
    pub consent_scopes: &'static str,
    /// `{user}`
    pub signed_in_as: &'static str,
    /// `{host}`
    pub goes_to: &'static str,
    pub allow: &'static str,
    pub deny: &'static str,
    pub expired: &'static str,
    pub expired_text: &'static str,
    pub start_again: &'static str,
    /// `{id}`
    pub reference: &'static str,
    pub broken_link: &'static str,
    pub broken_link_advice: &'static str,
    pub client_missing: &'static str,
    pub client_unknown: &'static str,
    pub redirect_missing: &'static str,
    pub redirect_unknown: &'static str,
    pub too_long: &'static str,
    pub other_browser: &'static str,
    pub other_browser_text: &'static str,
    pub other_sign_in: &'static str,
    pub other_sign_in_text: &'static str,
    pub unreadable: &'static str,
    pub unreadable_text: &'static str,
    pub failed: &'static str,
    pub failed_text: &'static str,
}

/// The first one is spoken to those who ask for none of them.
pub const ALL: [&Texts; 2] = [&en::TEXTS, &pt::TEXTS];
