//! What has one reading seen, and does it lead where the decision leads?

use super::axes::{VALUES, ValueAxis};
use crate::range::SourceAddress;
use crate::table::{Lookup, Slots, Table};
use crate::wire::Tag;

const REPEATED: &str = "a tag stands there more than once, with values that lead elsewhere";

/// What one reading sees, by the first and by the last value of each tag.
pub(super) struct Seen<'a> {
    first: Sight<'a>,
    last: Sight<'a>,
}

struct Sight<'a> {
    slots: Slots<'a>,
    msg_type: Option<&'a [u8]>,
}

impl Sight<'_> {
    fn nothing(table: &Table, source: Option<SourceAddress>) -> Self {
        Self {
            slots: table.slots(source),
            msg_type: None,
        }
    }

    fn same(&self, table: &Table, decided: Lookup) -> bool {
        self.msg_type == Some(b"A") && table.lookup(&self.slots) == decided
    }

    fn by(&self, axis: ValueAxis) -> Self {
        Self {
            slots: self.slots.map(|value| axis.value(value)),
            msg_type: self.msg_type.map(|value| axis.value(value)),
        }
    }

    fn has_odd_value(&self) -> bool {
        self.slots
            .values()
            .chain(self.msg_type)
            .any(ValueAxis::matters)
    }
}

impl<'a> Seen<'a> {
    pub(super) fn nothing(table: &Table, source: Option<SourceAddress>) -> Self {
        Self {
            first: Sight::nothing(table, source),
            last: Sight::nothing(table, source),
        }
    }

    pub(super) fn note(&mut self, table: &Table, tag: Tag, value: &'a [u8]) {
        if tag == Tag::MSG_TYPE {
            self.first.msg_type = self.first.msg_type.or(Some(value));
            self.last.msg_type = Some(value);
        }
        if let Some(slot) = table.slot_of(tag) {
            self.first.slots.keep_first(slot, value);
            self.last.slots.keep_last(slot, value);
        }
    }
}

impl Seen<'_> {
    pub(super) fn agrees(
        &self,
        table: &Table,
        decided: Lookup,
        says: [&'static str; 3],
    ) -> Result<(), &'static str> {
        for (sight, repeated) in [(&self.first, ""), (&self.last, REPEATED)] {
            let blame = |values_say| {
                let mut says = [repeated, values_say].into_iter().chain(says);
                says.find(|says| !says.is_empty()).unwrap_or(REPEATED)
            };
            if !sight.same(table, decided) {
                return Err(blame(""));
            }
            if !sight.has_odd_value() {
                continue;
            }
            for (values, values_say) in VALUES {
                if !sight.by(values).same(table, decided) {
                    return Err(blame(values_say));
                }
            }
        }
        Ok(())
    }
}
