//! The aggregate function that gathers each member's packed events.

use std::{mem::size_of, sync::Arc};

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BinaryArray, BooleanArray, GenericBinaryArray, LargeBinaryArray,
            OffsetSizeTrait,
        },
        buffer::{Buffer, OffsetBuffer},
        datatypes::{DataType, Field, FieldRef},
    },
    error::{DataFusionError, Result},
    logical_expr::{
        Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::nulls::filtered_null_mask;

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

/// The events of all groups so far, as they came; they are put together by group when they are taken.
///
/// (Bytes of each group's own would be allocated again and again as they grow.)
#[derive(Debug, Default)]
struct Groups {
    batches: Vec<Batch>,
    total: usize,
    allocated: usize,
}

/// Events one after the other, and the group and the length of each.
#[derive(Debug)]
struct Batch {
    bytes: Buffer,
    parts: Vec<(u32, u32)>,
}

impl Batch {
    fn each(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut rest = &self.bytes[..];
        self.parts.iter().map(move |(group, length)| {
            let (events, after) = rest.split_at(*length as usize);
            rest = after;
            (*group as usize, events)
        })
    }

    /// The events of some parts, copied.
    fn copied<'e>(events: impl Iterator<Item = (usize, &'e [u8])>) -> Result<Self> {
        let (mut bytes, mut parts) = (Vec::new(), Vec::new());
        for (group, events) in events {
            parts.push((word(group)?, word(events.len())?));
            bytes.extend_from_slice(events);
        }
        Ok(Self { bytes: Buffer::from_vec(bytes), parts })
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + self.parts.capacity() * size_of::<(u32, u32)>()
    }
}

/// The number of a group, or the bytes of a member's events.
fn word(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| {
        DataFusionError::Execution(
            "a partition has too many members, or a member too many events; give more --partitions".into(),
        )
    })
}

impl Groups {
    fn push(&mut self, total: usize, batch: Batch) {
        self.total = total;
        self.allocated += batch.size();
        self.batches.push(batch);
    }

    /// Keeps some events, or what was gathered of some.
    fn keep<O: OffsetSizeTrait>(
        &mut self,
        events: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let events: &GenericBinaryArray<O> = events.as_binary();
        let offsets = events.value_offsets();
        let (first, last) = (offsets[0].as_usize(), offsets[events.len()].as_usize());
        // A slice would hold the memory of the whole.
        let mostly = (last - first) * 2 >= events.values().capacity();
        if mostly && events.null_count() == 0 && filter.is_none() {
            let lengths = offsets.windows(2).map(|ends| word((ends[1] - ends[0]).as_usize()));
            let parts = groups.iter().zip(lengths).map(|(group, length)| Ok((word(*group)?, length?)));
            let parts = parts.collect::<Result<_>>()?;
            self.push(total, Batch { bytes: events.values().slice_with_length(first, last - first), parts });
            return Ok(());
        }
        let valid = filtered_null_mask(filter, events);
        let rows = groups.iter().enumerate();
        let kept = rows.filter(|(row, _)| valid.as_ref().is_none_or(|valid| valid.is_valid(*row)));
        self.push(total, Batch::copied(kept.map(|(row, group)| (*group, events.value(row))))?);
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let taken = match emit_to {
            EmitTo::All => self.total,
            EmitTo::First(first) => first,
        };
        // Where each group begins, and then where its next event goes.
        let mut places = vec![0_usize; taken + 1];
        for (group, events) in self.batches.iter().flat_map(Batch::each).filter(|(group, _)| *group < taken) {
            places[group + 1] += events.len();
        }
        for group in 0..taken {
            places[group + 1] += places[group];
        }
        let lengths: Vec<usize> = places.windows(2).map(|ends| ends[1] - ends[0]).collect();
        let mut bytes = vec![0; places[taken]];
        let batches = std::mem::take(&mut self.batches);
        (self.total, self.allocated) = (self.total - taken, 0);
        for batch in batches {
            for (group, events) in batch.each().filter(|(group, _)| *group < taken) {
                bytes[places[group]..][..events.len()].copy_from_slice(events);
                places[group] += events.len();
            }
            if batch.parts.iter().any(|(group, _)| *group as usize >= taken) {
                let later = batch.each().filter(|(group, _)| *group >= taken);
                self.push(self.total, Batch::copied(later.map(|(group, events)| (group - taken, events)))?);
            }
        }
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(LargeBinaryArray::try_new(offsets, Buffer::from_vec(bytes), None)?))
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.keep::<i32>(&values[0], groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.take(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.keep::<i64>(&values[0], groups, None, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let events: &BinaryArray = values[0].as_binary();
        let offsets = events.offsets().iter().map(|offset| i64::from(*offset)).collect::<Vec<_>>();
        let (offsets, values) = (OffsetBuffer::new(offsets.into()), events.values().clone());
        Ok(vec![Arc::new(LargeBinaryArray::try_new(offsets, values, filtered_null_mask(filter, events))?)])
    }

    fn size(&self) -> usize {
        self.allocated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(events: &[Option<&str>]) -> ArrayRef {
        let mut rows: BinaryArray = events.iter().map(|events| events.map(str::as_bytes)).collect();
        rows.shrink_to_fit(); // what has room to spare is copied
        Arc::new(rows)
    }

    fn texts(taken: &ArrayRef) -> Vec<String> {
        let taken: &LargeBinaryArray = taken.as_binary();
        taken.iter().map(|events| String::from_utf8(events.unwrap_or_default().to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_groups_events_are_together_in_the_order_in_which_they_came() {
        let mut groups = Groups::default();
        groups.update_batch(&[rows(&[Some("a"), Some("bb"), Some("c")])], &[0, 1, 0], None, 2).unwrap();
        groups.update_batch(&[rows(&[None, Some("d"), Some("e")])], &[2, 1, 0], None, 4).unwrap();
        let slice = rows(&[Some("not in it"), Some("f"), Some("gg")]).slice(1, 2);
        groups.update_batch(&[slice], &[3, 1], None, 4).unwrap();
        let some = BooleanArray::from(vec![false, true]);
        groups.update_batch(&[rows(&[Some("filtered"), Some("h")])], &[0, 2], Some(&some), 4).unwrap();
        let before = groups.size();
        assert_eq!(texts(&groups.evaluate(EmitTo::First(2)).unwrap()), ["ace", "bbdgg"]);
        assert!(groups.size() < before);
        groups.update_batch(&[rows(&[Some("i"), Some("j")])], &[2, 0], None, 3).unwrap();
        assert_eq!(texts(&groups.evaluate(EmitTo::All).unwrap()), ["hj", "f", "i"]);
        assert_eq!((groups.size(), groups.evaluate(EmitTo::All).unwrap().len()), (0, 0));
    }

    #[test]
    fn states_go_on_where_they_were_left() {
        let (mut one, mut other) = (Groups::default(), Groups::default());
        one.update_batch(&[rows(&[Some("a"), Some("b"), Some("c")])], &[1, 0, 1], None, 3).unwrap();
        let state = one.state(EmitTo::All).unwrap();
        assert_eq!(texts(&state[0]), ["b", "ac", ""]);
        other.update_batch(&[rows(&[Some("d")])], &[0], None, 1).unwrap();
        other.merge_batch(&state, &[1, 0, 2], 3).unwrap();
        assert_eq!(texts(&other.evaluate(EmitTo::All).unwrap()), ["dac", "b", ""]);
        let some = BooleanArray::from(vec![Some(true), Some(true), Some(false), None, Some(true)]);
        let five =
            rows(&[Some("not in it"), Some("x"), None, Some("not"), Some("nor"), Some("yy")]).slice(1, 5);
        let each = one.convert_to_state(&[five], Some(&some)).unwrap();
        assert_eq!(
            (texts(&each[0]), each[0].null_count()),
            (["x", "", "", "", "yy"].map(String::from).to_vec(), 3)
        );
        other.merge_batch(&each, &[0, 0, 1, 1, 1], 2).unwrap();
        other.merge_batch(&one.convert_to_state(&[rows(&[Some("z")])], None).unwrap(), &[1], 2).unwrap();
        assert_eq!(texts(&other.evaluate(EmitTo::All).unwrap()), ["x", "yyz"]);
    }
}
