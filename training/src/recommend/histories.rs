//! Members' events in memory, for what is learned of all of them together.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, LargeBinaryArray, LargeBinaryBuilder, StringArray},
        compute::cast,
        datatypes::DataType,
    },
    error::Result,
};
use tiercast_core::{Event, FeatureSchema, MemberState, Timestamp, name_hash};

use crate::{
    fold::{self, Gathering, Members, OfMember, packed},
    models::mix,
    table::Events,
};

/// Members with their events in canonical order, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Histories(pub(super) Vec<(String, Vec<Event>)>);

/// A member's events as they are.
#[derive(Debug)]
struct AsTheyAre;

impl OfMember for AsTheyAre {
    fn name(&self) -> &'static str {
        "tiercast_events"
    }

    fn data_type(&self) -> DataType {
        DataType::LargeBinary
    }

    fn make(&self, members: &Members<'_>) -> Result<ArrayRef> {
        let (mut made, mut bytes) = (LargeBinaryBuilder::new(), Vec::new());
        members.each(|_, events| {
            bytes.clear();
            events.iter().for_each(|event| packed::write(event, &mut bytes));
            made.append_value(&bytes);
            Ok(())
        })?;
        Ok(Arc::new(made.finish()))
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }
}

impl Histories {
    /// Reads the events of all members, or of a random half, quarter and so on of them, so that they are at most `most`.
    pub(super) async fn read(events: &Events, how: &Gathering<'_>, most: usize) -> anyhow::Result<Self> {
        let (mut members, mut mask) = (Vec::new(), 0_u64);
        let taken = |name: &str, mask: u64| mix(u64::from(name_hash(name))) & mask == 0;
        fold::gather(events, Arc::new(AsTheyAre), how, |batch| {
            let names = cast(batch.column(0), &DataType::Utf8)?;
            let (names, made): (&StringArray, &LargeBinaryArray) =
                (names.as_string(), batch.column(1).as_binary());
            for row in (0..made.len()).filter(|row| !names.is_null(*row) && taken(names.value(*row), mask)) {
                let mut events = Vec::new();
                packed::read_into(made.value(row), &mut events)?;
                members.push((names.value(row).to_owned(), events));
            }
            while members.len() > most {
                mask = mask << 1 | 1;
                members.retain(|(name, _)| taken(name, mask));
            }
            Ok(())
        })
        .await?;
        Ok(Self(members))
    }

    /// What is known of each member at a moment.
    pub(super) fn at(&self, schema: &FeatureSchema, now: Timestamp) -> Vec<MemberState> {
        let known = |events: &[Event]| state(schema, events.iter().take_while(|event| event.time <= now));
        self.0.iter().map(|(_, events)| known(events)).collect()
    }
}

/// The history of some events.
pub(super) fn state<'e>(schema: &FeatureSchema, events: impl Iterator<Item = &'e Event>) -> MemberState {
    let mut state = MemberState::new(schema);
    events.for_each(|event| {
        state.observe(*event);
    });
    state
}
