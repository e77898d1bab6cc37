//! The GGUF file that the real weights come from, decoded block by block.
