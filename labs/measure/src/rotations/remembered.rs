//! Rotations whose tensors are computed once, because many runs ask for the same.

use std::collections::BTreeMap;
use std::sync::Mutex;

use formats::bytes::Float;
use formats::checkpoint::Tensor;
use formats::registry::{StorageFormat, StoredPart};
use model::{Model, Weights};
use ndarray::Array2;
use quantizer::rotate::Rotations;
use quantizer::{Transform, WriteError};
use serde_json::{Map, Value};

/// Rotations, and the tensors that they gave. A model of this course fits into memory.
pub struct Remembered {
    rotations: Rotations,
    tensors: Mutex<BTreeMap<String, Array2<f32>>>,
}

impl Remembered {
    /// Nothing is remembered yet.
    pub fn new(rotations: Rotations) -> Self {
        Self { rotations, tensors: Mutex::new(BTreeMap::new()) }
    }
}

impl Transform for Remembered {
    fn check(&self, format: StorageFormat) -> Result<(), WriteError> {
        self.rotations.check(format)
    }

    fn lab(&self) -> &'static str {
        self.rotations.lab()
    }

    fn settings(&self) -> String {
        self.rotations.settings()
    }

    fn apply(&self, name: &str, tensor: Array2<f32>) -> Result<Array2<f32>, WriteError> {
        let lock = || self.tensors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = lock().get(name) {
            return Ok(known.clone());
        }
        // Not under the lock, so that threads rotate different tensors at once.
        let rotated = self.rotations.apply(name, tensor)?;
        lock().insert(name.into(), rotated.clone());
        Ok(rotated)
    }

    fn tensors(&self, tensors: &[Tensor]) -> Vec<Tensor> {
        self.rotations.tensors(tensors)
    }

    fn origin<'n>(&self, name: &'n str) -> &'n str {
        self.rotations.origin(name)
    }

    fn added(&self, float: Float) -> Result<Vec<StoredPart>, WriteError> {
        self.rotations.added(float)
    }

    fn finish(&self, weights: &Weights, model: &mut Model) -> Result<(), WriteError> {
        self.rotations.finish(weights, model)
    }

    fn config(&self, config: &mut Map<String, Value>) {
        self.rotations.config(config);
    }
}
