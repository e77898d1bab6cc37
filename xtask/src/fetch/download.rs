//! A download that goes on where the last one stopped.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::checksum::{Pinned, length_of};
use super::{cannot_write, remove_if_there};

/// Attempts in a row that may bring nothing before the download is given up.
const PATIENCE: u32 = 4;
/// No byte for this long: the connection is dead.
const SILENCE: Duration = Duration::from_secs(30);

/// A file to download into `part`, which may hold the beginning of it.
pub struct Download<'a> {
    url: &'a str,
    part: &'a Path,
    pinned: &'a Pinned,
    agent: Agent,
    pause: Duration,
}

/// Why an attempt ended early.
enum Failure {
    /// Another attempt may go better.
    Passing(anyhow::Error),
    /// It will not.
    Lasting(anyhow::Error),
}

impl<'a> Download<'a> {
    /// Prepares the download of `pinned` from `url`.
    pub fn new(url: &'a str, part: &'a Path, pinned: &'a Pinned) -> Self {
        Self { url, part, pinned, agent: agent(), pause: Duration::from_secs(1) }
    }

    /// Downloads until `part` is as long as the file. A lost connection is taken up again.
    pub fn run(&self) -> Result<()> {
        let bar = self.bar();
        let mut best = 0;
        let mut failures = 0;
        loop {
            let error = match self.attempt(&bar) {
                Ok(()) => break,
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(error)) => error,
            };
            let now = self.so_far()?;
            failures = if now > best { 1 } else { failures + 1 };
            best = best.max(now);
            if failures > PATIENCE {
                return Err(self.give_up(error, now));
            }
            bar.suspend(|| eprintln!("{error:#}; going on at {now} bytes"));
            thread::sleep(self.pause * failures);
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn give_up(&self, error: anyhow::Error, now: u64) -> anyhow::Error {
        let (name, total) = (self.pinned.name, self.pinned.bytes);
        error.context(format!(
            "{name} stopped at {now} of {total} bytes: is this machine offline? What is here is \
             kept; `cargo book fetch` goes on from there"
        ))
    }

    /// One request, from where `part` ends.
    fn attempt(&self, bar: &ProgressBar) -> Result<(), Failure> {
        let mut start = self.so_far().map_err(Failure::Lasting)?;
        if start >= self.pinned.bytes {
            remove_if_there(self.part).map_err(Failure::Lasting)?;
            start = 0;
        }
        let mut request = self.agent.get(self.url);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.call().map_err(|error| Failure::Passing(error.into()))?;
        let start = self.accepted_start(&response, start)?;
        self.receive(response, start, bar)
    }

    /// The byte that the body starts at, when `start` was asked for.
    fn accepted_start(&self, response: &Response<Body>, start: u64) -> Result<u64, Failure> {
        let status = response.status();
        let error = anyhow!("the server answered {status} for {}", self.url);
        match status {
            // The whole file, asked for or not: begin again.
            StatusCode::OK => Ok(0),
            StatusCode::PARTIAL_CONTENT if first_byte(response) == Some(start) => Ok(start),
            // What is here is not the beginning of what is there.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                remove_if_there(self.part).map_err(Failure::Lasting)?;
                Err(Failure::Passing(error))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Passing(error))
            }
            _ if status.is_server_error() => Err(Failure::Passing(error)),
            _ => Err(Failure::Lasting(error)),
        }
    }

    /// Writes the body into `part` from byte `start` on.
    fn receive(
        &self,
        mut response: Response<Body>,
        start: u64,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let lasting = |error| Failure::Lasting(cannot_write(error, self.part));
        let mut file = open_at(self.part, start).map_err(lasting)?;
        bar.set_position(start);
        bar.reset_eta();
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut at = start;
        while at < self.pinned.bytes {
            let read = body.read(&mut buffer).map_err(|error| Failure::Passing(error.into()))?;
            if read == 0 {
                return Err(Failure::Passing(anyhow!("the server closed the connection early")));
            }
            // Never past the length that the file must have.
            let read = read.min((self.pinned.bytes - at) as usize);
            file.write_all(&buffer[..read]).map_err(lasting)?;
            at += read as u64;
            bar.set_position(at);
        }
        file.sync_all().map_err(lasting)
    }

    fn so_far(&self) -> Result<u64> {
        Ok(length_of(self.part)?.unwrap_or(0))
    }

    fn bar(&self) -> ProgressBar {
        // In the log too, where no bar can be drawn.
        let (name, total) = (self.pinned.name, self.pinned.bytes);
        eprintln!("downloading {name}: {} of {total} bytes are here", self.so_far().unwrap_or(0));
        let bar = ProgressBar::new(total);
        let template = "{bar:20} {decimal_bytes}/{decimal_total_bytes}, \
            {decimal_bytes_per_sec}, elapsed {elapsed}, left {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    }
}

/// Trusts what the machine trusts, goes through the proxy that the environment names.
fn agent() -> Agent {
    agent_config().build().into()
}

fn agent_config() -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        // Compressed on the way, a byte range would count other bytes.
        .accept_encoding("identity")
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
}

/// The first byte of a partial body, by the server's own words: `Content-Range: bytes 5-9/10`.
fn first_byte(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Opens `part` for writing at its end, which is `start`; empties it if `start` is 0.
fn open_at(part: &Path, start: u64) -> std::io::Result<File> {
    if start == 0 {
        return File::create(part);
    }
    OpenOptions::new().append(true).open(part)
}

#[cfg(test)]
mod tests;
