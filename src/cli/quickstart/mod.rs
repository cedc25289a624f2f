//! `sidegate quickstart`: an upstream and sidegate in front, in one process, and what to try with curl and a browser.

mod echo;
mod folder;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use self::{echo::Echo, folder::Folder};
use super::{output, run};
use crate::{
    app::App,
    config::{self, Address},
    model::{BoxError, Time},
    server::PlainServer,
    telemetry::log,
};

#[derive(clap::Args)]
pub struct Options {
    /// The port to serve on; a free one is taken if somebody else has it.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

pub fn quickstart(options: &Options) -> ExitCode {
    output::finish(start(options))
}

fn start(options: &Options) -> Result<(), BoxError> {
    crate::app::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let loopback = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let upstream = {
        let _inside = runtime.enter();
        PlainServer::bind("echo", Some(&loopback))?
    };
    let folder = Folder::new()?;
    let environment: config::Environment = [
        ("QUICKSTART_ADDRESS", free(options.port)?),
        ("QUICKSTART_HEALTH", free(9901)?),
        ("QUICKSTART_ADMIN", free(9902)?),
        ("QUICKSTART_UPSTREAM", upstream.address().as_ref().map(url).unwrap_or_default()),
        ("QUICKSTART_FOLDER", folder.path().display().to_string()),
        ("SIDEGATE__ADMIN__TOKEN_FILE", folder.token_file()?.display().to_string()),
    ]
    .into_iter()
    .collect();
    runtime.spawn(upstream.serve(Arc::new(Echo)));

    let text = include_str!("../../../config/quickstart.yaml");
    let config = config::load_str(text, "quickstart.yaml", Path::new("."), &environment)?.config;
    log::install(&config.log)?;
    let app = App::start(config, Time::default())?;
    output::print(&what_to_try(&app, &folder))?;
    run::until_signalled(&app, None)?;
    output::print("\nDrained.\n")?;
    Ok(())
}

/// For any POSIX shell: `tests/run quickstart` pastes it whole.
fn what_to_try(app: &App, folder: &Folder) -> String {
    let address = |name| app.address(name).map(|address| url(&address)).unwrap_or_default();
    let (at, health, admin) = (address("public"), address("health"), address("admin"));
    let program = std::env::current_exe().map_or_else(|_| "sidegate".to_owned(), |path| path.display().to_string());
    format!(
        r##"sidegate {version} gives tokens and stands in front of an echo upstream, all in this process.
Sessions are kept, sealed, in {folder}, which goes with it.

Paste into another terminal:

at={at}
member() {{ sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }}

# Sign in as ana, through the application `shop`: 200.
answer=$(curl -s $at/oauth20/token -d grant_type=password -d client_id=shop -d username=ana -d password=quickstart)
echo "$answer"; access=$(echo "$answer" | member access_token); refresh=$(echo "$answer" | member refresh_token)

# Call through the proxy: 200. The upstream sees X-Forwarded-User and a token of sidegate's own, never ana's.
curl -i -H "Authorization: Bearer $access" $at/orders/7

# Without a token: 401. Without the scope `admin`: 403. A public route: 200. A path that no route covers: 404.
curl -i $at/orders/7
curl -i -H "Authorization: Bearer $access" $at/admin
curl -i $at/healthz
curl -i $at/elsewhere

# Refresh: 200. The same once more, as after a lost answer: 200 with the same new refresh token, and nobody is thrown out.
curl -s $at/oauth20/token -d grant_type=refresh_token -d client_id=shop -d refresh_token=$refresh; echo
curl -s $at/oauth20/token -d grant_type=refresh_token -d client_id=shop -d refresh_token=$refresh; echo

# A program on its own behalf gets a token, 200, and asks what ana's is worth, 200.
curl -s -u batch:{secret} $at/oauth20/token -d grant_type=client_credentials; echo
curl -s -u batch:{secret} $at/oauth20/introspect -d token=$access; echo

# Who is signed in, as an operator sees it.
{program} sessions list --admin {admin_at} --token-file {folder}/admin.token

# Revoke, which ends the session: 200. Its access token is refused on the next call, 401, and its refresh token too, 400.
curl -i $at/oauth20/revoke -d client_id=shop -d token=$refresh
curl -i -H "Authorization: Bearer $access" $at/orders/7
curl -s $at/oauth20/token -d grant_type=refresh_token -d client_id=shop -d refresh_token=$refresh; echo

# What an operator sees: 200. The status is also a page for your browser.
curl -i {health}/readyz
curl -i {health}/metrics
curl -i {admin}/status

In a browser, sign in as ana, password quickstart; the last page shows the code that the shop would redeem:
{at}/oauth20/authorize?response_type=code&client_id=shop&redirect_uri={at}/callback&scope=orders&state=x&code_challenge={challenge}&code_challenge_method=S256

curl -s {at}/oauth20/token -d grant_type=authorization_code -d client_id=shop -d redirect_uri={at}/callback -d code_verifier={verifier} -d code=THE-CODE

The configuration behind this: config/quickstart.yaml. Ctrl-C drains and ends.
"##,
        version = env!("CARGO_PKG_VERSION"),
        folder = folder.path().display(),
        admin_at = admin.trim_start_matches("http://"),
        secret = SECRET,
        challenge = CHALLENGE,
        verifier = VERIFIER,
    )
}

/// `port` on loopback if nobody has it, otherwise a free one.
fn free(port: u16) -> Result<String, BoxError> {
    let on = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    Ok(on(port).or_else(|_| on(0))?.to_string())
}

fn url(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Of the client `batch` in the configuration.
const SECRET: &str = "demo-secret-of-batch-7Qm2xW9eJt4nRz8b";
/// The example of RFC 7636, appendix B. An application makes a new pair for each sign-in.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
