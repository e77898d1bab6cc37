//! Where, when and with what a run is made.

use engines::capture::{Checkpoint, Provenance};
use kit::capture::run::{command, commit, date, processor, system};

use crate::engine::Ready;
use crate::{Cli, Engine, root};

/// What this machine says of itself.
pub fn of_run(cli: &Cli, ready: &Ready) -> Provenance {
    Provenance {
        engine: match cli.engine {
            Engine::Ours => "this course".into(),
            Engine::Vllm => "vLLM".into(),
            Engine::LlamaCpp => "llama.cpp".into(),
        },
        engine_version: ready.version.clone(),
        processor: processor(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        instructions: instructions(),
        system: system(),
        commit: commit().unwrap_or("unknown".into()),
        date: date(),
        command: command(),
        quick: cli.quick,
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

/// The same with this machine's folders left out of what the engine said.
pub fn without_paths(mut checkpoint: Checkpoint) -> Checkpoint {
    let root = format!("{}/", root().display());
    let home = std::env::var("HOME").ok().filter(|home| home.len() > 1);
    let clean = |text: &mut String| {
        *text = text.replace(&root, "");
        if let Some(home) = &home {
            *text = text.replace(home, "~");
        }
    };
    checkpoint.error.iter_mut().for_each(clean);
    checkpoint.facts.iter_mut().for_each(clean);
    checkpoint
}
