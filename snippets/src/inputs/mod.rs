//! What the book is made of besides the labs: every data file, once, with the type that its makers
//! are handed.

// Here, and nowhere else in this crate, files are read: `clippy.toml` names what others may not call.
#![allow(clippy::disallowed_methods)]

mod captures;
mod real_slice;

use std::path::PathBuf;

use anyhow::{Context, Result};
use formats::checkpoint::{Inspection, golden, inspect};
use measure::engines::vllm_map::{self, VllmMap};
use measure::{awq, cpu, engines, gpu, outliers};

use crate::entry::Input;
pub use captures::Engines;
use captures::json_in;
pub(crate) use captures::{load, load_all};
pub use real_slice::{Caches, Hessians, Layer, Layers, Slice, WithHessian};

/// A path under `labs/measure/src`, where each program has a folder `captures`.
macro_rules! captures {
    ($path:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/measure/src/", $path)
    };
}

const GPU_FOLDER: &str = captures!("gpu/captures");
const CPU_FOLDER: &str = captures!("cpu/captures");
const MODEL_FOLDER: &str = captures!("outliers/captures");
const AWQ_FOLDER: &str = captures!("awq/captures");
const METERS_FOLDER: &str = captures!("engines/captures/meters");
const IN_TURN_FOLDER: &str = captures!("engines/captures/in-turn");
const SERVED_FOLDER: &str = captures!("engines/captures/serve");
const SEVEN_BITS_FILE: &str = captures!("engines/captures/serve/control/vllm-seven-bits.json");
const ROUNDING_FILE: &str = captures!("engines/captures/rounding/ours-epyc-rounding.json");
const AWQ_SERVED_FILES: [&str; 2] = [
    captures!("engines/captures/awq/ours-epyc-avx512.json"),
    captures!("engines/captures/awq/vllm-epyc-avx512.json"),
];
const GPTQ_SERVED_FILES: [&str; 2] = [
    captures!("engines/captures/gptq/ours-epyc-avx512.json"),
    captures!("engines/captures/gptq/vllm-epyc-avx512.json"),
];
const FLOATS_SERVED_FILES: [&str; 2] = [
    captures!("engines/captures/floats/ours-epyc-avx512.json"),
    captures!("engines/captures/floats/vllm-epyc-avx512.json"),
];
const FLOATS_IN_GGUF_FILES: [&str; 2] = [
    captures!("engines/captures/floats/ours-gguf-epyc-avx512.json"),
    captures!("engines/captures/floats/llama-cpp-epyc-avx512.json"),
];
const GPTQ_W8A8_FILE: &str = captures!("engines/captures/gptq/ours-epyc-w8a8.json");
const GPTQ_FOLDER: &str = captures!("gptq/captures");
const GPTQ_SPEED_FILE: &str = captures!("gptq/captures/in-turn/gptq-epyc-zen5-2.json");
const KV_FOLDER: &str = captures!("kv/captures");
const KV_OURS_FILES: [&str; 3] = [
    captures!("engines/captures/kv/ours-none.json"),
    captures!("engines/captures/kv/ours-fp8.json"),
    captures!("engines/captures/kv/ours-kv-fp8.json"),
];
const KV_VLLM_FILES: [&str; 8] = [
    captures!("engines/captures/kv/vllm-auto.json"),
    captures!("engines/captures/kv/vllm-fp8.json"),
    captures!("engines/captures/kv/vllm-kv-fp8.json"),
    captures!("engines/captures/kv/vllm-fp8_e5m2.json"),
    captures!("engines/captures/kv/vllm-fp8_per_token_head.json"),
    captures!("engines/captures/kv/vllm-int8_per_token_head.json"),
    captures!("engines/captures/kv/vllm-int4_per_token_head.json"),
    captures!("engines/captures/kv/vllm-nvfp4.json"),
];
const KV_LLAMA_CPP_FILES: [&str; 5] = [
    captures!("engines/captures/kv/llama-cpp-f16.json"),
    captures!("engines/captures/kv/llama-cpp-q8_0.json"),
    captures!("engines/captures/kv/llama-cpp-q8_0-norot.json"),
    captures!("engines/captures/kv/llama-cpp-q4_0.json"),
    captures!("engines/captures/kv/llama-cpp-q4_0-norot.json"),
];
const OWN_MEMORY_FILES: [&str; 3] = [
    captures!("engines/captures/memory/llama-cpp.json"),
    captures!("engines/captures/memory/vllm.json"),
    captures!("engines/captures/memory/vllm-2-gib.json"),
];
const K_QUANTS_FILE: &str = captures!("engines/captures/k-quants/llama-cpp.json");
const ZOO_FOLDER: &str = captures!("zoo/captures");
const ROTATIONS_FOLDER: &str = captures!("rotations/captures");
const ROTATIONS_SERVED_FILES: [&str; 3] = [
    captures!("engines/captures/rotations/ours-rotated.json"),
    captures!("engines/captures/rotations/vllm-rotated.json"),
    captures!("engines/captures/rotations/llama-cpp-rotated.json"),
];
const K_QUANTS_SPEED_FILE: &str = captures!("engines/captures/k-quants/llama-cpp-speed.json");
const GRIDS_FOLDER: &str = captures!("grids/captures");
const AVX512_FILE: &str = captures!("engines/captures/serve/avx512/vllm-epyc-avx512-2.json");

/// The nine real matrices.
pub static SLICE: Input<Slice> = Input::new(|| vec![kit::real_slice::PATH.into()], Slice::read);

/// The nine real layers: the same matrices, and what they are given.
pub static LAYERS: Input<Layers> = Input::new(
    || vec![kit::real_slice::PATH.into(), kit::real_slice::ACTIVATIONS_PATH.into()],
    Layers::read,
);

/// The two real matrices with Hessians.
pub static HESSIANS: Input<Hessians> = Input::new(
    || vec![kit::real_slice::PATH.into(), kit::real_slice::HESSIANS_PATH.into()],
    Hessians::read,
);

/// The real KV caches.
pub static CACHES: Input<Caches> = Input::new(|| vec![kit::real_cache::PATH.into()], Caches::read);

/// The captures of `cargo book capture gpu`.
pub static GPU: Input<Gpus> = Input::new(committed_gpus, |files| Ok(Gpus(load_all(files)?)));

/// The files of [`GPU`].
pub(crate) fn committed_gpus() -> Vec<PathBuf> {
    json_in(GPU_FOLDER)
}

/// The capture of `cargo book capture cpu`.
pub static CPU: Input<cpu::Capture> =
    Input::new(|| json_in(CPU_FOLDER), |files| captures::the_one(CPU_FOLDER, files, "capture cpu"));

/// The capture of `cargo book capture model`.
pub static MODEL: Input<outliers::Capture> = Input::new(
    || json_in(MODEL_FOLDER),
    |files| captures::the_one(MODEL_FOLDER, files, "capture model"),
);

/// The capture of `cargo book capture awq`.
pub static AWQ: Input<awq::Capture> =
    Input::new(|| json_in(AWQ_FOLDER), |files| captures::the_one(AWQ_FOLDER, files, "capture awq"));

/// The captures of `cargo book measure`.
pub static METERS: Input<Engines> =
    Input::new(|| json_in(METERS_FOLDER), |files| Engines::read(METERS_FOLDER, files));

/// The speed of the three engines on one machine, one after the other.
pub static IN_TURN: Input<Engines> =
    Input::new(|| json_in(IN_TURN_FOLDER), |files| Engines::read(IN_TURN_FOLDER, files));

/// Two engines' own memory, vLLM's beside a cache and beside a larger one.
pub static OWN_MEMORY: Input<Vec<engines::Capture>> =
    Input::new(|| OWN_MEMORY_FILES.map(PathBuf::from).into(), load_all);

/// The captures of quality, of every checkpoint that an engine reads.
pub static SERVED: Input<Engines> =
    Input::new(|| json_in(SERVED_FOLDER), |files| Engines::read(SERVED_FOLDER, files));

/// The control of [`SERVED`]: the same model in seven bits, served by vLLM.
pub static SEVEN_BITS: Input<engines::Capture> =
    Input::new(|| vec![SEVEN_BITS_FILE.into()], |files| load(&files[0]));

/// vLLM's capture on a processor with AVX-512 and VNNI.
pub static AVX512: Input<engines::Capture> =
    Input::new(|| vec![AVX512_FILE.into()], |files| load(&files[0]));

/// The quality of W4A16 with two roundings, by this course's model.
pub static ROUNDING: Input<engines::Capture> =
    Input::new(|| vec![ROUNDING_FILE.into()], |files| load(&files[0]));

/// The capture of `cargo book capture gptq`.
pub static GPTQ: Input<measure::gptq::Capture> = Input::new(
    || json_in(GPTQ_FOLDER),
    |files| captures::the_one(GPTQ_FOLDER, files, "capture gptq"),
);

/// Two runs of GPTQ and another program, in turn.
pub static GPTQ_SPEED: Input<measure::gptq::Capture> =
    Input::new(|| vec![GPTQ_SPEED_FILE.into()], |files| load(&files[0]));

/// The quality of files in lab 08's formats, by this course's model and by vLLM.
pub static FLOATS_SERVED: Input<Vec<engines::Capture>> =
    Input::new(|| FLOATS_SERVED_FILES.map(PathBuf::from).into(), load_all);

/// The quality of GGUF files in lab 08's format, by this course's model and by llama.cpp.
pub static FLOATS_IN_GGUF: Input<Vec<engines::Capture>> =
    Input::new(|| FLOATS_IN_GGUF_FILES.map(PathBuf::from).into(), load_all);

/// The capture of `cargo book capture grids`.
pub static GRIDS: Input<measure::grids::Capture> = Input::new(
    || json_in(GRIDS_FOLDER),
    |files| captures::the_one(GRIDS_FOLDER, files, "capture grids"),
);

/// The capture of `cargo book capture kv`.
pub static KV: Input<measure::kv::Capture> =
    Input::new(|| json_in(KV_FOLDER), |files| captures::the_one(KV_FOLDER, files, "capture kv"));

/// llama.cpp's speed with the files of each mix of k-quants.
pub static K_QUANTS_SPEED: Input<engines::Capture> =
    Input::new(|| vec![K_QUANTS_SPEED_FILE.into()], |files| load(&files[0]));

/// llama.cpp's words on the files of each mix of k-quants.
pub static K_QUANTS: Input<engines::Capture> =
    Input::new(|| vec![K_QUANTS_FILE.into()], |files| load(&files[0]));
/// The capture of `cargo book capture rotations`.
pub static ROTATIONS: Input<measure::rotations::Capture> = Input::new(
    || json_in(ROTATIONS_FOLDER),
    |files| captures::the_one(ROTATIONS_FOLDER, files, "capture rotations"),
);

/// The capture of `cargo book zoo`.
pub static ZOO: Input<measure::zoo::Capture> =
    Input::new(|| json_in(ZOO_FOLDER), |files| captures::the_one(ZOO_FOLDER, files, "zoo"));

/// Rotated checkpoints in this course's model, in vLLM and in llama.cpp.
pub static ROTATIONS_SERVED: Input<Vec<engines::Capture>> =
    Input::new(|| ROTATIONS_SERVED_FILES.map(PathBuf::from).into(), load_all);

/// The course's model with an FP8 cache, its scales 1 or calibrated, behind the one without.
pub static KV_OURS: Input<Vec<engines::Capture>> =
    Input::new(|| KV_OURS_FILES.map(PathBuf::from).into(), load_all);

/// llama.cpp with its cache in each format, the one that the others are compared with first.
pub static KV_LLAMA_CPP: Input<Vec<engines::Capture>> =
    Input::new(|| KV_LLAMA_CPP_FILES.map(PathBuf::from).into(), load_all);

/// vLLM with its cache in each format, the one that the others are compared with first.
pub static KV_VLLM: Input<Vec<engines::Capture>> =
    Input::new(|| KV_VLLM_FILES.map(PathBuf::from).into(), load_all);

/// Files of lab 07's codes in this course's model and in vLLM.
pub static AWQ_SERVED: Input<Vec<engines::Capture>> =
    Input::new(|| AWQ_SERVED_FILES.map(PathBuf::from).into(), load_all);

/// The quality of files that lab 06's codes are in, by this course's model and by vLLM.
pub static GPTQ_SERVED: Input<Vec<engines::Capture>> =
    Input::new(|| GPTQ_SERVED_FILES.map(PathBuf::from).into(), load_all);

/// The quality of W8A8 with the nearest codes and with GPTQ's, by this course's model.
pub static GPTQ_W8A8: Input<engines::Capture> =
    Input::new(|| vec![GPTQ_W8A8_FILE.into()], |files| load(&files[0]));

/// What lies in vLLM's quantization folder.
pub static VLLM_MAP: Input<VllmMap> =
    Input::new(|| vec![vllm_map::PATH.into()], |_| Ok(VllmMap::load()?));

/// What other people's tools wrote.
pub static GOLDEN: Input<Golden> = Input::new(golden::files, Golden::read);

/// The captures of several GPUs, in the order of their files.
pub struct Gpus(pub Vec<gpu::Capture>);

impl Gpus {
    /// The capture of the GPU whose name has `part` in it.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(&self, part: &str) -> Result<&gpu::Capture> {
        let found = self.0.iter().find(|capture| capture.setup.gpu.contains(part));
        found.with_context(|| format!("there is no capture of an {part} in {GPU_FOLDER}"))
    }
}

/// What inspect says of each checkpoint: its name, the tool that wrote it, the inspection.
pub struct Golden(pub Vec<(&'static str, &'static str, Inspection)>);

impl Golden {
    fn read(_: &[PathBuf]) -> Result<Self> {
        let inspected = |(name, tool)| Ok((name, tool, inspect(golden::path(name))?));
        Ok(Self(golden::ALL.into_iter().map(inspected).collect::<Result<_>>()?))
    }

    /// The inspection of one.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn of(&self, name: &str) -> Result<&Inspection> {
        let found = self.0.iter().find(|(known, ..)| *known == name);
        Ok(&found.with_context(|| format!("there is no golden checkpoint {name}"))?.2)
    }
}
