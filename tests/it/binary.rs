//! The program itself: what it prints, how it ends, what signals do.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Scripted, Wire, get, issuer::scratch, request, send, wire::PATIENCE};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidegate")).args(arguments).env("RUST_BACKTRACE", "0").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn file(yaml: &str) -> PathBuf {
    let path = scratch("binary").join("sidegate.yaml");
    fs::write(&path, yaml).unwrap();
    path
}

/// One public route to `upstream`, on free ports.
fn settings(upstream: SocketAddr, path: &str) -> String {
    format!(
        "listeners: [{{ name: main, address: \"127.0.0.1:0\" }}]\nhealth: {{ address: \"127.0.0.1:0\" }}\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nupstreams: [{{ name: app, url: \"http://{upstream}\" }}]\n\
         routes: [{{ name: all, paths: [\"{path}\"], upstream: app, public: true }}]\ndrain: {{ timeout: 30s }}\nworkers: 1\n"
    )
}

/// A running `sidegate run`, killed with the test.
pub struct Process {
    child: Child,
    config: PathBuf,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer.
async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "it never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Process {
    pub fn start(yaml: &str) -> Process {
        let config = file(yaml);
        let log = config.with_extension("log");
        let child = Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .args(["run", "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Process { child, config, log }
    }

    fn lines(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a line of the log.
    async fn line(&self, message: &str) -> Value {
        eventually(|| self.lines().into_iter().find(|line| line["message"] == message)).await
    }

    pub async fn address(&self, listener: &str) -> SocketAddr {
        eventually(|| {
            let line =
                self.lines().into_iter().find(|line| line["message"] == "listening" && line["listener"] == listener);
            line?["address"].as_str()?.parse().ok()
        })
        .await
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually(|| child.try_wait().unwrap()).await
    }

    pub async fn status(&self) -> Value {
        let mut asked = request("GET", "/status", "");
        asked.headers_mut().insert("host", "localhost".parse().unwrap());
        send(self.address("admin").await, asked).await.json()
    }
}

#[test]
fn a_wrong_configuration_ends_with_64_and_every_problem() {
    let path = file(
        "listeners: [{ address: nowhere }]\nupstreams: [{ name: app, url: \"ftp://x\", colour: red }]\n\
         routes: [{ name: all, paths: [\"x\"], upstream: other, public: true }]\ncache: { max_bytes: many }\n",
    );
    for command in ["run", "check"] {
        let output = run(&[command, "-c", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(64), "{command}");
        let printed = text(&output.stderr);
        for problem in ["listeners[0].address", "upstreams[0].url", "colour", "routes[0].upstream", "cache.max_bytes"] {
            assert!(printed.contains(problem), "{command}: {problem} is not in\n{printed}");
        }
        assert!(printed.contains("sidegate.yaml:1:") && printed.contains("problem(s)"), "{printed}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn routes_that_contradict_each_other_end_with_64_too() {
    let path = file(
        "upstreams: [{ name: app, url: \"http://127.0.0.1:1\" }]\nroutes:\n  \
         - { name: one, paths: [/x], upstream: app, public: true }\n  \
         - { name: two, paths: [/x], upstream: app, public: true }\n",
    );
    let output = run(&["run", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("routes `one` and `two` both take `/x`"), "{}", text(&output.stderr));
}

#[test]
fn a_file_that_is_not_there_ends_with_64_and_its_name() {
    let output = run(&["run", "-c", "/nowhere/sidegate.yaml"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("/nowhere/sidegate.yaml"));
}

#[test]
fn a_port_in_use_ends_with_1_and_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let path = file(&settings("127.0.0.1:1".parse().unwrap(), "/*").replacen("127.0.0.1:0", &address, 1));
    let output = run(&["run", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
}

#[test]
fn check_schema_and_help_say_what_they_should() {
    let path = file(&settings("127.0.0.1:1".parse().unwrap(), "/*"));
    let output = run(&["check", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("good. 1 listener(s), 0 issuer(s), 1 upstream(s), 1 route(s), 1 of them public")
    );

    let output = run(&["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && schema["properties"]["routes"].is_object());
    let page = run(&["schema", "--markdown"]);
    assert!(page.status.success() && text(&page.stdout).contains("\n## `routes[].policy`\n"));

    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for word in ["run", "check", "explain", "quickstart", "schema", "health", "Examples:"] {
        assert!(text(&output.stdout).contains(word), "{word}");
    }
    for command in ["run", "check", "explain", "quickstart", "schema", "health"] {
        let output = run(&[command, "--help"]);
        assert!(output.status.success() && text(&output.stdout).contains("Example"), "{command}");
    }
    assert_eq!(text(&run(&["--version"]).stdout), format!("sidegate {}\n", sidegate::model::build::SHOWN));
    for wrong in [&["serve"][..], &["run"], &["run", "--colour"], &[]] {
        let output = run(wrong);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{wrong:?}");
    }
}

#[tokio::test]
async fn sigterm_lets_a_request_in_flight_finish_and_ends_with_0() {
    let upstream = Scripted::start().await;
    let mut process = Process::start(&settings(upstream.address, "/*"));
    let mut wire = Wire::connect(process.address("main").await).await;
    wire.say("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut answering = upstream.next().await;
    answering.head().await;

    process.signal("TERM");
    process.line("draining").await;
    answering.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await;
    assert!(wire.rest().await.ends_with("slow"));
    assert_eq!(process.ended().await.code(), Some(0));
    let drained = process.line("drained").await;
    assert_eq!((&drained["finished"], &drained["cut"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let upstream = Scripted::start().await;
    let mut process = Process::start(&settings(upstream.address, "/*"));
    let mut wire = Wire::connect(process.address("main").await).await;
    wire.say("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut answering = upstream.next().await;
    answering.head().await;

    process.signal("TERM");
    process.line("draining").await;
    process.signal("INT");
    // The drain would have waited for 30 s, which is longer than anybody here does.
    process.ended().await;
    assert_eq!(process.line("drained").await["cut"], 1);
    wire.rest().await;
}

#[tokio::test]
async fn sighup_takes_a_changed_file_over_and_keeps_the_old_one_for_a_broken_file() {
    let upstream = crate::support::Upstream::start().await;
    let process = Process::start(&settings(upstream.address, "/old"));
    let (main, health) = (process.address("main").await, process.address("health").await);
    assert_eq!(get(main, "/old", "").await.status, 200);

    fs::write(&process.config, settings(upstream.address, "/new")).unwrap();
    process.signal("HUP");
    process.line("configuration taken over").await;
    assert_eq!(get(main, "/new", "").await.status, 200);
    assert_eq!(get(main, "/old", "").await.status, 404);

    fs::write(&process.config, "routes: [{ name: x, colour: red }]\n").unwrap();
    process.signal("HUP");
    let line = process.line("the configuration was refused, the old one runs on").await;
    assert!(line["error"].as_str().unwrap().contains("colour"), "{line}");
    assert_eq!(get(main, "/new", "").await.status, 200);
    let status = process.status().await;
    assert_eq!((&status["generation"], &status["reloads"]["failed"]), (&2.into(), &1.into()));
    assert!(status["reloads"]["last_error"].as_str().unwrap().contains("colour"));
    let metrics = get(health, "/metrics", "").await;
    for line in [
        "sidegate_config_reloads_total{result=\"success\"} 1",
        "sidegate_config_reloads_total{result=\"failure\"} 1",
        "sidegate_config_last_reload_successful 0",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
}

#[tokio::test]
async fn health_asks_a_running_process() {
    let upstream = Scripted::start().await;
    let process = Process::start(&settings(upstream.address, "/*"));
    let address = process.address("health").await.to_string();
    let ask = async |arguments: &'static [&'static str]| {
        let address = address.clone();
        let asked = move || run(&[&["health", "--address", &address], arguments].concat());
        tokio::task::spawn_blocking(asked).await.unwrap()
    };
    assert_eq!(ask(&[]).await.status.code(), Some(0));
    assert_eq!(ask(&["--path", "/livez"]).await.status.code(), Some(0));
    let output = ask(&["--path", "/nothing"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("404"));
    let named = address.replace("127.0.0.1", "localhost");
    let output = tokio::task::spawn_blocking(move || run(&["health", "--address", &named])).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    drop(process);
    let output = ask(&[]).await;
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("nobody answers"));
}
