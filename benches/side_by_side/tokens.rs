//! The identity provider of the comparison: a key, its key set, and tokens signed with it, as files.
//!
//! `bench_tokens --algorithm RS256 --count 50000 --directory DIR [--bytes 869]` writes `tokens`, one a line, `jwks.json`,
//! `public.pem`, `internal.pem`, a P-256 key for the JWT that upstreams receive, and `server.pem` with `server.key`, a
//! certificate that is its own authority, P-256 as well. The signing key is thrown away.

use std::{error::Error, fs, path::PathBuf};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};

#[path = "mint.rs"]
mod mint;
#[path = "wire.rs"]
#[allow(dead_code)]
mod wire;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(wire::option("--directory").ok_or("--directory is missing")?);
    let count = wire::option("--count").map_or(Ok(1000), |text| text.parse())?;
    let bytes = wire::option("--bytes").map_or(Ok(869), |text| text.parse())?;
    let algorithm = wire::option("--algorithm").unwrap_or_else(|| "RS256".to_owned());
    fs::create_dir_all(&directory)?;

    let signer = mint::Signer::generate(&algorithm)?;
    let mut tokens = signer.tokens(0, count, bytes)?.join("\n");
    tokens.push('\n');
    fs::write(directory.join("jwks.json"), signer.key_set()?.to_string())?;
    fs::write(directory.join("public.pem"), signer.public_pem()?)?;
    let internal = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    fs::write(directory.join("internal.pem"), mint::pem("PRIVATE KEY", internal.as_ref()))?;
    let server = rcgen::generate_simple_self_signed(vec!["api.example.com".to_owned()])?;
    fs::write(directory.join("server.pem"), server.cert.pem())?;
    fs::write(directory.join("server.key"), server.signing_key.serialize_pem())?;
    // Last: who finds this file finds the others.
    fs::write(directory.join("tokens"), tokens)?;
    Ok(())
}
