//! The GPU and the libraries of a run, as they describe themselves.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::cuda::lt::Lt;
use super::cuda::{Facts, nvrtc};
use crate::capture::ask;

/// The GPU and the libraries of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Setup {
    /// The GPU's name.
    pub gpu: String,
    /// Compute capability, `9.0`.
    pub compute_capability: String,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of L2 cache.
    pub l2_bytes: u64,
    /// Bytes of device memory.
    pub memory_bytes: u64,
    /// The driver's own version where `nvidia-smi` tells it.
    pub driver: String,
    /// The newest CUDA the driver speaks, `13.0`.
    pub cuda: String,
    /// NVRTC's version.
    pub nvrtc: String,
    /// cuBLASLt's version.
    pub cublaslt: String,
    /// Clocks, power limit and temperature as `nvidia-smi` reads them, before the run.
    pub clocks: String,
    /// The seed of the random data.
    pub seed: u32,
}

impl Setup {
    /// What the device, the driver and the libraries say of themselves.
    ///
    /// # Errors
    /// If NVRTC does not tell its version.
    pub fn of(facts: &Facts, seed: u32) -> Result<Self> {
        Ok(Self {
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
            seed,
        })
    }
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
