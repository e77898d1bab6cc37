//! Where, when and with what a run is made.

use crate::capture::machine::{command, commit, date, processor, system};

use crate::engines::capture::Provenance;
use kit::workspace::root;

impl Provenance {
    /// What this machine says of itself, for a run of `engine` now.
    pub fn of_this_run(engine: &str, engine_version: &str, quick: bool) -> Self {
        Self {
            engine: engine.into(),
            engine_version: engine_version.into(),
            processor: processor(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            instructions: instructions(),
            system: system(),
            commit: commit().unwrap_or("unknown".into()),
            date: date(),
            command: command(),
            quick,
        }
    }
}

/// The vector instructions that decide which kernels an engine has here.
fn instructions() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
        ("AVX-512 VNNI", std::arch::is_x86_feature_detected!("avx512vnni")),
        ("AVX-512 BF16", std::arch::is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found = [(std::env::consts::ARCH, true)];
    let names: Vec<&str> =
        found.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Leaves this machine's folders out of what an engine said.
pub fn without_folders(text: &mut String) {
    *text = text.replace(&format!("{}/", root().display()), "");
    if let Some(home) = std::env::var("HOME").ok().filter(|home| home.len() > 1) {
        *text = text.replace(&home, "~");
    }
}
