//! The histories of stored members: as the records that are stored, and in memory while their objects live.
//!
//! What is stored of a member is one record with a snapshot, and one for each batch of news since. A record is sealed by
//! `seal.js` before it is stored; here it is plain. A snapshot's record begins with when the member was created and when
//! last changed, milliseconds in eight bytes each, and with the capacity that the history has had since, in four; a
//! batch's record with its time, in eight. Numbers are little-endian.
//!
//! Invariant: a history in memory is what the records give. Where storing one failed, the history is forgotten.

use tiercast_core::{Error, Event, FeatureSchema, MemberState};

/// How many batches are stored before a snapshot takes their place, and of how many bytes.
const BATCHES: usize = 64;
const BYTES: usize = 64 << 10;

/// How many histories are in memory, and of how many events: about 20 MiB of the 128 that an isolate has.
const HISTORIES: usize = 4_096;
const EVENTS: usize = 1 << 18;

/// The format of a record, for who exports one: `seal.js` writes it in front.
pub(crate) const FORMAT: u8 = 1;

/// A member's history and how it is stored.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) state: MemberState,
    /// When the member was first stored and last changed, in milliseconds; none when nothing is stored.
    pub(crate) times: Option<(i64, i64)>,
    /// The capacity with which the stored records give the history.
    capacity: u32,
    batches: usize,
    bytes: usize,
    /// Why the deployed bundle cannot read the history.
    misfit: Option<Error>,
}

/// A record to store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) record: Vec<u8>,
    /// Whether it takes the place of all others.
    pub(crate) whole: bool,
}

impl Kept {
    /// Reads the records of a member: the snapshot's, and the batches' in their order; a new member without any. None when
    /// they are not what [`Kept::write`] made.
    pub(crate) fn read(records: &[Vec<u8>], schema: &FeatureSchema) -> Option<Self> {
        let capacity = schema.spec().capacity;
        let Some((snapshot, batches)) = records.split_first() else {
            let state = MemberState::new(schema);
            return Some(Self { state, times: None, capacity, batches: 0, bytes: 0, misfit: None });
        };
        let (created, rest) = time(snapshot)?;
        let (mut changed, rest) = time(rest)?;
        let (capacity, snapshot) = rest.split_first_chunk()?;
        let capacity = u32::from_le_bytes(*capacity);
        let mut state = MemberState::restore_kept(snapshot, capacity).ok()?;
        let mut bytes = 0;
        for batch in batches {
            let (at, events) = time(batch)?;
            changed = at;
            bytes += events.len();
            Event::unpack(events)?.into_iter().for_each(|event| {
                state.observe(event);
            });
        }
        let misfit = state.fit(schema).err();
        let batches = batches.len();
        Some(Self { state, times: Some((created, changed)), capacity, batches, bytes, misfit })
    }

    /// Whether the deployed bundle can read the history.
    ///
    /// # Errors
    /// `schema_mismatch` when its amounts are in another currency.
    pub(crate) fn fits(&self) -> Result<(), Error> {
        self.misfit.clone().map_or(Ok(()), Err)
    }

    /// What to store after `news` became part of the history, at a time in milliseconds.
    pub(crate) fn write(&mut self, news: &[Event], schema: &FeatureSchema, now: i64) -> Write {
        let batch = Event::pack(news);
        let full = self.batches + 1 >= BATCHES || self.bytes + batch.len() >= BYTES;
        if self.times.is_none() || full || self.capacity != schema.spec().capacity {
            return self.write_whole(schema, now);
        }
        self.batches += 1;
        self.bytes += batch.len();
        self.times = self.times.map(|(created, _)| (created, now));
        Write { record: [&now.to_le_bytes(), &*batch].concat(), whole: false }
    }

    /// What to store in place of everything that is.
    pub(crate) fn write_whole(&mut self, schema: &FeatureSchema, now: i64) -> Write {
        let created = self.times.map_or(now, |(created, _)| created);
        self.times = Some((created, now));
        (self.capacity, self.batches, self.bytes) = (schema.spec().capacity, 0, 0);
        let head = [created.to_le_bytes(), now.to_le_bytes()].concat();
        let record = [&*head, &self.capacity.to_le_bytes(), &*self.state.snapshot()].concat();
        Write { record, whole: true }
    }
}

fn time(record: &[u8]) -> Option<(i64, &[u8])> {
    record.split_first_chunk().map(|(time, rest)| (i64::from_le_bytes(*time), rest))
}

/// The histories in memory, each by a number that its object chose and no other ever has.
#[derive(Debug)]
pub(crate) struct Histories {
    list: Vec<History>,
    turn: u64,
}

#[derive(Debug)]
struct History {
    handle: u32,
    used: u64,
    kept: Kept,
}

impl Histories {
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new(), turn: 0 }
    }

    /// The history with a number, if it is still in memory.
    pub(crate) fn get(&mut self, handle: u32) -> Option<&mut Kept> {
        self.turn += 1;
        let history = self.list.iter_mut().find(|history| history.handle == handle)?;
        history.used = self.turn;
        Some(&mut history.kept)
    }

    /// Keeps a history; those that were not used for longest make room.
    pub(crate) fn put(&mut self, handle: u32, kept: Kept) {
        self.forget(handle);
        self.turn += 1;
        self.list.push(History { handle, used: self.turn, kept });
        while self.list.len() > HISTORIES || (self.list.len() > 1 && self.events() > EVENTS) {
            let oldest = self.list.iter().enumerate().min_by_key(|(_, history)| history.used);
            let Some((at, _)) = oldest else { return };
            self.list.swap_remove(at);
        }
    }

    pub(crate) fn forget(&mut self, handle: u32) {
        self.list.retain(|history| history.handle != handle);
    }

    fn events(&self) -> usize {
        self.list.iter().map(|history| history.kept.state.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use tiercast_core::{Bundle, EventInput, FeatureSchema, Scalar};

    use super::*;

    const NOW: i64 = 1_506_816_000_000;

    fn bundle() -> Bundle {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/fixture.tcb");
        Bundle::parse(&std::fs::read(path).unwrap()).unwrap()
    }

    fn with(change: impl FnOnce(&mut tiercast_core::FeatureSpec)) -> FeatureSchema {
        let mut spec = bundle().schema().spec().clone();
        change(&mut spec);
        FeatureSchema::compile(spec).unwrap()
    }

    fn event(i: i64) -> EventInput<'static> {
        let mut event = EventInput::new("view", Scalar::Int(NOW - 1_000_000 + i));
        event.id = Some(format!("event {i}").into());
        event
    }

    /// A member to whom events were sent, `each` at a time, and what is stored of it.
    fn sent(events: std::ops::Range<i64>, each: usize) -> (Kept, Vec<Vec<u8>>) {
        let bundle = bundle();
        let mut kept = Kept::read(&[], bundle.schema()).unwrap();
        let mut stored = Vec::new();
        for (at, batch) in events.map(event).collect::<Vec<_>>().chunks(each).enumerate() {
            let (_, news) = bundle.observe_news(&mut kept.state, batch).unwrap();
            let write = kept.write(&news, bundle.schema(), NOW + at as i64);
            if write.whole {
                stored.clear();
            }
            stored.push(write.record);
        }
        (kept, stored)
    }

    #[test]
    fn what_is_stored_gives_the_history_after_every_batch() {
        for batches in 1..=140 {
            let (kept, stored) = sent(0..3 * batches, 3);
            let read = Kept::read(&stored, bundle().schema()).unwrap();
            assert_eq!(read.state, kept.state, "{batches} batches");
            assert_eq!((read.times, kept.times), (Some((NOW, NOW + batches - 1)), read.times));
            assert!(stored.len() <= BATCHES, "{} records", stored.len());
        }
    }

    #[test]
    fn the_first_the_64th_and_a_large_batch_are_whole() {
        assert_eq!(sent(0..1, 1).1.len(), 1);
        assert_eq!((sent(0..64, 1).1.len(), sent(0..65, 1).1.len(), sent(0..66, 1).1.len()), (64, 1, 2));
        let (kept, stored) = sent(0..9_000, 3_000);
        assert_eq!((stored.len(), kept.state.len()), (1, 256));
    }

    #[test]
    fn another_capacity_is_as_if_the_whole_history_had_been_restored_with_it() {
        let (kept, stored) = sent(0..250, 9);
        for capacity in [1, 100, 249, 256, 300] {
            let schema = with(|spec| spec.capacity = capacity);
            let mut read = Kept::read(&stored, &schema).unwrap();
            assert_eq!(read.state, MemberState::restore(&kept.state.snapshot(), &schema).unwrap());
            let write = read.write(&[], &schema, NOW + 99);
            assert_eq!(write.whole, capacity != 256, "the next record is of the new capacity");
        }
    }

    #[test]
    fn other_features_change_nothing_and_another_currency_destroys_nothing() {
        let (kept, stored) = sent(0..100, 7);
        let fewer = with(|spec| spec.features.truncate(3));
        let read = Kept::read(&stored, &fewer).unwrap();
        assert_eq!((read.fits(), read.state.snapshot()), (Ok(()), kept.state.snapshot()));
        let foreign = with(|spec| spec.events.currency.code = "EUR".into());
        let read = Kept::read(&stored, &foreign).unwrap();
        assert_eq!(read.fits().unwrap_err().code(), "schema_mismatch");
        assert_eq!(read.state.snapshot(), kept.state.snapshot());
    }

    #[test]
    fn damaged_records_are_not_read() {
        let (_, stored) = sent(0..20, 5);
        let schema = bundle();
        let schema = schema.schema();
        for at in 0..stored.len() {
            for end in 0..stored[at].len() {
                let mut damaged = stored.clone();
                damaged[at].truncate(end);
                assert!(Kept::read(&damaged, schema).is_none(), "record {at}, {end} bytes");
            }
        }
        let mut swapped = stored.clone();
        swapped.swap(0, 1);
        assert!(Kept::read(&swapped, schema).is_none());
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        let mut histories = Histories::new();
        let bundle = bundle();
        let new = || Kept::read(&[], bundle.schema()).unwrap();
        for handle in 1..=HISTORIES as u32 + 1 {
            histories.put(handle, new());
            assert!(histories.get(1).is_some());
        }
        assert!(histories.get(2).is_none() && histories.get(3).is_some());
        histories.forget(3);
        assert!(histories.get(3).is_none());
        let full = || Kept { state: sent(0..256, 256).0.state, ..new() };
        let mut histories = Histories::new();
        for handle in 1..=EVENTS as u32 / 256 + 1 {
            histories.put(handle, full());
        }
        assert!(histories.get(1).is_none() && histories.get(2).is_some());
        assert!(histories.events() <= EVENTS);
    }
}
