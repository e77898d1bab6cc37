//! Long steps that say what they are doing.
//!
//! On a terminal one line is kept up to date; elsewhere, in the log of a CI machine say, a line is
//! printed now and then.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a log hears of a step that is still running.
const LOG_EVERY: Duration = Duration::from_secs(15);

/// A line of a running program.
#[derive(Clone, Copy)]
pub enum Line<'a> {
    /// From its standard output.
    Out(&'a str),
    /// From its standard error.
    Err(&'a str),
    /// No line for a while: time to say that it is still running.
    Silence,
}

/// Runs `command` and captures its output, under a line with `label` and the time.
///
/// # Errors
/// If the program cannot be started. A program that fails is no error here, and the status says so.
pub fn run(label: &str, command: &mut Command) -> Result<Output> {
    let meter = Meter::start(label);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let status = lines(command, |line| match line {
        Line::Out(text) => push(&mut stdout, text),
        Line::Err(text) => {
            push(&mut stderr, text);
            meter.doing(text.trim());
        }
        Line::Silence => meter.tick(),
    })?;
    meter.finish();
    Ok(Output { status, stdout: stdout.into(), stderr: stderr.into() })
}

/// Runs `command` and hands on every line it prints, as it prints it.
///
/// # Errors
/// If it cannot be started.
pub fn lines(command: &mut Command, mut hear: impl FnMut(Line)) -> Result<ExitStatus> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let (sender, receiver) = mpsc::channel();
    if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
        forward(out, sender.clone(), false);
        forward(err, sender, true);
    }
    // The channel ends when both outputs are closed, so no line is lost when the program exits.
    loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok((false, text)) => hear(Line::Out(&text)),
            Ok((true, text)) => hear(Line::Err(&text)),
            Err(RecvTimeoutError::Timeout) => hear(Line::Silence),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(child.wait()?)
}

/// Seconds and minutes as a reader says them: `4.2 s`, `3 min 05 s`.
pub fn human(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Sends every line of `source`, marked as an error line or not, until it ends.
fn forward(source: impl Read + Send + 'static, sender: Sender<(bool, String)>, error: bool) {
    thread::spawn(move || {
        let mut reader = BufReader::new(source);
        // Bytes, because a program may print text that is not UTF-8.
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let line = String::from_utf8_lossy(&bytes);
            if sender.send((error, line.trim_end_matches(['\r', '\n']).to_string())).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

/// The line that says how long a step has been running.
pub struct Meter {
    label: String,
    bar: ProgressBar,
    started: Instant,
    last_logged: std::cell::Cell<Instant>,
}

impl Meter {
    /// Starts the clock of the step `label`.
    pub fn start(label: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        if bar.is_hidden() {
            eprintln!("{label} ...");
        }
        let now = Instant::now();
        Self { label: label.into(), bar, started: now, last_logged: now.into() }
    }

    /// Says what the step is at.
    pub fn doing(&self, what: &str) {
        self.bar.set_message(what.to_string());
        self.tick();
    }

    /// Gives a log its line, if it is time.
    pub fn tick(&self) {
        if self.bar.is_hidden() && self.last_logged.get().elapsed() >= LOG_EVERY {
            self.last_logged.set(Instant::now());
            let message = self.bar.message();
            let elapsed = self.started.elapsed().as_secs();
            eprintln!("{} ... {elapsed} s  {message}", self.label);
        }
    }

    /// Prints `line` for good.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    /// Ends the step.
    pub fn finish(self) {
        let hidden = self.bar.is_hidden();
        self.bar.finish_and_clear();
        let elapsed = self.started.elapsed();
        // A short step leaves no line on a terminal.
        if hidden || elapsed >= Duration::from_secs(2) {
            eprintln!("{}: {}", self.label, human(elapsed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_and_the_status_of_a_program_come_back() -> Result<()> {
        let mut command = xtask::workspace::cargo();
        let output = run("asking cargo", command.arg("--version"))?;
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout)?.starts_with("cargo "));
        let mut command = xtask::workspace::cargo();
        let output = run("asking cargo nonsense", command.arg("no-such-command"))?;
        assert!(!output.status.success());
        assert!(String::from_utf8(output.stderr)?.contains("no-such-command"));
        Ok(())
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let Err(error) = run("x", &mut Command::new("no-such-program-at-all")) else {
            panic!("it started");
        };
        assert!(error.to_string().contains("no-such-program-at-all"));
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        assert_eq!(human(Duration::from_millis(4240)), "4.2 s");
        assert_eq!(human(Duration::from_secs(185)), "3 min 05 s");
    }
}
