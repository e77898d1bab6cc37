//! Where, when and with what a run is made.

use crate::capture::machine::{ask, command, commit, date, processor, system};
use anyhow::Result;

use crate::gpu::capture::Provenance;
use crate::gpu::cuda::lt::Lt;
use crate::gpu::cuda::{Facts, nvrtc};

/// What the device and this machine say of themselves.
///
/// # Errors
/// If NVRTC does not tell its version.
pub fn of_run(facts: &Facts, seed: u32, quick: bool) -> Result<Provenance> {
    Ok(Provenance {
        machine: format!("{}, {}", processor(), system()),
        gpu: facts.name.clone(),
        compute_capability: format!("{}.{}", facts.capability.0, facts.capability.1),
        multiprocessors: facts.multiprocessors,
        l2_bytes: facts.l2_bytes,
        memory_bytes: facts.memory_bytes,
        driver: ask_nvidia_smi("driver_version"),
        cuda: facts.cuda.clone(),
        nvrtc: nvrtc::version()?,
        cublaslt: Lt::version(),
        clocks: ask_nvidia_smi(
            "clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu,ecc.mode.current",
        ),
        commit: commit().unwrap_or("unknown".into()),
        date: date(),
        command: command(),
        seed,
        quick,
    })
}

/// Reads, and only reads, fields of the first GPU.
fn ask_nvidia_smi(fields: &str) -> String {
    let query = format!("--query-gpu={fields}");
    match ask("nvidia-smi", &[&query, "--format=csv,noheader", "--id=0"]) {
        Some(values) if fields.contains(',') => format!("{fields} = {values}"),
        Some(values) => values,
        None => "unknown: nvidia-smi did not answer".into(),
    }
}
