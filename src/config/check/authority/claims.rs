//! Claims that users and clients have of their own.

use serde_json::{Map, Value};

use crate::config::{RESERVED_CLAIMS, check::section::Section};

/// `None` if one of them is not theirs to have.
pub(super) fn check(claims: &[(String, Value)], section: &Section<'_>) -> Option<Map<String, Value>> {
    let reserved: Vec<&String> = claims.iter().map(|(claim, _)| claim).filter(|claim| is_reserved(claim)).collect();
    reserved.iter().for_each(|claim| refuse(claim, section));
    reserved.is_empty().then(|| claims.iter().cloned().collect())
}

/// The same for claims that are read elsewhere.
pub(super) fn check_names(claims: &[(String, String)], section: &Section<'_>) -> bool {
    let reserved: Vec<&String> = claims.iter().map(|(claim, _)| claim).filter(|claim| is_reserved(claim)).collect();
    reserved.iter().for_each(|claim| refuse(claim, section));
    reserved.is_empty()
}

fn is_reserved(claim: &str) -> bool {
    RESERVED_CLAIMS.contains(&claim)
}

fn refuse(claim: &str, section: &Section<'_>) {
    section.key(claim).problem("every token says this of itself", "call the claim otherwise");
}
