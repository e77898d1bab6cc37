//! The layouts of real checkpoints, to the bit.
