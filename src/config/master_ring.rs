//! The text of a ring of master keys: one key a line, its id, a colon, and 32 bytes in base64url.

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

use super::MasterRing;
use crate::model::{BoxError, Secret};

impl MasterRing {
    /// Empty lines and lines that begin with `#` are passed over; the first key is current. `None`: not a ring.
    pub fn parse(text: &str) -> Option<MasterRing> {
        let key = |line: &str| {
            let (id, key) = line.trim().split_once(':')?;
            let key: [u8; 32] = BASE64URL.decode(key).ok()?.try_into().ok()?;
            Some((id.parse().ok()?, Secret::new(key)))
        };
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let keys: Vec<(u32, Secret<[u8; 32]>)> = lines.map(key).collect::<Option<_>>()?;
        let twice = keys.iter().enumerate().any(|(at, (id, _))| keys[..at].iter().any(|(other, _)| other == id));
        (!keys.is_empty() && !twice).then_some(MasterRing(keys))
    }

    /// What [`MasterRing::parse`] reads.
    pub fn text(&self) -> Secret<String> {
        let mut text = String::new();
        for (id, key) in &self.0 {
            let key = Secret::new(BASE64URL.encode(key.expose()));
            text.push_str(&format!("{id}:{}\n", key.expose()));
        }
        Secret::new(text)
    }

    /// A ring of one key.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn generate() -> Result<MasterRing, BoxError> {
        MasterRing(Vec::new()).rotated()
    }

    /// The ring with a new current key; the others stay to open what they sealed.
    ///
    /// # Errors
    /// If there is no randomness, or no id left.
    pub fn rotated(&self) -> Result<MasterRing, BoxError> {
        let newest = self.0.iter().map(|(id, _)| *id).max().unwrap_or(0);
        let id = newest.checked_add(1).ok_or("no id is left for another master key")?;
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| "no randomness")?;
        let new = (id, Secret::new(key));
        Ok(MasterRing(std::iter::once(new).chain(self.0.iter().cloned()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_reads_what_it_wrote_and_a_rotation_puts_a_new_key_first() {
        let ring = MasterRing::generate().unwrap();
        let rotated = ring.rotated().unwrap();
        assert_eq!(rotated.0.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(rotated.0[1], ring.0[0]);
        assert_eq!(MasterRing::parse(rotated.text().expose()), Some(rotated));
    }

    #[test]
    fn what_is_no_ring_is_not_read_as_one() {
        let key = BASE64URL.encode([7; 32]);
        for text in [
            String::new(),
            "# only a comment\n".to_owned(),
            key.clone(),
            format!("x:{key}"),
            format!("1:{}", BASE64URL.encode([7; 31])),
            format!("1:{key}\n1:{key}"),
            format!("1:{key}="),
        ] {
            assert_eq!(MasterRing::parse(&text), None, "{text}");
        }
        assert!(MasterRing::parse(&format!("# ring\n\n 2:{key}\n1:{key}\n")).is_some());
    }
}
