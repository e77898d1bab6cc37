//! A rehearsal of the whole program on a machine without a GPU: `gpu-meters` runs against a fake
//! driver and a fake cuBLASLt, which are compiled here and do the arithmetic on the CPU.
//!
//! `rehearsal/driver.cpp` says what that proves and what it does not. NVRTC is the real one.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use measure::gpu::Capture;
use measure::gpu::gpu_format::Format;
use measure::gpu::work::QUICK_BATCHES;
use tempfile::TempDir;

/// What compiles to the fake; the headers beside them are included.
const SOURCES: [&str; 3] = ["driver.cpp", "kernels.cpp", "cublaslt.cpp"];

/// Fast sums need leave to be reordered. `-ffast-math` would give more than that: it assumes that
/// there is no NaN, and the program marks memory that nobody wrote with NaN.
const FLAGS: [&str; 9] = [
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
    "-pthread",
];

/// The fake libraries, in a folder of their own, and where the real NVRTC lies.
struct Rehearsal {
    folder: TempDir,
    nvrtc: OsString,
}

impl Rehearsal {
    /// Compiles the fake, or says why `test` is left out.
    fn prepare(test: &str) -> Result<Option<Self>> {
        let left_out = |why: &str| {
            kit::skip::left_out(test, why);
            Ok(None)
        };
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return left_out("the fake driver is for Linux on x86-64");
        }
        let Some(nvrtc) = std::env::var_os("NVRTC_LIB_DIR").filter(|folder| !folder.is_empty())
        else {
            return left_out(
                "NVRTC_LIB_DIR is not set: point it at the folder of libnvrtc, which the Python \
                 package nvidia-cuda-nvrtc carries",
            );
        };
        let rehearsal = Self { folder: tempfile::tempdir()?, nvrtc };
        if rehearsal.compile()? {
            Ok(Some(rehearsal))
        } else {
            left_out("there is no C++ compiler")
        }
    }

    /// Whether there is a compiler.
    fn compile(&self) -> Result<bool> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("rehearsal");
        let driver = self.folder.path().join("libcuda.so");
        let mut compiler = Command::new("c++");
        compiler.args(FLAGS).args(SOURCES.map(|name| sources.join(name))).arg("-o").arg(&driver);
        let output = match compiler.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            output => output.context("c++")?,
        };
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the fake driver does not compile:\n{text}");
        // One file under two names is loaded once, so both libraries share the device's memory.
        std::fs::hard_link(&driver, self.folder.path().join("libcublasLt.so"))?;
        Ok(true)
    }

    /// Runs the program with `fault` on the small model; the capture is the one it wrote.
    fn run(&self, fault: &str, arguments: &[&str]) -> Result<(Output, Capture)> {
        let path = self.folder.path().join(format!("{fault}.json"));
        // The program searches these folders in this order. The fake comes first, because a toolkit
        // that has NVRTC may have the real cuBLASLt beside it.
        let output = Command::new(env!("CARGO_BIN_EXE_course"))
            .args(["capture", "gpu"])
            .args(arguments)
            .args(["--model", "qwen2.5-0.5b", "--out"])
            .arg(&path)
            .env("NVRTC_LIB_DIR", self.folder.path())
            .env("CUDA_LIB_DIR", &self.nvrtc)
            .env("LD_LIBRARY_PATH", self.folder.path())
            .env("FAKE_CUDA_FAULT", fault)
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{fault} {arguments:?}: {}\n{text}", output.status);
        let capture = Capture::load(&path).with_context(|| text)?;
        ensure!(capture.setup.gpu.contains("fake"), "{}", capture.setup.gpu);
        Ok((output, capture))
    }
}

#[test]
fn every_check_of_every_format_passes_where_the_arithmetic_is_right() -> Result<()> {
    let Some(rehearsal) = Rehearsal::prepare("the rehearsal of every format")? else {
        return Ok(());
    };
    let (output, capture) = rehearsal.run("none", &["--check"])?;
    assert_eq!(capture.failures(), Vec::<String>::new());
    assert_eq!(output.status.code(), Some(0));
    for format in Format::ALL {
        let of = || capture.checks().filter(|check| check.format == format.name());
        // bf16 stores the numbers as they are, so it has no grid.
        let has_grid = of().any(|check| check.meter == "grid");
        assert_eq!(has_grid, format != Format::Bf16, "{}", format.name());
        for tokens in [1, 5, 11, 16, 64, 256] {
            let kernels = of().filter(|check| check.meter == "kernel" && check.tokens == tokens);
            assert!(kernels.count() >= 8, "{}: four shapes, two kinds of data", format.name());
        }
    }
    Ok(())
}

/// The meter bites: with `fault`, no product gets through.
fn fails_every_product(rehearsal: &Rehearsal, fault: &str, arguments: &[&str]) -> Result<Capture> {
    let (output, capture) = rehearsal.run(fault, arguments)?;
    assert_eq!(output.status.code(), Some(1), "{fault}");
    assert!(capture.runs().all(|run| run.error.is_none() && !run.checks.is_empty()), "{fault}");
    // How weights lie in their grid does not depend on products.
    let passed = capture.checks().filter(|check| check.passed && check.meter != "grid");
    assert_eq!(passed.count(), 0, "{fault}");
    Ok(capture)
}

#[test]
fn every_check_of_a_product_fails_where_the_arithmetic_is_wrong() -> Result<()> {
    let Some(rehearsal) = Rehearsal::prepare("the rehearsal of wrong products")? else {
        return Ok(());
    };
    let swapped = ["--check", "--only", "bf16", "--only", "int8"];
    fails_every_product(&rehearsal, "swapped-channels", &swapped)?;
    // Without arithmetic a timed run is short enough, so this one also rehearses the clock.
    let timed = ["--quick", "--budget", "1", "--only", "bf16"];
    let capture = fails_every_product(&rehearsal, "no-products", &timed)?;
    let tokens: Vec<usize> = capture.steps().map(|step| step.tokens).collect();
    assert_eq!(tokens, QUICK_BATCHES);
    assert!(capture.steps().all(|step| step.launched == "graph"), "each step is recorded");
    assert_eq!(capture.products().count(), 4 * QUICK_BATCHES.len(), "four products a layer");
    assert_eq!(capture.peaks().count(), 4, "the copy and three formats");
    Ok(())
}
