//! Compiles the kernels at run time, for exactly the device that is there.
//!
//! The result is a CUBIN: machine code, which a driver older than the compiler loads all the same.

use std::ffi::CString;

use anyhow::{Context, Result, anyhow, bail};
use cudarc::nvrtc::{result, sys};

/// One source file of kernels.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The file's name, for messages.
    pub name: &'static str,
    /// CUDA C++, without the prelude.
    pub text: &'static str,
    /// The kernels it holds.
    pub kernels: &'static [&'static str],
}

const PRELUDE: &str = include_str!("../kernels/prelude.cu");

/// All kernels of the program.
pub const SOURCES: [Source; 3] = [
    Source {
        name: "fill.cu",
        text: include_str!("../kernels/fill.cu"),
        kernels: &["fill_random", "fill_tiled", "copy_16_bytes"],
    },
    Source {
        name: "rows.cu",
        text: include_str!("../kernels/rows.cu"),
        kernels: &[
            "quantize_fp8_rows",
            "quantize_int8_rows",
            "absmax_rows",
            "quantize_fp8_tensor",
            "rescale_int32",
        ],
    },
    Source {
        name: "w4a16.cu",
        text: include_str!("../kernels/w4a16.cu"),
        kernels: &[
            "w4a16_r1_t1",
            "w4a16_r2_t1",
            "w4a16_r4_t1",
            "w4a16_r1_t2",
            "w4a16_r2_t2",
            "w4a16_r4_t2",
            "pack_w4",
            "unpack_w4",
        ],
    },
];

/// The version of the NVRTC that is loaded, `13.0`. Call [`super::libraries::nvrtc_is_present`]
/// first.
pub fn version() -> Result<String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are valid for the call.
    let status = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    status.result().map_err(|error| anyhow!("nvrtcVersion: {:?}", error.0))?;
    Ok(format!("{major}.{minor}"))
}

/// Compiles `source` to machine code for `sm` (90 for compute capability 9.0).
///
/// # Errors
/// With the compiler's log, or if this NVRTC does not know the architecture.
pub fn cubin(source: Source, sm: u32) -> Result<Vec<u8>> {
    let text = CString::new(format!("{PRELUDE}\n#line 1\n{}", source.text))?;
    let name = CString::new(source.name)?;
    let mut program = result::create_program(&text, Some(&name))
        .map_err(|error| anyhow!("nvrtcCreateProgram of {}: {:?}", source.name, error.0))?;
    let compiled = compile(program, sm).with_context(|| format!("{} for sm_{sm}", source.name));
    // SAFETY: the program was created above and is destroyed once.
    let destroyed = unsafe { sys::nvrtcDestroyProgram(&mut program) };
    let code = compiled?;
    destroyed.result().map_err(|error| anyhow!("nvrtcDestroyProgram: {:?}", error.0))?;
    Ok(code)
}

fn compile(program: sys::nvrtcProgram, sm: u32) -> Result<Vec<u8>> {
    let options = [format!("--gpu-architecture=sm_{sm}"), "--std=c++17".to_string()];
    // SAFETY: the program is alive; the options are plain strings.
    if let Err(error) = unsafe { result::compile_program(program, &options) } {
        bail!("nvrtcCompileProgram: {:?}\n{}", error.0, log(program));
    }
    let mut size = 0;
    // SAFETY: the program is compiled; `size` is valid for the call.
    let status = unsafe { sys::nvrtcGetCUBINSize(program, &mut size) };
    status.result().map_err(|error| anyhow!("nvrtcGetCUBINSize: {:?}", error.0))?;
    let mut code = vec![0u8; size];
    // SAFETY: the buffer has the size that NVRTC asked for.
    let status = unsafe { sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()) };
    status.result().map_err(|error| anyhow!("nvrtcGetCUBIN: {:?}", error.0))?;
    if code.is_empty() {
        bail!("nvrtcGetCUBIN gave no code: this NVRTC has no compiler for the architecture");
    }
    Ok(code)
}

fn log(program: sys::nvrtcProgram) -> String {
    // SAFETY: the program is alive.
    let log = unsafe { result::get_program_log(program) }.unwrap_or_default();
    let bytes: Vec<u8> = log.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
