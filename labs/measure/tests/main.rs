//! The integration tests in one binary: one a file would link the same crates in each.

mod asked_server;
mod cpu_kernels;
mod fake_server;
mod fake_vllm;
mod gpu_gpu;
mod gpu_nvrtc;
mod gpu_w4a16_model;
mod zoo;
