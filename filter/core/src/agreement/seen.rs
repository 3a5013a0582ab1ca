//! What has one reading seen, and does it lead where the decision leads?

use alloc::vec;
use alloc::vec::Vec;

use super::TOO_ODD;
use super::axes::{VALUES, ValueAxis};
use crate::limits::{LOOKUP_OF_A_SHAPE_BYTES, READ_AGAIN_BYTES_MAX};
use crate::range::SourceAddress;
use crate::table::{Lookup, Slots, Table};
use crate::wire::Tag;

const REPEATED: &str = "a tag stands there more than once, with values that lead elsewhere";

/// What is decided, and how much work is left to ask where other readings lead.
pub(super) struct Judge<'m, 't> {
    pub(super) table: &'t Table,
    decided: Lookup,
    /// What is known to lead there. A lookup costs one probe for each shape of the table, and most readings see the same.
    known: Vec<Slots<'m>>,
    left: usize,
}

impl<'m, 't> Judge<'m, 't> {
    pub(super) fn new(table: &'t Table, decided: Lookup, strict: &Slots<'m>) -> Self {
        Self {
            table,
            decided,
            known: vec![strict.clone()],
            left: READ_AGAIN_BYTES_MAX,
        }
    }

    /// Pays for work in bytes that are read.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.left = self.left.checked_sub(bytes).ok_or(TOO_ODD)?;
        Ok(())
    }

    fn same(&mut self, sight: &Sight<'m>) -> Result<bool, &'static str> {
        if sight.msg_type != Some(b"A") {
            return Ok(false);
        }
        if self.known.contains(&sight.slots) {
            return Ok(true);
        }
        self.spend(
            self.table
                .shape_count()
                .saturating_mul(LOOKUP_OF_A_SHAPE_BYTES),
        )?;
        let same = self.table.lookup(&sight.slots) == self.decided;
        if same {
            // Each has been paid for, so there are not many.
            self.known.push(sight.slots.clone());
        }
        Ok(same)
    }
}

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

    pub(super) fn agrees(
        &self,
        judge: &mut Judge<'a, '_>,
        says: [&'static str; 3],
    ) -> Result<(), &'static str> {
        for (sight, repeated) in [(&self.first, ""), (&self.last, REPEATED)] {
            let blame = |values_say| {
                let mut says = [repeated, values_say].into_iter().chain(says);
                says.find(|says| !says.is_empty()).unwrap_or(REPEATED)
            };
            if !judge.same(sight)? {
                return Err(blame(""));
            }
            if !sight.has_odd_value() {
                continue;
            }
            for (values, values_say) in VALUES {
                if !judge.same(&sight.by(values))? {
                    return Err(blame(values_say));
                }
            }
        }
        Ok(())
    }
}
