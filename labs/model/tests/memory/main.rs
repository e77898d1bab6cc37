//! The memory of the real model; skipped where the model has not been fetched. The only test of its
//! file, because the meter counts the whole process.

use kit::skip::left_out;
use kit::workspace::fetched_model;
use model::{Cache, Model, ModelError};

/// What the process may take beyond weights and cache, in bytes.
const ALLOWED: usize = 200_000_000;

/// The most memory that this process has had, in bytes.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

#[test]
fn weights_are_in_memory_once() -> Result<(), ModelError> {
    let path = fetched_model();
    if !path.is_file() {
        left_out("the memory of SmolLM2", "it has not been fetched: `cargo book fetch` gets it");
        return Ok(());
    }
    if peak().is_none() {
        left_out("the memory of SmolLM2", "only Linux tells it in /proc/self/status");
        return Ok(());
    }
    let model = Model::load(path)?;
    let mut cache = Cache::new(model.config(), 512)?;
    let tokens: Vec<u32> = (0..512).map(|i| i * 91 + 7).collect();
    model.hidden(&tokens, &mut cache, &mut |_, _| ())?;
    let (weights, cached) = (model.bytes(), cache.bytes());
    let more = peak().unwrap_or(usize::MAX).saturating_sub(weights + cached);
    println!("weights {weights}, cache {cached}, all else {more} bytes");
    assert!(more <= ALLOWED, "{more} bytes beyond weights ({weights}) and cache ({cached})");
    Ok(())
}
