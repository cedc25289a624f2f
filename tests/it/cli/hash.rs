//! What stands in a configuration in the place of a secret.

use super::*;

fn hash(arguments: &[&str], typed: &str) -> (i32, String, String) {
    let mut command = binary();
    command.arg("hash").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A refused command line ends before it reads.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn fits(hash: &str, password: &str) -> bool {
    use argon2::{Argon2, PasswordVerifier};
    <Argon2<'_> as PasswordVerifier<str>>::verify_password(&Argon2::default(), password.as_bytes(), hash).is_ok()
}

#[test]
fn a_password_from_a_pipe_or_a_file_becomes_a_slow_hash() {
    let folder = scratch("hash");
    let file = folder.join("password");
    fs::write(&file, "correct horse\r\n").unwrap();
    for (arguments, typed) in
        [(&[][..], "correct horse\n"), (&[], "correct horse"), (&["--file", file.to_str().unwrap()], "")]
    {
        let (code, out, err) = hash(arguments, typed);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && out.ends_with('\n'), "{out}");
        assert!(fits(out.trim_end(), "correct horse"));
    }
    let (_, out, _) = hash(&["--memory", "7168", "--passes", "5", "--lanes", "2"], "x");
    assert!(out.starts_with("$argon2id$v=19$m=7168,t=5,p=2$"), "{out}");
}

#[test]
fn a_secret_is_made_with_its_hash() {
    let (code, out, err) = hash(&["--generate"], "");
    assert_eq!((code, err.as_str()), (0, ""));
    let (secret, hashed) = out.trim_end().split_once('\n').unwrap();
    // As long as `redex` allows, and 216 bits.
    assert!(secret.len() == 36 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{out}");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hashed, format!("sha256:{digits}"));
    assert_ne!(hash(&["--generate"], "").1, out);
}

#[test]
fn what_is_no_password_is_refused_and_never_shown() {
    let long = "x".repeat(5000);
    for (arguments, typed, says) in [
        (&[][..], "", "there is no password"),
        (&[], "\n", "there is no password"),
        (&[], "canary\nsecond", "one line of up to 4096 bytes is a password, and there is more"),
        (&[], &long, "one line of up to 4096 bytes"),
        (&["--file", "/nowhere"], "", "/nowhere: No such file"),
        (&["canary"], "", "unexpected argument"),
        (&["--memory", "64"], "canary", "64 is not in 7168..=262144"),
        (&["--generate", "--file", "x"], "", "cannot be used with"),
    ] {
        let (code, out, err) = hash(arguments, typed);
        assert_eq!((code, out.as_str()), (64, ""), "{arguments:?}");
        assert!(err.contains(says), "{err}");
        assert!(arguments == ["canary"] || !err.contains("canary"), "{err}");
    }
}
