//! Whose bytes pass without a look?

use core::cell::Cell;

/// The decided connections that are found at once: a connection has one place, by its number, and Envoy numbers them one after the other.
/// Where another one stands already, it goes without until that one is gone.
///
/// INVARIANT: only who began and did not end is found. Who is not found is looked at, which comes to the same.
#[derive(Debug)]
pub struct Passing<const PLACES: usize>([Cell<u32>; PLACES]);

impl<const PLACES: usize> Passing<PLACES> {
    /// Nobody passes.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "it is made once, in a constant: a default is none"
    )]
    pub const fn new() -> Self {
        Self([const { Cell::new(0) }; PLACES])
    }

    /// From now on this connection's bytes pass, if its place is free. Envoy gives nobody the number 0.
    pub fn begin(&self, id: u32) {
        if let Some(place) = self.place(id)
            && place.get() == 0
        {
            place.set(id);
        }
    }

    /// From now on they are looked at.
    pub fn end(&self, id: u32) {
        if let Some(place) = self.place(id)
            && place.get() == id
        {
            place.set(0);
        }
    }

    /// Whether they pass.
    #[must_use]
    #[inline]
    pub fn holds(&self, id: u32) -> bool {
        id != 0 && self.place(id).is_some_and(|place| place.get() == id)
    }

    #[inline]
    fn place(&self, id: u32) -> Option<&Cell<u32>> {
        self.0.get(usize::try_from(id).ok()?.checked_rem(PLACES)?)
    }
}

#[cfg(test)]
mod tests {
    use super::Passing;

    #[test]
    fn who_began_passes_until_it_ends() {
        let passing = Passing::<4>::new();
        assert!(!passing.holds(7));
        passing.begin(7);
        assert!(passing.holds(7));
        passing.end(7);
        assert!(!passing.holds(7));
    }

    #[test]
    fn nobody_passes_in_the_place_of_another() {
        let passing = Passing::<4>::new();
        passing.begin(7);
        passing.begin(11);
        assert!(passing.holds(7) && !passing.holds(11));
        // What never stood there takes nothing away.
        passing.end(11);
        assert!(passing.holds(7));
    }

    #[test]
    fn a_place_that_became_free_is_taken_by_who_asks_again() {
        let passing = Passing::<4>::new();
        passing.begin(7);
        passing.begin(11);
        passing.end(7);
        passing.begin(11);
        assert!(passing.holds(11) && !passing.holds(7));
    }

    #[test]
    fn zero_is_nobody() {
        let passing = Passing::<4>::new();
        assert!(!passing.holds(0));
        passing.begin(0);
        assert!(!passing.holds(0) && !passing.holds(4));
    }
}
