//! Our functions as bytes, in the plans that scheduler and executors send each other.
//!
//! Each begins with this program's version, so that a plan is never run by functions of another one.

use std::{any::Any, sync::Arc};

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::TableProvider,
    common::TableReference,
    datasource::file_format::FileFormatFactory,
    error::{DataFusionError, Result},
    execution::TaskContext,
    logical_expr::{AggregateUDF, Extension, LogicalPlan, ScalarUDF},
    physical_plan::ExecutionPlan,
};
use datafusion_proto::{
    logical_plan::LogicalExtensionCodec,
    physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension},
};

use super::VERSION;
use crate::{
    fold::{EventFunction, Gather, Make, Moments, OfMember, Points},
    score::assess::Scores,
};

/// Plans before they are optimised.
#[derive(Debug, Default)]
pub struct Logical(BallistaLogicalExtensionCodec);

/// Plans as they are run.
#[derive(Debug, Default)]
pub struct Physical(BallistaPhysicalExtensionCodec);

fn write(payload: &[u8], buffer: &mut Vec<u8>) {
    buffer.push(VERSION.len() as u8);
    buffer.extend_from_slice(VERSION.as_bytes());
    buffer.extend_from_slice(payload);
}

fn read<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b [u8]> {
    let (length, rest) = bytes.split_first().ok_or_else(|| unknown(name))?;
    let (version, payload) = rest.split_at_checked(usize::from(*length)).ok_or_else(|| unknown(name))?;
    if version == VERSION.as_bytes() {
        return Ok(payload);
    }
    Err(DataFusionError::Execution(format!(
        "this is tiercast {VERSION}, and the plan was made by tiercast {}; install one version everywhere",
        String::from_utf8_lossy(version)
    )))
}

fn unknown(name: &str) -> DataFusionError {
    DataFusionError::NotImplemented(format!(
        "tiercast {VERSION} has no function {name} for plans of a cluster"
    ))
}

fn refused(error: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("a function of the plan cannot be read: {error:#}"))
}

fn encode_scalar(function: &ScalarUDF, buffer: &mut Vec<u8>) {
    let function: &dyn Any = function.inner().as_ref();
    if let Some(event) = function.downcast_ref::<EventFunction>() {
        write(&event.encode(), buffer);
    } else if let Some(make) = function.downcast_ref::<Make>() {
        write(&make.of().encode(), buffer);
    }
}

fn decode_scalar(name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
    let of: Arc<dyn OfMember> = match name {
        Moments::NAME => Arc::new(Moments::decode(read(name, bytes)?).map_err(refused)?),
        Points::NAME => Arc::new(Points::decode(read(name, bytes)?).map_err(refused)?),
        Scores::NAME => Arc::new(Scores::decode(read(name, bytes)?).map_err(refused)?),
        name if EventFunction::NAMES.contains(&name) => {
            let event = EventFunction::decode(read(name, bytes)?).map_err(refused)?;
            return Ok(Arc::new(ScalarUDF::new_from_impl(event)));
        }
        _ => return Err(unknown(name)),
    };
    Ok(Arc::new(ScalarUDF::new_from_impl(Make::new(of))))
}

fn encode_aggregate(function: &AggregateUDF, buffer: &mut Vec<u8>) {
    if function.name() == Gather::NAME {
        write(&[], buffer);
    }
}

fn decode_aggregate(name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
    if name != Gather::NAME {
        return Err(unknown(name));
    }
    read(name, bytes)?;
    Ok(Arc::new(AggregateUDF::new_from_impl(Gather::default())))
}

impl LogicalExtensionCodec for Logical {
    fn try_decode(&self, bytes: &[u8], inputs: &[LogicalPlan], context: &TaskContext) -> Result<Extension> {
        self.0.try_decode(bytes, inputs, context)
    }

    fn try_encode(&self, node: &Extension, buffer: &mut Vec<u8>) -> Result<()> {
        self.0.try_encode(node, buffer)
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        table: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        self.0.try_decode_table_provider(bytes, table, schema, context)
    }

    fn try_encode_table_provider(
        &self,
        table: &TableReference,
        node: Arc<dyn TableProvider>,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        self.0.try_encode_table_provider(table, node, buffer)
    }

    fn try_decode_file_format(
        &self,
        bytes: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.0.try_decode_file_format(bytes, context)
    }

    fn try_encode_file_format(&self, buffer: &mut Vec<u8>, node: Arc<dyn FileFormatFactory>) -> Result<()> {
        self.0.try_encode_file_format(buffer, node)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        decode_scalar(name, bytes)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buffer: &mut Vec<u8>) -> Result<()> {
        encode_scalar(node, buffer);
        Ok(())
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        decode_aggregate(name, bytes)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buffer: &mut Vec<u8>) -> Result<()> {
        encode_aggregate(node, buffer);
        Ok(())
    }
}

impl PhysicalExtensionCodec for Physical {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.try_decode(bytes, inputs, context, converter)
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        self.0.try_encode(node, buffer, converter)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        decode_scalar(name, bytes)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buffer: &mut Vec<u8>) -> Result<()> {
        encode_scalar(node, buffer);
        Ok(())
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        decode_aggregate(name, bytes)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buffer: &mut Vec<u8>) -> Result<()> {
        encode_aggregate(node, buffer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressBar;
    use tiercast_core::{Period, Timestamp};

    use super::*;
    use crate::fixtures::{ROWS, small};

    #[test]
    fn functions_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let project = small(folder.path(), ROWS, ("", ""));
        for skip in [false, true] {
            let event = EventFunction::new(project.event_rules(), skip, ProgressBar::hidden());
            let function = ScalarUDF::new_from_impl(event);
            let mut bytes = Vec::new();
            Physical::default().try_encode_udf(&function, &mut bytes).unwrap();
            assert_eq!(*Logical::default().try_decode_udf(function.name(), &bytes).unwrap(), function);
        }
        let points = Points {
            schema: project.schema().unwrap(),
            as_ofs: vec![Timestamp::parse("2024-03-01").unwrap()],
            period: Period::Month,
            active_within: None,
        };
        let function = ScalarUDF::new_from_impl(Make::new(Arc::new(points)));
        let mut bytes = Vec::new();
        Logical::default().try_encode_udf(&function, &mut bytes).unwrap();
        assert_eq!(*Physical::default().try_decode_udf(function.name(), &bytes).unwrap(), function);

        let at = bytes.iter().position(|byte| *byte == b'.').unwrap();
        bytes[at - 1] = b'9';
        let error = Physical::default().try_decode_udf(function.name(), &bytes).unwrap_err().to_string();
        assert!(error.contains(VERSION) && error.contains("tiercast 9."), "{error}");
        assert!(Physical::default().try_decode_udf("abs", &[]).is_err());

        let function = AggregateUDF::new_from_impl(Gather::default());
        let mut bytes = Vec::new();
        Physical::default().try_encode_udaf(&function, &mut bytes).unwrap();
        assert_eq!(*Logical::default().try_decode_udaf(function.name(), &bytes).unwrap(), function);
        assert!(Physical::default().try_decode_udaf("sum", &[]).is_err());
    }
}
