//! The aggregate function that gathers each member's packed events.

use std::{mem::size_of, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, LargeBinaryArray, LargeBinaryBuilder},
        datatypes::{DataType, Field, FieldRef},
    },
    error::{DataFusionError, Result},
    logical_expr::{
        Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

/// Events in, the events of each group as bytes out, in whatever order they came.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Gather {
    signature: Signature,
}

impl Default for Gather {
    fn default() -> Self {
        Self { signature: Signature::exact(vec![DataType::Binary], Volatility::Stable) }
    }
}

impl Gather {
    /// The function's name in a plan.
    pub const NAME: &str = "tiercast_gather";
}

impl AggregateUDFImpl for Gather {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        // Offsets of plain Binary overflow at 2 GiB of events.
        Ok(DataType::LargeBinary)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Err(DataFusionError::NotImplemented(format!("{} is used with GROUP BY member", Self::NAME)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[events]", args.name), DataType::LargeBinary, true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::default()))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The events of each group so far.
#[derive(Debug, Default)]
struct Groups {
    events: Vec<Vec<u8>>,
    allocated: usize,
}

impl Groups {
    fn extend(&mut self, group: usize, bytes: &[u8]) {
        let events = &mut self.events[group];
        let before = events.capacity();
        events.extend_from_slice(bytes);
        self.allocated += events.capacity() - before;
    }

    fn take(&mut self, emit_to: EmitTo) -> ArrayRef {
        let taken = emit_to.take_needed(&mut self.events);
        let bytes = taken.iter().map(Vec::len).sum();
        let mut builder = LargeBinaryBuilder::with_capacity(taken.len(), bytes);
        for events in taken {
            self.allocated -= events.capacity();
            builder.append_value(&events);
        }
        Arc::new(builder.finish())
    }
}

fn is_kept(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.events.resize_with(total, Vec::new);
        let events: &BinaryArray = values[0].as_binary();
        for (row, &group) in groups.iter().enumerate() {
            if events.is_valid(row) && is_kept(filter, row) {
                self.extend(group, events.value(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take(emit_to)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.events.resize_with(total, Vec::new);
        let states: &LargeBinaryArray = values[0].as_binary();
        for (row, &group) in groups.iter().enumerate() {
            if states.is_valid(row) {
                self.extend(group, states.value(row));
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let events: &BinaryArray = values[0].as_binary();
        let kept = |row: usize| (events.is_valid(row) && is_kept(filter, row)).then(|| events.value(row));
        Ok(vec![Arc::new((0..events.len()).map(kept).collect::<LargeBinaryArray>())])
    }

    fn size(&self) -> usize {
        self.allocated + self.events.capacity() * size_of::<Vec<u8>>()
    }
}
