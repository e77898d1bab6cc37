//! Programs that are started here, and never left behind.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::engines::EngineError;
use crate::engines::resident::{self, Resident};

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 20;
/// How long a program has to end by itself after it was asked to.
const GRACE: Duration = Duration::from_secs(15);
/// How often a program is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts `"$@"` in the shell's place, and a guard whose input is a pipe that only this program holds.
/// The pipe closes when this program ends, however it ends, and the guard then stops the whole process
/// group.
#[cfg(unix)]
const GUARDED: &str = "exec 3<&0 </dev/null
( trap '' TERM INT HUP; read _ <&3; kill -TERM 0; sleep 10; kill -KILL 0 ) >/dev/null 2>&1 &
exec 3<&- \"$@\"";

/// A program and whatever it starts, stopped when this value goes.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Running {
    /// Starts `program` in a process group of its own; what it prints goes to the file `log`.
    ///
    /// # Errors
    /// If the log cannot be written or the program not be started.
    pub fn start(
        program: &Path,
        prepare: impl FnOnce(&mut Command),
        log: &Path,
    ) -> Result<Self, EngineError> {
        // Checked here, because the shell would start and its log alone would name the missing program.
        fs::metadata(program).map_err(|error| EngineError::NotThere(program.into(), error))?;
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).map_err(EngineError::file(folder))?;
        }
        let out = File::create(log).map_err(EngineError::file(log))?;
        let err = out.try_clone().map_err(EngineError::file(log))?;
        let mut command = guarded(program);
        prepare(&mut command);
        let child = command.stdin(Stdio::piped()).stdout(out).stderr(err).spawn();
        let child = child.map_err(|error| EngineError::NotThere(program.into(), error))?;
        Ok(Self { child, log: log.into(), ended: false })
    }

    /// How the program ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The memory of the program and of all it started, where the system tells.
    pub fn resident(&self) -> Option<Resident> {
        resident::of_group(self.child.id())
    }

    /// All it has printed so far.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn log(&self) -> Result<String, EngineError> {
        let bytes = fs::read(&self.log).map_err(EngineError::file(&self.log))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Asks the program and all it started to end, and makes them end if they do not.
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        signal(&mut self.child, false);
        let asked = Instant::now();
        while self.ended().is_none() && asked.elapsed() < GRACE {
            sleep(PAUSE);
        }
        // Also where the program has ended, because its workers and the guard may still run.
        signal(&mut self.child, true);
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(unix)]
fn guarded(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GUARDED, "sh"]).arg(program).process_group(0);
    command
}

/// Where there are no process groups: the program alone.
#[cfg(not(unix))]
fn guarded(program: &Path) -> Command {
    Command::new(program)
}

/// To the group: an engine's workers are processes of their own.
#[cfg(unix)]
fn signal(child: &mut Child, kill: bool) {
    use rustix::process::{Pid, Signal, kill_process_group};
    // The group exists as long as its guard, so its number belongs to nobody else.
    if let Some(group) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process_group(group, if kill { Signal::KILL } else { Signal::TERM });
    }
}

#[cfg(not(unix))]
fn signal(child: &mut Child, _: bool) {
    let _ = child.kill();
}

/// What a tool printed.
#[derive(Debug)]
pub struct Printed {
    /// To its standard output.
    pub out: String,
    /// To its standard error.
    pub err: String,
}

/// Runs a tool to its end.
///
/// # Errors
/// If it cannot be started, fails, or takes longer than `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Result<Printed, EngineError> {
    let program = PathBuf::from(command.get_program());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| EngineError::NotThere(program.clone(), error))?;
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if start.elapsed() < limit => sleep(PAUSE),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
    let printed = Printed { out: text(out), err: text(err) };
    let (program, tail) = (name(&program), last_lines(&printed.err));
    match status {
        Some(status) if status.success() => Ok(printed),
        Some(status) => Err(EngineError::Failed { program, status: status.to_string(), tail }),
        None => Err(EngineError::TooLong { program, seconds: limit.as_secs(), tail }),
    }
}

/// Reads to the end in a thread of its own, because the program would wait for ever on a full pipe.
fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The file name of a program, for messages.
pub fn name(program: &Path) -> String {
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

/// The last lines of a text that are not empty.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const SHELL: &str = "/bin/sh";

    fn shell(script: &str, limit: Duration) -> Result<Printed, EngineError> {
        run(Command::new(SHELL).args(["-c", script]), limit)
    }

    #[test]
    fn a_program_ends_when_we_do() -> Result<(), EngineError> {
        let folder = tempfile::tempdir().map_err(EngineError::file(Path::new("temporary")))?;
        let prepare = |command: &mut Command| {
            command.args(["-c", "sleep 300 & wait"]);
        };
        let mut running = Running::start(Path::new(SHELL), prepare, &folder.path().join("log"))?;
        assert!(running.ended().is_none(), "it waits for its child");
        // What the system does with our end of the pipe when this program is killed.
        drop(running.child.stdin.take());
        let start = Instant::now();
        while running.ended().is_none() && start.elapsed() < Duration::from_secs(8) {
            sleep(PAUSE);
        }
        assert!(running.ended().is_some(), "the guard did not stop it");
        Ok(())
    }

    #[test]
    fn both_outputs_of_a_tool_come_back_however_long_they_are() -> Result<(), EngineError> {
        // More than a pipe holds.
        let many = "i=0; while [ $i -lt 20000 ]; do echo out; echo error >&2; i=$((i+1)); done";
        let printed = shell(many, Duration::from_secs(60))?;
        assert_eq!((printed.out.lines().count(), printed.err.lines().count()), (20_000, 20_000));
        Ok(())
    }

    #[test]
    fn a_tool_that_fails_or_takes_too_long_shows_its_last_lines() {
        let error = shell("echo no such tensor >&2; exit 7", Duration::from_secs(60));
        let error = error.expect_err("it fails").to_string();
        assert!(error.contains("exit status: 7") && error.contains("no such tensor"), "{error}");
        let error = shell("echo so far >&2; exec sleep 300", Duration::from_millis(300));
        let error = error.expect_err("it takes too long");
        assert!(matches!(&error, EngineError::TooLong { tail, .. } if tail == "so far"), "{error}");
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let error =
            run(&mut Command::new("no/such/tool"), PAUSE).expect_err("not there").to_string();
        assert!(error.contains("no/such/tool"), "{error}");
    }
}
