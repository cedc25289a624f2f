//! Who is behind sidegate, how it is configured, and what it must have been asked.

use std::{fmt::Write, path::Path};

use serde_json::Value;

use crate::support::authority::{
    API_KEY, Asked, Authority, CLIENT_ID, CLIENT_SECRET, COMPANY, PASSWORD, Speech, USERNAME, Wanted,
};

/// Who vouches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    Local,
    OAuth2,
    Redex,
    ConsincoJson,
    ConsincoXml,
}

/// Whose credentials the authority sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    Presented,
    Mapped,
}

impl Behind {
    pub fn speech(self) -> Option<Speech> {
        match self {
            Behind::Local => None,
            Behind::OAuth2 => Some(Speech::OAuth2),
            Behind::Redex => Some(Speech::Redex),
            Behind::ConsincoJson | Behind::ConsincoXml => Some(Speech::Consinco),
        }
    }

    /// The key `remote`.
    pub fn yaml(self, authority: &Authority, accounts: Accounts, secrets: &Path) -> String {
        let base = format!("http://{}", authority.address);
        let accounts = if accounts == Accounts::Mapped { "mapped" } else { "presented" };
        let secret = secret_file(secrets, "client", CLIENT_SECRET);
        let client = format!("client: {{ id: {}, secret_file: {secret} }}", Value::from(CLIENT_ID));
        let (dialect, rest) = match self {
            Behind::Local => return String::new(),
            Behind::OAuth2 => ("oauth2", format!("url: \"{base}/oauth20/token\", {client}")),
            Behind::Redex => ("redex", format!("url: \"{base}\", {client}")),
            Behind::ConsincoJson => ("consinco", format!("url: \"{base}\", company: {}", Value::from(COMPANY))),
            Behind::ConsincoXml => {
                ("consinco", format!("url: \"{base}\", format: xml, company: {}", Value::from(COMPANY)))
            }
        };
        format!("  remote: {{ dialect: {dialect}, accounts: {accounts}, {rest} }}\n")
    }

    /// What is used there in somebody's place, as a key of a user or a client.
    pub fn account(self, secrets: &Path) -> String {
        let mut yaml = String::from("account: { ");
        match self {
            Behind::Local => return String::new(),
            Behind::Redex => write!(yaml, "api_key_file: {}", secret_file(secrets, "key", API_KEY)).unwrap(),
            Behind::OAuth2 | Behind::ConsincoJson | Behind::ConsincoXml => {
                let password = secret_file(secrets, "password", PASSWORD);
                write!(yaml, "username: {}, password_file: {password}", Value::from(USERNAME)).unwrap();
            }
        }
        if matches!(self, Behind::ConsincoJson | Behind::ConsincoXml) {
            write!(yaml, ", company: {}", Value::from(COMPANY)).unwrap();
        }
        yaml + " }"
    }

    /// How a session must have been begun there.
    pub fn begun(self) -> Wanted {
        let company = match self {
            Behind::ConsincoJson | Behind::ConsincoXml => Some(COMPANY.to_owned()),
            _ => None,
        };
        match self {
            Behind::Redex => Wanted::ApiKey(API_KEY.to_owned()),
            _ => Wanted::Password { username: USERNAME.to_owned(), password: PASSWORD.to_owned(), company },
        }
    }

    /// Exactly as the published samples ask, and nothing of the client's own request.
    pub fn assert_asked(self, asked: &Asked) {
        let media = match self {
            Behind::OAuth2 => "application/x-www-form-urlencoded",
            Behind::ConsincoXml => "application/xml; charset=utf-8",
            Behind::ConsincoJson => "application/json; charset=utf-8",
            Behind::Redex => "application/json",
            Behind::Local => panic!("nobody is outside"),
        };
        let accept = if self == Behind::ConsincoXml { "application/xml" } else { "application/json" };
        assert!(asked.wanted.is_some(), "not a request of this API: {asked:?}");
        assert_eq!(asked.method, "POST");
        assert_eq!(asked.headers["content-type"], media);
        assert_eq!(asked.headers["accept"], accept);
        assert_eq!(asked.headers.contains_key("authorization"), self == Behind::OAuth2);
        for name in ["cookie", "x-forwarded-for", "x-request-id", "forwarded"] {
            assert!(!asked.headers.contains_key(name), "{name} went out: {asked:?}");
        }
    }
}

fn secret_file(folder: &Path, name: &str, secret: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, secret).unwrap();
    Value::from(file.to_str().unwrap()).to_string()
}
