//! Finding the browser, starting and ending it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kit::skip::{in_ci, left_out};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::connection::Connection;
use super::tab::Tab;

const START_LIMIT: Duration = Duration::from_secs(30);

const NAMES: [&str; 6] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge"];

const PLACES: [&str; 5] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
];

/// No window, no first-run questions, no traffic of the browser's own. Names of hosts lead
/// nowhere, so a page that asks for one cannot succeed by luck.
const FLAGS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-port=0",
    "about:blank",
];

/// A running browser. It ends, and its profile goes, when this is dropped.
pub struct Browser {
    connection: Connection,
    process: Child,
    _profile: TempDir,
}

/// The browser of this machine: `CHROME`, or a Chromium or Chrome where one usually is.
pub fn find() -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os("CHROME").filter(|chosen| !chosen.is_empty()) {
        return Some(chosen.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&folders).flat_map(|folder| {
        NAMES.map(|name| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
    });
    on_path.chain(PLACES.map(PathBuf::from)).find(|program| program.is_file())
}

/// The browser of this machine, started; without one, a visible word that the checks are left out.
///
/// # Panics
/// If the browser does not start, and where CI is set if there is none.
pub fn start_or_skip() -> Option<Browser> {
    if let Some(program) = find() {
        let started = Browser::start(&program);
        return Some(started.unwrap_or_else(|error| panic!("{error:#}")));
    }
    assert!(
        !in_ci(),
        "no Chromium found, and CI is set: install one (on Debian `apt-get install chromium`), or \
         set CHROME to the program"
    );
    left_out("browser checks", "no Chromium found (set CHROME)");
    None
}

impl Browser {
    /// Starts the program with a new, empty profile.
    ///
    /// # Errors
    /// If it does not start, or does not say within half a minute where it listens.
    pub fn start(program: &Path) -> Result<Self> {
        let profile = tempfile::tempdir().context("no folder for the browser's profile")?;
        let mut profile_flag = std::ffi::OsString::from("--user-data-dir=");
        profile_flag.push(profile.path());
        let mut process = Command::new(program)
            .arg(profile_flag)
            .args(FLAGS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| {
                format!("cannot start {} (CHROME names another)", program.display())
            })?;
        let connected = listening_at(profile.path(), &mut process)
            .and_then(|(port, path)| Connection::open(port, &path))
            .with_context(|| format!("{} does not answer", program.display()));
        match connected {
            Ok(connection) => Ok(Self { connection, process, _profile: profile }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// Opens an empty tab.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub fn tab(&mut self) -> Result<Tab<'_>> {
        let target =
            self.connection.call(None, "Target.createTarget", json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.connection.call(None, "Target.attachToTarget", attach)?;
        let session = session["sessionId"].as_str().context("a tab without a session")?;
        Tab::new(&mut self.connection, session.to_owned())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.connection.call(None, "Browser.close", Value::Null);
        let limit = Instant::now() + Duration::from_secs(5);
        while Instant::now() < limit {
            if matches!(self.process.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The port and path that the browser writes into its profile once it listens.
fn listening_at(profile: &Path, process: &mut Child) -> Result<(u16, String)> {
    let file = profile.join("DevToolsActivePort");
    let limit = Instant::now() + START_LIMIT;
    while Instant::now() < limit {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some((port, path)) = text.trim().split_once('\n') {
            return Ok((port.trim().parse().context("not a port")?, path.trim().to_owned()));
        }
        if let Some(status) = process.try_wait()? {
            bail!("it ended at once with {status}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("it did not listen within {} s", START_LIMIT.as_secs())
}
