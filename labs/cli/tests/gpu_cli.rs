//! The program's manners on a machine without CUDA.

use std::process::{Command, Output};

use measure::gpu::cuda::libraries;

fn gpu_meters(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_course")).args(["capture", "gpu"]).args(arguments).output()
}

#[test]
fn without_cuda_it_says_what_is_missing_and_exits_with_2() -> std::io::Result<()> {
    if libraries::require_all().is_ok() {
        kit::skip::left_out("the message without CUDA", "CUDA is here");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("capture.json");
    let output = gpu_meters(&["--quick", "--out", &out.to_string_lossy()])?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("cannot run on a GPU here") && text.contains("missing"), "{text}");
    assert!(!out.exists(), "nothing is written when nothing was measured");
    Ok(())
}

#[test]
fn a_wrong_command_line_is_told_what_there_is_and_exits_with_2() -> std::io::Result<()> {
    for (arguments, hint) in
        [(["--only", "int3"], "w4a16-g128"), (["--model", "gpt"], "llama-3.1-8b")]
    {
        let output = gpu_meters(&arguments)?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(hint), "{text}");
    }
    Ok(())
}
