//! Slices made arrays of their own.
//!
//! What was grouped comes as slices of one large array. A sort counts for each of them the memory of the whole, and goes to
//! disk as if it had many times as much.

use datafusion::{
    arrow::{
        array::{Array, make_array},
        datatypes::DataType,
    },
    common::scalar::copy_array_data,
    error::{DataFusionError, Result},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

/// Copies a slice, so that it holds no memory but its own.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Own {
    signature: Signature,
}

impl Default for Own {
    fn default() -> Self {
        // It is called for what it does to memory, so that no plan may take it for a constant or leave it out.
        Self { signature: Signature::any(1, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Own {
    fn name(&self) -> &'static str {
        "tiercast_own"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let one = types.first().cloned();
        one.ok_or_else(|| DataFusionError::Internal("tiercast_own takes one column".into()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Array(array)] = &args.args[..] else {
            return Err(DataFusionError::Internal("tiercast_own takes one column".into()));
        };
        let data = array.to_data();
        if data.get_slice_memory_size()? * 2 >= array.get_array_memory_size() {
            return Ok(ColumnarValue::Array(array.clone()));
        }
        Ok(ColumnarValue::Array(make_array(copy_array_data(&data))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::{
        arrow::{array::StringArray, datatypes::Field},
        config::ConfigOptions,
    };

    use super::*;

    #[test]
    fn a_slice_becomes_an_array_of_its_own_with_the_same_values() {
        let large = StringArray::from_iter_values((0..10_000).map(|i| format!("member {i}")));
        let slice = large.slice(500, 20);
        let field = Arc::new(Field::new("member", DataType::Utf8, false));
        let args = ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(Arc::new(slice.clone()))],
            arg_fields: vec![Arc::clone(&field)],
            number_rows: 20,
            return_field: field,
            config_options: Arc::new(ConfigOptions::default()),
        };
        let Ok(ColumnarValue::Array(own)) = Own::default().invoke_with_args(args) else { panic!() };
        assert_eq!(own.to_data(), slice.to_data());
        assert!(own.get_array_memory_size() < 4096 && slice.get_array_memory_size() > 100_000);
    }
}
