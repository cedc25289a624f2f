//! Refresh tokens that rotate, as fast as they can: the step alone, the refresh as the grant takes it, and over HTTP.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sidegate::{
    model::{GrantType, RefreshForm, Scope},
    session::{Access, Granted, Outcome, Refreshed, Rotate, Session, SessionId, Sessions, State},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    task::JoinSet,
};

use crate::wire;

pub type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub sessions: usize,
    pub at_once: usize,
    pub length: Duration,
}

impl Plan {
    pub fn read(sessions: usize) -> Result<Plan, Failure> {
        let number = |name: &str, default: usize| wire::option(name).map_or(Ok(default), |text| text.parse());
        Ok(Plan {
            sessions: number("--sessions", sessions)?,
            at_once: number("--at-once", 64)?,
            length: Duration::from_secs(number("--seconds", 5)? as u64),
        })
    }
}

/// What is done with a session, again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Step,
    Refresh,
}

/// What was seen in one window.
pub struct Seen {
    pub turns: usize,
    pub told: Value,
}

/// Sessions in the store, and the generation that each of them has.
pub async fn make(sessions: &Arc<Sessions>, plan: Plan) -> Result<Vec<(Session, u64)>, Failure> {
    let (mut made, mut tasks) = (Vec::with_capacity(plan.sessions), JoinSet::new());
    for _ in 0..plan.sessions {
        let (session, sessions) = (session(sessions)?, sessions.clone());
        tasks.spawn(async move { sessions.store().create(session.clone(), u32::MAX).await.map(|_| (session, 1)) });
        if tasks.len() >= plan.at_once.max(64) {
            made.extend(tasks.join_next().await.transpose()?.transpose()?);
        }
    }
    while let Some(one) = tasks.join_next().await {
        made.push(one??);
    }
    Ok(made)
}

/// Rotates all of them in turn, as Sessions sees it.
pub async fn directly(
    sessions: &Arc<Sessions>,
    mut made: Vec<(Session, u64)>,
    way: Way,
    plan: Plan,
) -> Result<Seen, Failure> {
    let share = made.len().div_ceil(plan.at_once.max(1));
    let (window, mut tasks) = (Window::open(plan.length), JoinSet::new());
    while !made.is_empty() {
        let mut own = made.split_off(made.len().saturating_sub(share));
        let sessions = sessions.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            'window: loop {
                for one in &mut own {
                    if window.begun.elapsed() > plan.length {
                        break 'window;
                    }
                    let asked = Instant::now();
                    turn(&sessions, one, way).await?;
                    latencies.push(asked.elapsed().as_micros() as u64);
                }
            }
            Ok::<_, Failure>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(of) = tasks.join_next().await {
        latencies.extend(of??);
    }
    window.close(latencies)
}

pub async fn turn(sessions: &Sessions, (session, generation): &mut (Session, u64), way: Way) -> Result<(), Failure> {
    let family = sessions.ring().family(session).ok_or("no master key")?;
    if way == Way::Refresh {
        let token = family.token(session, *generation).ok_or("no token")?;
        sessions.find_refresh(token.expose(), "app").await?.ok_or("the session is gone")?;
    }
    let now = sessions.now();
    let access = Access { digest: SessionId::random()?.0, issued: now, ..session.state.access[0].clone() };
    let step = Rotate { client: "app".to_owned(), presented: *generation, stable: false, idle: 86_400, access };
    match sessions.refresh(session, &family, step).await? {
        Refreshed::Good { outcome: Outcome::Rotated { generation: next }, .. } => *generation = next,
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

/// As a sign-in makes one.
fn session(sessions: &Sessions) -> Result<Session, Failure> {
    let now = sessions.now();
    let granted = Granted {
        subject: "sub-ana".to_owned(),
        username: Some("ana".to_owned()),
        grant: GrantType::Password,
        scope: Scope::parse("orders profile").map_err(|_| "a scope")?,
        audiences: vec!["api".to_owned()],
        claims: [("email".to_owned(), json!("ana@example.com"))].into_iter().collect(),
        auth_time: now,
        credential: Some([3; 16]),
        salt: [7; 16],
        master_key: sessions.ring().current(),
        outside: false,
    };
    let access = Access {
        digest: SessionId::random()?.0,
        issued: now,
        expires: now.plus(3600),
        generation: 1,
        scope: None,
        audiences: None,
        foreign: false,
        grace: 0,
    };
    let state = State {
        client: "app".to_owned(),
        created: now,
        absolute: now.plus(86_400),
        idle_until: now.plus(86_400),
        generation: 1,
        form: RefreshForm::Full,
        rotated_at: now,
        acknowledged: 0,
        retries: 0,
        revoked: None,
        access: vec![access],
        vouched: None,
    };
    Ok(Session { id: SessionId::random()?, state, granted, held: None })
}

/// Keep-alive connections from one thread of its own: `beginnings` of forms that sign in, and then refreshes only.
pub fn over_http(address: SocketAddr, basic: &str, plan: Plan) -> Result<Seen, Failure> {
    let head = format!(
        "POST /oauth20/token HTTP/1.1\r\nHost: api.test\r\nAuthorization: Basic {basic}\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: "
    );
    let load = thread::Builder::new().name(LOAD.to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signed_in = JoinSet::new();
            for index in 0..plan.at_once {
                let share = plan.sessions * (index + 1) / plan.at_once - plan.sessions * index / plan.at_once;
                signed_in.spawn(sign_in(address, head.clone(), share));
            }
            let signed_in = signed_in.join_all().await.into_iter().collect::<Result<Vec<_>, Failure>>()?;
            let (window, mut tasks) = (Window::open(plan.length), JoinSet::new());
            for one in signed_in {
                tasks.spawn(refresh(one, head.clone(), window.begun, plan.length));
            }
            let all = tasks.join_all().await.into_iter().collect::<Result<Vec<_>, Failure>>()?;
            window.close(all.concat())
        })
    })?;
    load.join().map_err(|_| "the load panicked")?
}

async fn sign_in(address: SocketAddr, head: String, share: usize) -> Result<(TcpStream, Vec<String>), Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut tokens = Vec::with_capacity(share);
    for _ in 0..share {
        tokens.push(ask(&mut stream, &head, "grant_type=password&username=ana&password=p").await?);
    }
    Ok((stream, tokens))
}

async fn refresh(
    (mut stream, mut tokens): (TcpStream, Vec<String>),
    head: String,
    begun: Instant,
    length: Duration,
) -> Result<Vec<u64>, Failure> {
    let mut latencies = Vec::new();
    loop {
        for token in &mut tokens {
            if begun.elapsed() > length {
                return Ok(latencies);
            }
            let asked = Instant::now();
            *token = ask(&mut stream, &head, &format!("grant_type=refresh_token&refresh_token={token}")).await?;
            latencies.push(asked.elapsed().as_micros() as u64);
        }
    }
}

/// The refresh token that is given for `form`.
async fn ask(stream: &mut TcpStream, head: &str, form: &str) -> Result<String, Failure> {
    stream.write_all(format!("{head}{}\r\n\r\n{form}", form.len()).as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the connection ended".into());
        }
        let Some(head) = wire::head(&answer) else { continue };
        let Some(body) = answer.get(head.length..head.length + head.content_length.unwrap_or(0)) else { continue };
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&answer).into());
        }
        let given: Value = serde_json::from_slice(body)?;
        return Ok(given["refresh_token"].as_str().ok_or("no refresh token")?.to_owned());
    }
}

/// From its opening on, the CPU time of all threads and the syncs of files are counted.
struct Window {
    begun: Instant,
    before: BTreeMap<String, u64>,
    syncs: Option<Child>,
}

impl Window {
    fn open(length: Duration) -> Window {
        let syncs = Command::new("perf")
            .args(["stat", "-x,", "-e", "syscalls:sys_enter_fdatasync,syscalls:sys_enter_fsync", "-p"])
            .args([&std::process::id().to_string(), "--", "sleep", &length.as_secs().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Window { begun: Instant::now(), before: ticks(), syncs: syncs.ok() }
    }

    fn close(self, latencies: Vec<u64>) -> Result<Seen, Failure> {
        let (seconds, turns) = (self.begun.elapsed().as_secs_f64(), latencies.len());
        let mut after = ticks();
        for (name, before) in self.before {
            after.entry(name).and_modify(|ticks| *ticks -= before);
        }
        let each = |ticks: u64| ((ticks * 10_000) as f64 / turns as f64 * 10.0).round() / 10.0;
        let all: u64 = after.iter().filter(|(name, _)| *name != LOAD).map(|(_, ticks)| ticks).sum();
        let threads =
            after.iter().filter(|(_, ticks)| **ticks > 0).map(|(name, ticks)| (name.clone(), each(*ticks).into()));
        let mut told = json!({
            "per_second": (turns as f64 / seconds).round(),
            "p50_us": percentile(latencies.clone(), 0.5),
            "p99_us": percentile(latencies, 0.99),
            "cpu_us_each": each(all),
            "of_threads": threads.collect::<serde_json::Map<_, _>>(),
        });
        if let Some(syncs) = self.syncs {
            let counted = String::from_utf8(syncs.wait_with_output()?.stderr)?;
            let counts = counted.lines().filter_map(|line| line.split(',').next()?.parse::<u64>().ok());
            let syncs: u64 = counts.sum();
            if syncs > 0 {
                told["syncs_per_second"] = json!((syncs as f64 / seconds).round());
                told["rotations_per_sync"] = json!((turns as f64 / syncs as f64 * 10.0).round() / 10.0);
            }
        }
        Ok(Seen { turns, told })
    }
}

/// CPU time of this process by the name of the thread, in hundredths of a second. What ended is forgotten.
fn ticks() -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")) else { continue };
        let ticks = rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
        *found
            .entry(name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '-').to_owned())
            .or_default() += ticks;
    }
    found
}

pub fn percentile(mut latencies: Vec<u64>, share: f64) -> u64 {
    latencies.sort_unstable();
    let place = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
    latencies.get(place).copied().unwrap_or_default()
}

/// Who asks, over HTTP.
const LOAD: &str = "load";
