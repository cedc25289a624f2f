use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use sidegate::config::MasterRing;

use super::{Redis, Setup, done, failed, text};
use crate::binary::Process;

/// Settings of a store on disk that a sidegate has served from, and has left.
async fn left(setup: &Setup, name: &str) -> String {
    let yaml = setup.redb(name);
    let mut process = Process::start(&yaml);
    process.address("main").await;
    process.signal("TERM");
    assert!(process.ended().await.success());
    yaml
}

#[tokio::test]
async fn a_store_that_somebody_serves_from_is_not_exported() {
    let setup = Setup::new("http://127.0.0.1:9");
    let yaml = setup.redb("sessions.redb");
    let process = Process::start(&yaml);
    process.address("main").await;
    let (code, said) = failed(setup.export(&yaml, &[]));
    assert!(code == 1 && said.contains("another process has it open: stop that one"), "{said}");

    let redis = Redis::start(&setup);
    let yaml = setup.yaml(&redis.store("sidegate"));
    let mut process = Process::start(&yaml);
    process.address("main").await;
    let (code, said) = failed(setup.export(&yaml, &[]));
    assert!(code == 1 && said.contains("1 process(es) serve from redis") && said.contains("stop them first"), "{said}");
    assert_eq!(done(setup.export(&yaml, &["--while-serving"]))["sessions"], 0);
    fs::remove_file(setup.path("sessions.moved")).unwrap();
    process.signal("TERM");
    process.ended().await;
    assert_eq!(done(setup.export(&yaml, &[]))["documents"], 1);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_remedy_and_by_the_exit_code() {
    let setup = Setup::new("http://127.0.0.1:9");
    let old = left(&setup, "old.redb").await;
    let new = setup.redb("new.redb");
    let wrong = |command: Command, code: i32, says: &str| {
        let (is, said) = failed(command);
        assert!(is == code && said.contains(says), "{is}: {said}");
    };
    wrong(setup.export(&setup.yaml("memory: {}"), &[]), 1, "live in the process that serves");
    wrong(setup.import(&setup.yaml("memory: {}"), &[]), 1, "live in the process that serves");
    wrong(setup.export("store: { colour: red }", &[]), 64, "colour");
    wrong(setup.export(&new, &[]), 1, "there is no such store");
    assert!(!setup.path("new.redb").exists());
    wrong(setup.import(&new, &[]), 1, "sessions.moved: No such file");
    wrong(setup.export(&old, &["--colour"]), 64, "--colour");

    let output = setup.export(&old, &[]).output().unwrap();
    let file = setup.path("sessions.moved");
    let summary = format!("{}: 0 session(s), of which 0 revoked; 1 document(s)\n", file.display());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), &*summary));
    // A line of how far it has come, and no escape sequences where nobody looks.
    assert_eq!(text(&output.stderr), "exporting: 0 sessions\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    wrong(setup.export(&old, &[]), 1, "is there already: name another file");

    let output = setup.import(&new, &["--dry-run"]).output().unwrap();
    assert!(text(&output.stdout).contains("0 would be kept"), "{}", text(&output.stdout));
    assert!(!setup.path("new.redb").exists(), "a trial makes nothing");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    wrong(setup.import(&new, &[]), 1, "record 2: the file ends too early; export again");
    fs::write(&file, whole).unwrap();
    fs::remove_file(setup.path("master.keys")).unwrap();
    setup.write_ring("master.keys", &MasterRing::generate().unwrap());
    wrong(setup.import(&new, &[]), 1, "master key 1 is another one than where the sessions come from");
    wrong(setup.export(&old, &[]), 1, "give the ring that belongs to it");
}

#[test]
fn help_shows_examples_and_exit_codes() {
    for what in ["export", "import"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
        let output = command.args(["sessions", what, "--help"]).output().unwrap();
        let said = text(&output.stdout);
        assert!(output.status.success() && said.contains("Examples:") && said.contains("Exit codes:"), "{said}");
    }
}
