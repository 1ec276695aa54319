//! Points on top of the rate.

use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, EventKind, EventRules, short_hash},
    time::{self, Timestamp},
};

/// The most bonuses.
pub const MAX_BONUSES: usize = 32;

/// The largest percentage of a bonus.
const MAX_PERCENT: u32 = 2500;
/// The most points of a bonus.
const MAX_FIXED: u32 = 1_000_000_000;

/// Points on top of the rate: a percentage of what purchases earn, or a number for each event of another kind.
///
/// It holds where all that is named fits. A number of points is not for purchases, which would earn it once for each
/// line that they are split into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bonus {
    /// What the shop calls it.
    pub name: String,
    /// The kind of event; purchases (and what returns take back) if none.
    #[serde(default)]
    pub kind: Option<String>,
    /// Only events of this category.
    #[serde(default)]
    pub category: Option<String>,
    /// Only events of this channel.
    #[serde(default)]
    pub channel: Option<String>,
    /// From this moment on.
    #[serde(default, with = "time::moment")]
    pub from: Option<Timestamp>,
    /// Until before this moment.
    #[serde(default, with = "time::moment")]
    pub to: Option<Timestamp>,
    /// Percent of what the rate gives, 1 to 2500: 100 doubles what tier 1 usually earns. For purchases.
    #[serde(default)]
    pub percent: u32,
    /// Points for each event, 1 to 10⁹. For all other kinds but returns.
    #[serde(default)]
    pub points: u32,
}

crate::wire::fields!(Bonus { name, kind, category, channel, from, to, percent, points });

impl Bonus {
    /// What is wrong, and what would be accepted.
    pub(super) fn mistake(&self, events: &EventRules) -> Option<String> {
        let kind = match self.kind.as_deref().map_or(Ok(EventKind::Purchase), |kind| events.kind(kind)) {
            Ok(kind) => kind,
            Err(error) => return Some(error.message().to_string()),
        };
        let empty = |text: &Option<String>| text.as_deref() == Some("");
        if self.name.is_empty() || empty(&self.category) || empty(&self.channel) {
            return Some("the name, category or channel is empty; write it, or leave the latter out".into());
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            return Some("it ends before it begins; `to` is the first moment without it".into());
        }
        Some(match (kind, self.percent, self.points) {
            (EventKind::Purchase, 1..=MAX_PERCENT, 0) => return None,
            (EventKind::Purchase, ..) => alloc::format!(
                "a bonus for purchases is a percentage, as the lines of an order would each earn a number of points; give \
                 `percent`, 1 to {MAX_PERCENT}, alone"
            ),
            (EventKind::Return, ..) => {
                "a return takes back what purchases earn; give the bonus to purchases".into()
            }
            (_, 0, 1..=MAX_FIXED) => return None,
            _ => alloc::format!("only purchases earn by percentages; give `points`, 1 to {MAX_FIXED}, alone"),
        })
    }

    /// Whether it is for this event.
    pub(super) fn holds(&self, event: &Event) -> bool {
        let named = |name: &Option<String>, hash| name.as_ref().is_none_or(|name| short_hash(name) == hash);
        let kind = match (self.kind.as_deref(), event.kind) {
            (None, kind) => matches!(kind, EventKind::Purchase | EventKind::Return),
            (Some(name), EventKind::Custom(hash)) => short_hash(name) == hash,
            // What takes back what a purchase earned.
            (Some("purchase"), EventKind::Return) => true,
            (Some(name), kind) => EventKind::BUILT_IN.contains(&(name, kind)),
        };
        kind && self.from.is_none_or(|from| from <= event.time)
            && self.to.is_none_or(|to| event.time < to)
            && named(&self.category, event.category)
            && named(&self.channel, event.channel)
    }
}
