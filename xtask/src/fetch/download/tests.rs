//! The download against a server that misbehaves on purpose.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::*;
use crate::fetch::checksum::sha256_of;

const LENGTH: usize = 300_000;

/// What the server does with one request.
#[derive(Clone, Copy)]
enum Reply {
    /// Sends what was asked for, all of it.
    Whole,
    /// Promises what was asked for, sends half of it and closes.
    Half,
    /// Sends the whole file with 200, whatever range was asked for.
    IgnoresRange,
    /// Sends a range that starts at another byte than was asked for.
    OtherRange,
    /// Answers with this status and nothing else.
    Status(&'static str),
}

/// A file without a pattern that would hide a shift.
fn content() -> Vec<u8> {
    (0..LENGTH as u64).map(|i| (i * i % 251) as u8).collect()
}

fn pinned() -> Pinned {
    Pinned { name: "file", bytes: LENGTH as u64, sha256: "not compared here" }
}

/// Serves one connection per reply, then closes. Gives the ranges that were asked for.
fn serve(replies: Vec<Reply>) -> Result<(String, JoinHandle<Vec<Option<usize>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/file", listener.local_addr()?);
    let server = thread::spawn(move || {
        let answers = replies.into_iter().filter_map(|reply| {
            let (stream, _) = listener.accept().ok()?;
            Some(answer(stream, reply).unwrap_or(None))
        });
        answers.collect()
    });
    Ok((url, server))
}

/// Answers one request; gives the first byte it asked for, if it asked for a range.
fn answer(mut stream: TcpStream, reply: Reply) -> std::io::Result<Option<usize>> {
    let mut range = None;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_ascii_lowercase();
        if let Some(first) = line.strip_prefix("range: bytes=") {
            range = first.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    let whole = content();
    let start = match reply {
        Reply::IgnoresRange => 0,
        Reply::OtherRange => 7,
        _ => range.unwrap_or(0).min(LENGTH),
    };
    let body = &whole[start..];
    let status = match (reply, range) {
        (Reply::Status(status), _) => status,
        (Reply::IgnoresRange, _) | (_, None) => "200 OK",
        _ => "206 Partial Content",
    };
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len())?;
    write!(stream, "Content-Range: bytes {start}-{}/{LENGTH}\r\n\r\n", LENGTH - 1)?;
    let sent = match reply {
        Reply::Half => &body[..body.len() / 2],
        Reply::Status(_) => &[],
        _ => body,
    };
    stream.write_all(sent)?;
    Ok(range)
}

/// Downloads from a server with these replies into a part that holds `before`.
struct Run {
    outcome: Result<()>,
    part: Option<Vec<u8>>,
    ranges: Vec<Option<usize>>,
}

fn download(before: &[u8], replies: Vec<Reply>) -> Result<Run> {
    let dir = tempfile::tempdir()?;
    let part: PathBuf = dir.path().join("file.part");
    if !before.is_empty() {
        fs::write(&part, before)?;
    }
    let (url, server) = serve(replies)?;
    let pinned = pinned();
    let mut download = Download::new(&url, &part, &pinned);
    // The reader's proxy knows nothing of this server.
    download.agent = agent_config().proxy(None).build().into();
    download.pause = Duration::ZERO;
    let outcome = download.run();
    // Replies that nobody fetched would keep the server waiting.
    while !server.is_finished() && TcpStream::connect(&url["http://".len()..url.len() - 5]).is_ok()
    {
        thread::sleep(Duration::from_millis(5));
    }
    let ranges = server.join().map_err(|_| anyhow!("the server failed"))?;
    Ok(Run { outcome, part: fs::read(&part).ok(), ranges })
}

#[test]
fn a_connection_that_breaks_half_way_is_taken_up_where_it_broke() -> Result<()> {
    let run = download(&[], vec![Reply::Half, Reply::Half, Reply::Whole])?;
    run.outcome?;
    assert!(run.part == Some(content()), "the pieces do not make the file");
    assert_eq!(run.ranges, [None, Some(LENGTH / 2), Some(LENGTH * 3 / 4)]);
    Ok(())
}

#[test]
fn a_part_from_an_earlier_run_is_continued() -> Result<()> {
    let run = download(&content()[..1000], vec![Reply::Whole])?;
    run.outcome?;
    assert!(run.part == Some(content()), "the pieces do not make the file");
    assert_eq!(run.ranges, [Some(1000)]);
    Ok(())
}

#[test]
fn a_server_that_ignores_the_range_makes_it_start_over() -> Result<()> {
    let run = download(&content()[..1000], vec![Reply::IgnoresRange])?;
    run.outcome?;
    assert!(run.part == Some(content()), "the file was appended to the part");
    Ok(())
}

#[test]
fn a_range_that_was_not_asked_for_is_not_used() -> Result<()> {
    let run = download(&content()[..1000], vec![Reply::OtherRange, Reply::Whole])?;
    run.outcome?;
    assert!(run.part == Some(content()), "another range was taken for the right one");
    assert_eq!(run.ranges, [Some(1000), None]);
    Ok(())
}

#[test]
fn a_part_that_is_too_long_starts_over() -> Result<()> {
    let run = download(&[1; LENGTH + 1], vec![Reply::Whole])?;
    run.outcome?;
    assert!(run.part == Some(content()));
    assert_eq!(run.ranges, [None]);
    Ok(())
}

#[test]
fn a_range_that_the_server_cannot_satisfy_starts_over() -> Result<()> {
    let unsatisfiable = Reply::Status("416 Range Not Satisfiable");
    let run = download(&content()[..1000], vec![unsatisfiable, Reply::Whole])?;
    run.outcome?;
    assert!(run.part == Some(content()));
    Ok(())
}

#[test]
fn an_overloaded_server_is_asked_again() -> Result<()> {
    let run = download(&[], vec![Reply::Status("503 Service Unavailable"), Reply::Whole])?;
    run.outcome?;
    assert!(run.part == Some(content()));
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_an_error_at_once_and_the_part_is_kept() -> Result<()> {
    let run = download(&content()[..1000], vec![Reply::Status("404 Not Found")])?;
    let error = run.outcome.unwrap_err().to_string();
    assert!(error.contains("404 Not Found"), "{error}");
    assert_eq!(run.part.map(|part| part.len()), Some(1000));
    Ok(())
}

#[test]
fn without_a_server_it_gives_up_and_says_that_it_can_go_on() -> Result<()> {
    let run = download(&content()[..1000], vec![])?;
    let error = run.outcome.unwrap_err().to_string();
    assert!(error.contains("stopped at 1000 of 300000 bytes"), "{error}");
    assert!(error.contains("offline"), "{error}");
    assert_eq!(run.part.map(|part| part.len()), Some(1000));
    Ok(())
}

#[test]
fn a_damaged_part_completes_and_fails_its_checksum() -> Result<()> {
    let run = download(&[9; 1000], vec![Reply::Whole])?;
    run.outcome?;
    let dir = tempfile::tempdir()?;
    let (damaged, right) = (dir.path().join("damaged"), dir.path().join("right"));
    fs::write(&damaged, run.part.unwrap_or_default())?;
    fs::write(&right, content())?;
    assert_eq!(length_of(&damaged)?, length_of(&right)?);
    assert_ne!(sha256_of(&damaged)?, sha256_of(&right)?);
    Ok(())
}
