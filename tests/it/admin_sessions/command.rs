use std::process::{Command, Output};

use serde_json::Value;

use super::{Setup, TOKEN, write_token};

impl Setup {
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
        command.arg("sessions").args(arguments).args(["--admin", &self.sidegate.admin.to_string()]);
        command.arg("--token-file").arg(&self.token_file).env_clear();
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_pipe_gets_tabs_and_json_gets_a_line_each() {
    let setup = Setup::new().await;
    let (ana, _) = setup.open("ana", "shop").await;
    setup.open("bob", "app").await;

    let output = setup.run(&["list"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2);
    let output = setup.run(&["list", "--user", "ana"]).await;
    let columns: Vec<&str> = text(&output.stdout).trim_end().split('\t').collect();
    assert_eq!(columns[..5], [ana.as_str(), "ana", "shop", "password", "alive"]);
    assert_eq!(columns.len(), 8);
    assert!(columns[5].ends_with('Z'), "{columns:?}");

    let output = setup.run(&["list", "--client", "app", "--json"]).await;
    let line: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!((&line["username"], &line["client"]), (&"bob".into(), &"app".into()));
    let output = setup.run(&["list", "--user", "nobody"]).await;
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(0), 0, 0));
}

#[tokio::test]
async fn a_session_is_shown_and_ended_by_its_id_or_by_whose_it_is() {
    let setup = Setup::new().await;
    let ((id, token), (_, second)) = (setup.open("ana", "shop").await, setup.open("ana", "app").await);
    let output = setup.run(&["show", "--id", &id]).await;
    assert!(text(&output.stdout).contains(&format!("id: {id}\n")), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("audiences: orders-api\n"));
    assert!(!text(&output.stdout).contains("sga1_"));

    let output = setup.run(&["revoke", "--id", &id]).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "1 session(s) ended\n"));
    assert_eq!((setup.forwarded(&token).await, setup.forwarded(&second).await), (401, 200));
    let output = setup.run(&["revoke", "--user", "ana", "--json"]).await;
    assert_eq!(text(&output.stdout), "{\"revoked\":1}\n");
    assert_eq!(setup.forwarded(&second).await, 401);
    let output = setup.run(&["list", "--all"]).await;
    assert_eq!(text(&output.stdout).matches("\toperator\t").count(), 2, "{}", text(&output.stdout));
}

#[tokio::test]
async fn what_went_wrong_is_told_by_the_exit_code_and_never_shows_the_token() {
    let setup = Setup::new().await;
    for arguments in [&["show", "--id", "-unknown"][..], &["revoke", "--id", "../status"]] {
        let output = setup.run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("there is no such session"));
    }
    // Nobody ends every session by leaving the filter out.
    for wrong in [&["revoke"][..], &["revoke", "--id", "a", "--user", "b"], &["show"], &["list", "--colour"]] {
        assert_eq!(setup.run(wrong).await.status.code(), Some(64), "{wrong:?}");
    }
    write_token(&setup.token_file, &format!("{TOKEN}-wrong"));
    let output = setup.run(&["list"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("this is not the token") && !text(&output.stderr).contains(TOKEN));

    let nobody = ["sessions", "list", "--admin", "127.0.0.1:1", "--token-file"];
    let run = |file: &str| Command::new(env!("CARGO_BIN_EXE_sidegate")).args(nobody).arg(file).output().unwrap();
    let output = run(setup.token_file.to_str().unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nobody answers on 127.0.0.1:1"), "{}", text(&output.stderr));
    assert_eq!(run("/nowhere/token").status.code(), Some(64));
}

#[test]
fn help_shows_examples_and_exit_codes() {
    for command in [&["sessions"][..], &["sessions", "list"], &["sessions", "show"], &["sessions", "revoke"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_sidegate")).args(command).arg("--help").output().unwrap();
        assert!(output.status.success() && text(&output.stdout).contains("Example"), "{command:?}");
    }
}

#[test]
fn a_reader_who_has_seen_enough_ends_a_command_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    let output = command.arg("schema").stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}
