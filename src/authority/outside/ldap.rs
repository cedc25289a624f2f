//! Users verified by a bind at a directory (RFC 4511), one connection each: the directory decides, and what its entry
//! says becomes claims.

use std::{future::Future, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, dn_escape};
use rustls::ClientConfig;
use serde_json::{Map, Value};
use tokio::{sync::OnceCell, task::JoinSet};
use url::Url;

use super::{Denied, Person};
use crate::{
    config::{LdapUsers, NamedFile},
    fetch,
    model::Secret,
};

pub struct Directory {
    url: Url,
    start_tls: bool,
    ca_file: Option<NamedFile>,
    /// Made at the first bind: reading the system's roots takes long.
    tls: OnceCell<Arc<ClientConfig>>,
    /// What stands before and behind the user's name.
    bind_dn: (String, String),
    /// Claim to attribute.
    claims: Vec<(String, String)>,
    subject: Option<String>,
    timeout: Duration,
}

impl Directory {
    pub fn new(settings: &LdapUsers) -> Directory {
        let (before, after) = settings.bind_dn.split_once("{username}").unwrap_or((&settings.bind_dn, ""));
        Directory {
            url: settings.url.clone(),
            start_tls: settings.start_tls,
            ca_file: settings.ca_file.clone(),
            tls: OnceCell::new(),
            bind_dn: (before.to_owned(), after.to_owned()),
            claims: settings.claims.clone(),
            subject: settings.subject.clone(),
            timeout: settings.timeout,
        }
    }

    /// `username` and `password` are not empty.
    pub async fn verify(&self, username: &str, password: &Secret<String>) -> Result<Person, Denied> {
        let settings = self.settings().await?;
        let talk = Talk {
            url: self.url.clone(),
            dn: self.dn(username),
            password: password.clone(),
            attributes: self.claims.iter().map(|(_, attribute)| attribute).chain(&self.subject).cloned().collect(),
        };
        // In tasks that end with this one: the client library expects its answers to be well formed, and one that is
        // not must cost this sign-in and nothing else.
        let mut tasks = JoinSet::new();
        let entry = in_task(&mut tasks, talk.run(settings));
        let entry = tokio::time::timeout(self.timeout, entry).await;
        let entry = entry.unwrap_or_else(|_| Err(unavailable(format!("no answer within {:?}", self.timeout))))?;
        self.person(username, &entry)
    }

    async fn settings(&self) -> Result<LdapConnSettings, Denied> {
        let settings = LdapConnSettings::new();
        if self.url.scheme() == "ldap" && !self.start_tls {
            return Ok(settings);
        }
        let ca_file = self.ca_file.clone();
        let tls = self.tls.get_or_try_init(async || fetch::tls(ca_file.as_ref()).map(Arc::new)).await;
        let tls = tls.map_err(|error| unavailable(error.to_string()))?;
        Ok(settings.set_config(tls.clone()).set_starttls(self.start_tls))
    }

    /// The name to bind with: whatever was typed stays one value of one attribute (RFC 4514, section 2.4).
    fn dn(&self, username: &str) -> String {
        format!("{}{}{}", self.bind_dn.0, dn_escape(username), self.bind_dn.1)
    }

    fn person(&self, username: &str, entry: &Entry) -> Result<Person, Denied> {
        let subject = match &self.subject {
            None => username.to_owned(),
            Some(attribute) => match entry.value(attribute) {
                Some(Value::String(subject)) => subject,
                _ => return Err(unavailable(format!("the user's entry does not have one {attribute}"))),
            },
        };
        let claims = self.claims.iter().filter_map(|(claim, attribute)| Some((claim.clone(), entry.value(attribute)?)));
        Ok(Person { subject, claims: claims.collect::<Map<_, _>>() })
    }
}

/// One conversation.
struct Talk {
    url: Url,
    dn: String,
    password: Secret<String>,
    attributes: Vec<String>,
}

impl Talk {
    async fn run(self, settings: LdapConnSettings) -> Result<Entry, Denied> {
        let (connection, mut ldap) =
            LdapConnAsync::from_url_with_settings(settings, &self.url).await.map_err(|error| broken(&error))?;
        let mut driver = JoinSet::new();
        driver.spawn(connection.drive());
        let bound = ldap.simple_bind(&self.dn, self.password.expose()).await.map_err(|error| broken(&error))?;
        match bound.rc {
            SUCCESS => {}
            code if REFUSED.contains(&code) => return Err(Denied::Wrong),
            code => return Err(unavailable(format!("the bind ended with code {code}"))),
        }
        let entry = self.read(&mut ldap).await;
        let _ = ldap.unbind().await; // the answer is there; it does not depend on a polite end
        entry
    }

    /// The user's own entry, read as the user.
    async fn read(&self, ldap: &mut Ldap) -> Result<Entry, Denied> {
        if self.attributes.is_empty() {
            return Ok(Entry(None));
        }
        let found = ldap.search(&self.dn, Scope::Base, "(objectClass=*)", &self.attributes).await;
        let (entries, _) = found.and_then(ldap3::SearchResult::success).map_err(|error| broken(&error))?;
        let entry = entries.into_iter().find(|entry| !entry.is_ref() && !entry.is_intermediate());
        Ok(Entry(entry.map(SearchEntry::construct)))
    }
}

/// What the directory shows the user of themselves.
struct Entry(Option<SearchEntry>);

impl Entry {
    /// Text, or a list of texts where there are several; what is no UTF-8, in base64. Names of attributes have no case.
    fn value(&self, attribute: &str) -> Option<Value> {
        let entry = self.0.as_ref()?;
        let named = |name: &String| name.eq_ignore_ascii_case(attribute);
        let text = entry.attrs.iter().find(|(name, _)| named(name)).map(|(_, values)| values.clone());
        let binary = || entry.bin_attrs.iter().find(|(name, _)| named(name)).map(|(_, values)| values);
        let mut values = match text {
            Some(values) => values,
            None => binary()?.iter().map(|value| BASE64_STANDARD.encode(value)).collect(),
        };
        match values.len() {
            0 => None,
            1 => values.pop().map(Value::String),
            _ => Some(values.into()),
        }
    }
}

async fn in_task<T: Send + 'static>(
    tasks: &mut JoinSet<Result<T, Denied>>,
    work: impl Future<Output = Result<T, Denied>> + Send + 'static,
) -> Result<T, Denied> {
    tasks.spawn(work);
    match tasks.join_next().await {
        Some(Ok(answer)) => answer,
        _ => Err(unavailable("its answer could not be read".to_owned())),
    }
}

/// What the library says of a failure may hold the name, not the password; the code says enough.
fn broken(error: &LdapError) -> Denied {
    unavailable(match error {
        LdapError::LdapResult { result } => format!("it answered with code {}", result.rc),
        LdapError::Io { source } => source.to_string(),
        _ => "the connection failed".to_owned(),
    })
}

fn unavailable(why: String) -> Denied {
    Denied::Unavailable(format!("the directory: {why}"))
}

const SUCCESS: u32 = 0;

/// This user may not come in: constraintViolation, noSuchObject, inappropriateAuthentication, invalidCredentials,
/// unwillingToPerform. Directories use them all for wrong passwords and for accounts that are locked or gone, and
/// nobody outside may tell one from the other.
const REFUSED: [u32; 5] = [19, 32, 48, 49, 53];

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(url: &str) -> Directory {
        Directory::new(&LdapUsers {
            url: Url::parse(url).unwrap(),
            start_tls: false,
            ca_file: None,
            bind_dn: "uid={username},ou=people,dc=example,dc=com".to_owned(),
            claims: vec![("email".to_owned(), "Mail".to_owned())],
            subject: Some("uid".to_owned()),
            timeout: Duration::from_secs(20),
        })
    }

    #[test]
    fn whatever_is_typed_stays_within_its_attribute() {
        let directory = directory("ldap://127.0.0.1");
        for (typed, dn) in [
            ("ana", "ana"),
            ("ana,ou=admins", "ana\\2cou\\3dadmins"),
            ("*)(uid=*", "*)(uid\\3d*"),
            ("a\0b", "a\\00b"),
            (" #a+b\"<>;\\ ", "\\20#a\\2bb\\22\\3c\\3e\\3b\\5c\\20"),
            ("#a", "\\23a"),
            ("zoé", "zoé"),
        ] {
            assert_eq!(directory.dn(typed), format!("uid={dn},ou=people,dc=example,dc=com"), "{typed:?}");
        }
    }

    #[test]
    fn attributes_become_claims_one_value_or_several_whatever_their_case() {
        let texts = [("uid", vec!["ana"]), ("MAIL", vec!["a@b", "c@d"]), ("gone", vec![])];
        let attrs = texts.map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()));
        let bin_attrs = [("objectGUID".to_owned(), vec![vec![0xff, 0x00]])].into();
        let entry = Entry(Some(SearchEntry { dn: String::new(), attrs: attrs.into(), bin_attrs }));
        let directory = directory("ldap://127.0.0.1");
        let person = directory.person("ANA", &entry).unwrap();
        assert_eq!(person.subject, "ana");
        assert_eq!(person.claims["email"], serde_json::json!(["a@b", "c@d"]));
        assert_eq!(entry.value("objectguid"), Some("/wA=".into()));
        assert_eq!(entry.value("gone"), None);
        assert!(matches!(directory.person("ana", &Entry(None)), Err(Denied::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_directory_that_is_away_or_talks_nonsense_gives_no_answer() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let secret = Secret::new("swordfish".to_owned());
        let answer = directory("ldap://127.0.0.1:1").verify("ana", &secret).await;
        assert!(matches!(answer, Err(Denied::Unavailable(_))), "{answer:?}");

        // A bind response without its members; then text that is no BER at all.
        for nonsense in [&[0x30, 0x05, 0x02, 0x01, 0x01, 0x61, 0x00][..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ldap://{}", listener.local_addr().unwrap());
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1000]).await;
                let _ = stream.write_all(nonsense).await;
            });
            let answer = directory(&url).verify("ana", &secret).await;
            assert!(matches!(&answer, Err(Denied::Unavailable(why)) if !why.contains("swordfish")), "{answer:?}");
            server.await.unwrap();
        }
    }
}
