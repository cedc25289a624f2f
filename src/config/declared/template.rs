//! A text with placeholders: `Bearer {access_token}`, `{claim:user_id as integer}`. A brace of the text itself is
//! written twice. There is nothing else in it, so that it can be read backwards.

use crate::model::GrantType;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Never empty, and never beside another one.
    Text(String),
    /// Something of the request or of the answer, and in which type it is written: in its own if that is not said.
    Place(Place, Option<Kind>),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    RefreshToken,
    ApiKey,
    Username,
    Password,
    Company,
    ClientId,
    ClientSecret,
    Scope,
    AccessToken,
    IdToken,
    /// Seconds.
    ExpiresIn,
    /// When the access token ends.
    Expires,
    /// When it was issued.
    Issued,
    /// When the user signed in.
    Login,
    Claim(String),
    /// Of HTTP, as a number.
    Status,
    /// Of HTTP, in words.
    Reason,
    Code,
    Description,
    /// The name of a member that is wrong; the code if none is.
    Member,
    /// What is wrong with it; the description if none is.
    Problem,
}

/// The type in which a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Boolean,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a brace is not closed, or was never opened")]
    Brace,
    #[error("there is no such placeholder")]
    Place,
    #[error("what comes after \" as \" is not text, integer or boolean")]
    Kind,
}

impl Template {
    /// # Errors
    /// If a brace stands alone, or a placeholder is not known.
    pub fn parse(text: &str) -> Result<Template, Malformed> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (inside, after) = after
                .split_once('}')
                .filter(|(inside, _)| brace == "{" && !inside.contains('{'))
                .ok_or(Malformed::Brace)?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(placeholder(inside)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    pub fn places(&self) -> impl Iterator<Item = (&Place, Option<Kind>)> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(place, kind) => Some((place, *kind)),
            Part::Text(_) => None,
        })
    }

    /// The text of one without any placeholder.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The one placeholder, and the text before and after it.
    pub fn around(&self) -> Option<(&str, &Place, Option<Kind>, &str)> {
        match self.0.as_slice() {
            [Part::Place(place, kind)] => Some(("", place, *kind, "")),
            [Part::Text(before), Part::Place(place, kind)] => Some((before, place, *kind, "")),
            [Part::Place(place, kind), Part::Text(after)] => Some(("", place, *kind, after)),
            [Part::Text(before), Part::Place(place, kind), Part::Text(after)] => Some((before, place, *kind, after)),
            _ => None,
        }
    }
}

fn placeholder(inside: &str) -> Result<Part, Malformed> {
    let (name, kind) = match inside.split_once(" as ") {
        None => (inside, None),
        Some((name, "text")) => (name, Some(Kind::Text)),
        Some((name, "integer")) => (name, Some(Kind::Integer)),
        Some((name, "boolean")) => (name, Some(Kind::Boolean)),
        Some(_) => return Err(Malformed::Kind),
    };
    Place::parse(name).map(|place| Part::Place(place, kind)).ok_or(Malformed::Place)
}

impl Place {
    pub fn parse(name: &str) -> Option<Place> {
        if let Some(claim) = name.strip_prefix("claim:") {
            return (!claim.is_empty()).then(|| Place::Claim(claim.to_owned()));
        }
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, place)| place.clone())
    }

    /// As templates write it.
    pub fn name(&self) -> String {
        match self {
            Place::Claim(claim) => format!("claim:{claim}"),
            place => NAMES.iter().find(|(_, known)| known == place).map_or("", |(name, _)| name).to_owned(),
        }
    }

    /// What a request for `grant` must say, and what it may say besides.
    pub fn of_request(grant: GrantType) -> (&'static [Place], &'static [Place]) {
        const CLIENT: &[Place] = &[Place::ClientId, Place::ClientSecret, Place::Scope];
        const USER: &[Place] = &[Place::Company, Place::ClientId, Place::ClientSecret, Place::Scope];
        match grant {
            GrantType::RefreshToken => (&[Place::RefreshToken], CLIENT),
            GrantType::ApiKey => (&[Place::ApiKey], CLIENT),
            GrantType::Password => (&[Place::Username, Place::Password], USER),
            GrantType::ClientCredentials => (&[], CLIENT),
            // No such request has its members in a body alone.
            GrantType::AuthorizationCode | GrantType::Implicit | GrantType::Basic => (&[], &[]),
        }
    }

    /// What a success may say. Any claim may stand there as well.
    pub const OF_RESPONSE: [Place; 11] = [
        Place::AccessToken,
        Place::RefreshToken,
        Place::IdToken,
        Place::ExpiresIn,
        Place::Expires,
        Place::Issued,
        Place::Login,
        Place::Scope,
        Place::Username,
        Place::Status,
        Place::Reason,
    ];

    pub const OF_ERROR: [Place; 6] =
        [Place::Code, Place::Description, Place::Status, Place::Reason, Place::Member, Place::Problem];
}

const NAMES: [(&str, Place); 20] = [
    ("refresh_token", Place::RefreshToken),
    ("api_key", Place::ApiKey),
    ("username", Place::Username),
    ("password", Place::Password),
    ("company", Place::Company),
    ("client_id", Place::ClientId),
    ("client_secret", Place::ClientSecret),
    ("scope", Place::Scope),
    ("access_token", Place::AccessToken),
    ("id_token", Place::IdToken),
    ("expires_in", Place::ExpiresIn),
    ("expires", Place::Expires),
    ("issued", Place::Issued),
    ("login", Place::Login),
    ("status", Place::Status),
    ("reason", Place::Reason),
    ("code", Place::Code),
    ("description", Place::Description),
    ("member", Place::Member),
    ("problem", Place::Problem),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_placeholder_may_stand_alone_or_in_a_text() {
        let parse = |text| Template::parse(text).unwrap();
        assert_eq!(parse("plain").constant(), Some("plain"));
        assert_eq!(parse("").constant(), Some(""));
        assert_eq!(parse("{{a}}").constant(), Some("{a}"));
        assert_eq!(parse("{access_token}").around(), Some(("", &Place::AccessToken, None, "")));
        assert_eq!(parse("Bearer {access_token}!").around(), Some(("Bearer ", &Place::AccessToken, None, "!")));
        assert_eq!(parse("{expires_in as text}").around(), Some(("", &Place::ExpiresIn, Some(Kind::Text), "")));
        let claim = Place::Claim("https://example.com/id".into());
        assert_eq!(
            parse("{claim:https://example.com/id as integer}").around(),
            Some(("", &claim, Some(Kind::Integer), ""))
        );
        assert_eq!(parse("{code}: {description}").places().count(), 2);
        assert_eq!(parse("{code}{description}").around(), None);
    }

    #[test]
    fn anything_else_with_a_brace_is_refused() {
        for (text, wrong) in [
            ("{", Malformed::Brace),
            ("}", Malformed::Brace),
            ("a}b", Malformed::Brace),
            ("{access_token", Malformed::Brace),
            ("{a{code}", Malformed::Brace),
            ("{}", Malformed::Place),
            ("{ code }", Malformed::Place),
            ("{Code}", Malformed::Place),
            ("{claim:}", Malformed::Place),
            ("{code as }", Malformed::Kind),
            ("{code as number}", Malformed::Kind),
        ] {
            assert_eq!(Template::parse(text), Err(wrong), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_is_written_back(text in "([a-z{}]|as |claim:|code|\\PC){0,20}") {
            if let Ok(template) = Template::parse(&text) {
                let write = |part: &Part| match part {
                    Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
                    Part::Place(place, None) => format!("{{{}}}", place.name()),
                    Part::Place(place, Some(kind)) => {
                        format!("{{{} as {}}}", place.name(), format!("{kind:?}").to_lowercase())
                    }
                };
                let written: String = template.0.iter().map(write).collect();
                prop_assert_eq!(Template::parse(&written), Ok(template));
                prop_assert_eq!(written, text);
            }
        }

        #[test]
        fn any_text_can_be_a_constant(text in "\\PC{0,20}") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            let template = Template::parse(&escaped).unwrap();
            prop_assert_eq!(template.constant(), Some(&*text));
        }
    }
}
