//! Plausible wrong answers, kept as code, each with the test of the spec that must catch it.
