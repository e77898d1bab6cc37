//! Makes what the chapters ask for: from the cache, or on all cores.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::cache::Cache;
use crate::embed::{Rendered, finish};
use crate::parallel::on_all_cores;
use crate::{Kind, Library};

/// From when on the reader is told what takes so long.
const LONG: Duration = Duration::from_millis(700);

/// What failed, and why.
pub type Failures = BTreeMap<(Kind, String), String>;

/// Makes all of `wanted`. What fails does not keep the rest from being made.
pub fn make(
    library: &dyn Library,
    cache: &mut Cache,
    wanted: impl IntoIterator<Item = (Kind, String)>,
) -> (Rendered, Failures) {
    let (mut rendered, mut failures, mut missing) = (Rendered::new(), Failures::new(), Vec::new());
    for (kind, name) in wanted {
        match cache.place(kind, &name, &library.inputs(kind, &name)) {
            Ok(place) => match Cache::get(&place) {
                Some(made) => drop(rendered.insert((kind, name), made)),
                None => missing.push((kind, name, place)),
            },
            Err(error) => drop(failures.insert((kind, name), format!("{error:#}"))),
        }
    }
    let (cache, made) = (&*cache, Mutex::new((rendered, failures)));
    on_all_cores(&missing, |(kind, name, place)| {
        let outcome = make_one(library, *kind, name, |text| cache.put(place, text));
        let mut made = made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let key = (*kind, name.clone());
        match outcome {
            Ok(text) => drop(made.0.insert(key, text)),
            Err(error) => drop(made.1.insert(key, format!("{error:#}"))),
        }
    });
    made.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn make_one(
    library: &dyn Library,
    kind: Kind,
    name: &str,
    keep: impl FnOnce(&str) -> Result<()>,
) -> Result<String> {
    let made = announced(kind, name, || library.render(kind, name))?;
    let made = finish(kind, made)?;
    keep(&made)?;
    Ok(made)
}

/// Runs `work`, and says so on standard error once it takes long. A panic becomes an error: the
/// starter of a lab panics wherever the reader has not been yet.
fn announced(
    kind: Kind,
    name: &str,
    work: impl FnOnce() -> Result<String> + Send,
) -> Result<String> {
    let started = Instant::now();
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let _done = done;
            work()
        });
        // Nothing is ever sent. The channel is closed when the work is done.
        let is_long = wait.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout);
        let (verb, word) = (kind.verb(), kind.word());
        if is_long {
            eprintln!("{verb} {word} {name}…");
        }
        let made = worker.join().map_err(|panic| anyhow!("it panicked: {}", text_of(&*panic)));
        if is_long {
            eprintln!("{verb} {word} {name}: {:.1} s", started.elapsed().as_secs_f64());
        }
        made?.context("it cannot be made")
    })
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
