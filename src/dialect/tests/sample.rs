//! The grant that the golden files tell of, and the options that they are written under.

use std::{fs, path::Path, sync::Arc};

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::{
    config::{Consinco, DeclaredDialect, Envelope, Environment, Issued, JsonNames, NumberForm, Redex, load_str},
    model::{RefreshForm, Scope, Secret, TokenGrant, UnixTime},
};

/// 2021-01-28T10:41:08-03:00.
pub const ISSUED: UnixTime = UnixTime(1_611_841_268);

/// `bare`: nothing that may be absent; `markup`: what must be escaped in every text.
pub fn grant(kind: Option<&str>) -> TokenGrant {
    let full = TokenGrant {
        access_token: Secret::new("eyJhbGciOiJSUzI1NiJ9.e30.c2ln".into()),
        expires_in: 3600,
        scope: Scope::parse("REConnect_api REDEX_api REHash_api").unwrap(),
        refresh_token: Some(Secret::new("9b2c7a31-6f0e-4b52-8d7e-0c1f5a9e2d44".into())),
        id_token: None,
        claims: claims(json!({
            "email": "maria@example.com", "user_id": 6, "sequence": "8", "role": "Administrator", "shop": 12,
            "companyType": "M", "external": "true", "ADUser": "EXAMPLE\\maria", "productLine": "varejo",
        })),
        username: Some("maria".into()),
        auth_time: ISSUED.minus(600),
        issued: ISSUED,
    };
    match kind {
        None => full,
        Some("bare") => TokenGrant { refresh_token: None, claims: claims(json!({})), username: None, ..full },
        Some("markup") => TokenGrant {
            access_token: Secret::new(MARKUP.into()),
            refresh_token: Some(Secret::new(MARKUP.into())),
            scope: ["<b>&'".to_owned()].into_iter().collect(),
            claims: claims(json!({
                "email": MARKUP, "user_id": 6, "sequence": 8, "role": MARKUP, "shop": MARKUP, "companyType": MARKUP,
                "external": true,
            })),
            username: Some(MARKUP.into()),
            ..full
        },
        Some(other) => panic!("no such grant: {other}"),
    }
}

fn claims(claims: Value) -> Arc<Map<String, Value>> {
    match claims {
        Value::Object(claims) => Arc::new(claims),
        _ => unreachable!(),
    }
}

pub fn redex() -> Redex {
    Redex {
        token: None,
        refresh: None,
        envelope: Envelope::Current,
        expires_in: NumberForm::Text,
        refresh_form: RefreshForm::Compact,
    }
}

pub fn consinco() -> Consinco {
    let claims = [
        ("username", "email"),
        ("id", "user_id"),
        ("userSequence", "sequence"),
        ("permissionRole", "role"),
        ("company", "shop"),
        ("isExt", "external"),
    ];
    Consinco {
        login: None,
        refresh: None,
        client: "pdv".into(),
        json_names: JsonNames::Documented,
        extra_members: false,
        issued: Issued::Login,
        zone: TimeZone::get("America/Sao_Paulo").unwrap(),
        claims: claims.map(|(member, claim)| (member.to_owned(), claim.to_owned())).to_vec(),
    }
}

/// The declarations of `tests/golden/declared`, as they are written.
pub fn declared(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/declared");
    fs::read_to_string(folder.join(format!("{file}.yaml"))).unwrap()
}

/// The dialect `name` of `source`, the rest of the configuration being of no matter.
pub fn dialect(source: &str, name: &str) -> DeclaredDialect {
    const REST: &str = "
issuers: [{name: corp, issuer: 'https://idp.example.com'}]
upstreams: [{name: app, url: 'http://127.0.0.1:3000'}]
routes: [{name: all, paths: ['/*'], upstream: app, policy: {audiences: [api]}}]
";
    let loaded = load_str(&format!("{source}{REST}"), "c.yaml", Path::new("/nowhere"), &Environment::default());
    let dialects = loaded.unwrap_or_else(|problems| panic!("{problems}")).config.dialects;
    dialects.iter().find(|dialect| *dialect.name == *name).map(|dialect| (**dialect).clone()).unwrap()
}

/// The options under which what was read is written again: each member is the claim of its own name.
pub fn unmapped(options: &Consinco) -> Consinco {
    let members = ["username", "name", "userCode", "loginId"];
    Consinco {
        claims: members.map(|member| (member.to_owned(), member.to_owned())).to_vec(),
        issued: Issued::Login,
        ..options.clone()
    }
}

const MARKUP: &str = "<b>&\"'Zoë\\/😀";
