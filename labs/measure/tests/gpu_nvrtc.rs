//! Every kernel compiles for every architecture the course names, without a GPU.

use measure::gpu::cuda::{libraries, nvrtc};

/// Ampere (no FP8), Ada, Hopper.
const ARCHITECTURES: [u32; 3] = [80, 89, 90];

/// Whether the compiler can be had. A reader may lack it; CI installs it.
fn nvrtc_is_here() -> bool {
    let here = libraries::nvrtc_is_present();
    if !here {
        let hint = libraries::nvrtc_hint();
        assert!(!kit::skip::in_ci(), "the kernels must be compiled in CI: {hint}");
        kit::skip::left_out("NVRTC compile checks", hint);
    }
    here
}

#[test]
fn every_kernel_compiles_for_every_architecture() -> anyhow::Result<()> {
    if !nvrtc_is_here() {
        return Ok(());
    }
    println!("NVRTC {}", nvrtc::version()?);
    for source in nvrtc::SOURCES {
        for sm in ARCHITECTURES {
            let code = nvrtc::cubin(source, sm)?;
            assert!(code.starts_with(b"\x7fELF"), "{} for sm_{sm} is machine code", source.name);
            for kernel in source.kernels {
                let name = kernel.as_bytes();
                let there = code.windows(name.len()).any(|window| window == name);
                assert!(there, "{} for sm_{sm} has the kernel {kernel}", source.name);
            }
        }
    }
    Ok(())
}

#[test]
fn a_mistake_in_a_kernel_is_shown_with_the_compilers_words() {
    if !nvrtc_is_here() {
        return;
    }
    let broken = nvrtc::Source { name: "broken.cu", text: "int f( {", kernels: &[] };
    let error = format!("{:#}", nvrtc::cubin(broken, 90).expect_err("it does not compile"));
    assert!(error.contains("broken.cu for sm_90") && error.contains("error"), "{error}");
}
