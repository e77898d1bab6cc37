//! Where, when and with what a run is made, as far as every program can tell.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Where, when and with what a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The processor's name, as the system tells it.
    pub processor: String,
    /// Processors that the run could use; 0 in old captures of the GPU program, which did not count.
    #[serde(default)]
    pub processors: usize,
    /// Operating system and architecture.
    pub system: String,
    /// `rustc --version`; old captures of engines and GPUs do not tell.
    pub compiler: Option<String>,
    /// The commit that was checked out, marked when files differed from it.
    pub commit: String,
    /// When the run started, UTC, `2026-01-31T12:00:00Z`.
    pub date: String,
    /// The command line, folders left out.
    pub command: String,
    /// Whether the run was a quick one: less of everything.
    pub quick: bool,
}

/// The fields of [`Provenance`]: in files of version 1 the others there belong to the setup.
pub(super) const FIELDS: [&str; 8] =
    ["processor", "processors", "system", "compiler", "commit", "date", "command", "quick"];

impl Provenance {
    /// What this machine says of itself, for a run that starts now.
    pub fn of_this_run(quick: bool) -> Self {
        Self {
            processor: processor(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            compiler: ask("rustc", &["--version"]),
            commit: commit().unwrap_or("unknown".into()),
            date: utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
            command: command(),
            quick,
        }
    }

    /// The first digits of the commit, as tables show it.
    pub fn short_commit(&self) -> String {
        self.commit.chars().take(12).collect()
    }

    /// Of a run that nobody made, for tests alone.
    #[cfg(test)]
    pub(crate) fn made_up() -> Self {
        Self {
            processor: "a test".into(),
            processors: 2,
            system: "none".into(),
            compiler: Some("rustc".into()),
            commit: "none".into(),
            date: "2000-01-01T00:00:00Z".into(),
            command: "made up".into(),
            quick: true,
        }
    }
}

/// The processor's name where the system tells it.
fn processor() -> String {
    let from_linux = || {
        let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let from_mac = || ask("sysctl", &["-n", "machdep.cpu.brand_string"]);
    let from_windows = || std::env::var("PROCESSOR_IDENTIFIER").ok();
    from_linux().or_else(from_mac).or_else(from_windows).unwrap_or("unknown processor".into())
}

/// What a program prints, if it can be started and succeeds.
pub fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// The commit of this repository that is checked out, marked when files differ from it.
fn commit() -> Option<String> {
    // Named by folder: a program may be started from anywhere.
    const HERE: &str = env!("CARGO_MANIFEST_DIR");
    // A program that was carried to another machine has no repository there, so the build has told it.
    if let Some(commit) = option_env!("COURSE_COMMIT") {
        return Some(commit.into());
    }
    let commit = ask("git", &["-C", HERE, "rev-parse", "HEAD"])?;
    let changed = !ask("git", &["-C", HERE, "status", "--porcelain"])?.is_empty();
    Some(if changed { format!("{commit} with changes") } else { commit })
}

/// The command line, folders left out: they say nothing of the run.
fn command() -> String {
    let name = |text: String| {
        let path = Path::new(&text);
        path.file_name().map_or(text.clone(), |name| name.to_string_lossy().into_owned())
    };
    std::env::args().map(name).collect::<Vec<_>>().join(" ")
}

/// Seconds since 1970 as `2026-01-31T12:00:00Z`. The days are counted in years that begin in March,
/// so that the leap day is the last (Howard Hinnant's `civil_from_days`).
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(utc(1_767_225_600), "2026-01-01T00:00:00Z");
    }
}
