//! Runs a trained model: transformed features in, tier probabilities out.

#[cfg(feature = "onnx")]
mod onnx;

#[cfg(feature = "onnx")]
pub use onnx::Model;
