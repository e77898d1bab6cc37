//! Plausible wrong answers.
