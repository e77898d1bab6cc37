//! Every program that measures, each in a folder with its captures.
//!
//! * [`capture`]: the file of a run on one machine, one frame for all programs.
//! * [`cpu`]: products and encoders of lab 03 on this machine's processor.
//! * [`outliers`]: the outliers of a whole model, and what quantizing does to its layers and to it.
//! * [`gpu`]: throughput, capacity and outputs of each format on an NVIDIA GPU.
//! * [`gptq`]: what each choice of GPTQ does to a whole model, and what the choice costs.
//! * [`awq`]: methods of four bits on a whole model, each in every layout.
//! * [`grids`]: a whole model in each format of four and of eight bits.
//! * [`kv`]: a whole model with its keys and values in each format.
//! * [`zoo`]: a whole model in every format and by every method, beside other programs.
//! * [`subject`]: the fetched model on the passage, which both compare with.
//! * [`engines`]: this course's model, llama.cpp and vLLM, asked the same questions.

pub mod awq;
pub mod capture;
pub mod cpu;
pub mod engines;
pub mod gptq;
pub mod gpu;
pub mod grids;
pub mod kv;
pub mod outliers;
pub mod rotations;
mod sha256;
pub mod subject;
pub mod zoo;
