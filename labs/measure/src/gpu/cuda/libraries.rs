//! Finds the three shared libraries, and says which are missing.
//!
//! The loader looks where the system tells it to. Where CUDA came with a toolkit that is not on
//! that path, or with a Python package, the library is opened here by its full path first; the
//! loader then answers the short name with the copy that is already open.

use std::path::{Path, PathBuf};

use cudarc::{cublaslt, driver, nvrtc};
use libloading::Library;

/// Which libraries cannot be opened.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("cannot run on a GPU here: {}", .0.join("; "))]
pub struct Missing(pub Vec<String>);

/// The driver, which comes with the GPU's driver package and nothing else.
const DRIVER: &str = "the NVIDIA driver library (libcuda.so.1, nvcuda.dll) is missing: install the \
                      GPU's driver";
const NVRTC: &str = "NVRTC (libnvrtc) is missing: install the CUDA toolkit or the Python package \
                     nvidia-cuda-nvrtc, and point NVRTC_LIB_DIR or LD_LIBRARY_PATH at its folder";
const CUBLASLT: &str = "cuBLASLt (libcublasLt) is missing: install the CUDA toolkit or the Python \
                        package nvidia-cublas, and point CUDA_LIB_DIR or LD_LIBRARY_PATH at its \
                        folder";

/// Opens what can be opened.
///
/// # Errors
/// With a sentence for each library that is missing.
pub fn require_all() -> Result<(), Missing> {
    let nvrtc = nvrtc_is_present();
    open_from_folders(&["libcublasLt.so", "cublasLt64_"]);
    // SAFETY: these only try to open libraries by their own names; the vendor's initializers run.
    let (driver, cublaslt) =
        unsafe { (driver::sys::is_culib_present(), cublaslt::sys::is_culib_present()) };
    let found = [(driver, DRIVER), (nvrtc, NVRTC), (cublaslt, CUBLASLT)];
    let missing: Vec<String> =
        found.iter().filter(|(there, _)| !there).map(|(_, text)| text.to_string()).collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

/// Whether NVRTC can be opened. It asks for its builtins by their short name, so they come first.
pub fn nvrtc_is_present() -> bool {
    open_from_folders(&["libnvrtc-builtins.so", "nvrtc-builtins64_"]);
    open_from_folders(&["libnvrtc.so", "nvrtc64_"]);
    // SAFETY: only tries to open the library by its own names.
    unsafe { nvrtc::sys::is_culib_present() }
}

/// What to say where NVRTC is missing.
pub fn nvrtc_hint() -> &'static str {
    NVRTC
}

/// Opens, in the first folder that has one, the file whose name begins with one of `prefixes`, and
/// keeps it open until the process ends.
fn open_from_folders(prefixes: &[&str]) {
    for file in folders().iter().flat_map(|folder| files(folder, prefixes)) {
        // SAFETY: a CUDA library of the folder that the user or the toolkit names; its
        // initializers run as they would if the loader had found it.
        if let Ok(library) = unsafe { Library::new(&file) } {
            std::mem::forget(library);
            return;
        }
    }
}

/// Files in `folder` that begin with a prefix, newest version first.
fn files(folder: &Path, prefixes: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(wanted).collect();
    files.sort_by(|a, b| b.cmp(a));
    files
}

/// Folders that may hold the libraries: those the user names, the toolkit's, the Python packages'.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["NVRTC_LIB_DIR", "CUDA_LIB_DIR"].iter().filter_map(variable).collect();
    if let Some(paths) = std::env::var_os("LD_LIBRARY_PATH") {
        folders.extend(std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()));
    }
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(variable);
    for toolkit in toolkits.chain([PathBuf::from("/usr/local/cuda")]) {
        folders.extend(["lib64", "lib", "bin", "bin/x64"].map(|name| toolkit.join(name)));
        folders.push(toolkit.join("targets").join("x86_64-linux").join("lib"));
    }
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(variable);
    folders.extend(environments.flat_map(|environment| python_folders(&environment)));
    folders
}

/// `lib/python*/site-packages/nvidia/*/lib` of a Python environment.
fn python_folders(environment: &Path) -> Vec<PathBuf> {
    let children = |path: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let pythons = children(environment.join("lib")).into_iter();
    let packages = pythons.flat_map(|python| children(python.join("site-packages").join("nvidia")));
    packages.map(|package| package.join("lib")).collect()
}

fn variable(name: &&str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
