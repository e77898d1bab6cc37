//! Where, when and with what a run is made.

use crate::capture::machine::{ask, command, commit, date, processor, system};
use crate::cpu::capture::Provenance;
use crate::cpu::kernels;

use super::program::Args;

/// What is assumed where the system does not tell the size of the last cache.
const ASSUMED_CACHE: u64 = 32 << 20;

/// What this machine says of itself.
pub fn of_run(cli: &Args) -> Provenance {
    Provenance {
        processor: processor(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        cache_bytes: cache_bytes().unwrap_or(ASSUMED_CACHE),
        instructions: kernels::instructions().into(),
        system: system(),
        compiler: ask("rustc", &["--version"]).unwrap_or("unknown".into()),
        // Where it is not given, the first run of the tool tells it.
        llama_quantize: cli.llama_version.clone(),
        commit: commit().unwrap_or("unknown".into()),
        date: date(),
        command: command(),
        quick: cli.quick,
    }
}

/// The size of the last cache where Linux tells it, `32768K`.
pub fn cache_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size").ok()?;
    let kibibytes: u64 = text.trim().strip_suffix('K')?.parse().ok()?;
    Some(kibibytes << 10)
}
