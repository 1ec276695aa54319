//! One member's history and what happened since: the history of both together.

use anyhow::ensure;
use tiercast_core::{Event, FeatureSchema, MemberState};

use super::store::History;
use crate::fold::{canonical, packed};

impl History {
    /// A history of events alone.
    pub(super) fn of(schema: &FeatureSchema, mut events: Vec<Event>) -> Self {
        canonical(&mut events);
        let mut state = MemberState::with_room(schema, events.len());
        state.observe_all(&events);
        let forgotten = events.len() - state.len();
        let mut archive = Vec::new();
        if forgotten > 0 {
            archive.push(packed::VERSION);
            events[..forgotten].iter().for_each(|event| packed::write(event, &mut archive));
        }
        Self {
            events: events.len() as u64,
            last: events.last().map_or(0, |event| event.time.ms()),
            state: state.snapshot(),
            archive,
        }
    }

    /// The history with news, whatever came late or was sent again.
    ///
    /// While nothing has been forgotten, a state takes events in any order. As soon as something has, it is made anew from
    /// what it forgot, which the archive keeps, what it holds, and the news: an event may belong before the forgotten ones,
    /// or be one of them.
    ///
    /// # Errors
    /// When the stored bytes are damaged.
    pub(super) fn with(self, schema: &FeatureSchema, news: Vec<Event>) -> anyhow::Result<Self> {
        let mut state = MemberState::restore(&self.state, schema)?;
        let room = schema.spec().capacity as usize;
        if self.archive.is_empty() && state.len() + news.len() <= room {
            for event in news {
                state.observe(event);
            }
            let last = state.last_time().map_or(0, |time| time.ms());
            return Ok(Self {
                events: state.len() as u64,
                last,
                state: state.snapshot(),
                archive: Vec::new(),
            });
        }
        let mut events = Vec::new();
        if let Some((version, archive)) = self.archive.split_first() {
            ensure!(*version == packed::VERSION, "its archive is of version {version}; give --rebuild");
            packed::read_into(archive, &mut events)?;
        }
        events.extend(state.events());
        events.extend(news);
        Ok(Self::of(schema, events))
    }
}
