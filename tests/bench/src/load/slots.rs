//! Where is what a number names, and when may the number name another?
//!
//! Places are taken again. What goes while events are looked at frees its place only after them: an event that is still to come
//! must not be about another connection.

/// Places that are taken again.
pub(super) struct Slots<T> {
    all: Vec<Option<T>>,
    free: Vec<usize>,
    freed: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn next(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        })
    }

    pub(super) fn put(&mut self, place: usize, one: T) {
        self.all[place] = Some(one);
    }

    pub(super) fn get(&mut self, place: usize) -> Option<&mut T> {
        self.all.get_mut(place)?.as_mut()
    }

    pub(super) fn take(&mut self, place: usize) -> Option<T> {
        let taken = self.all.get_mut(place)?.take()?;
        self.freed.push(place);
        Some(taken)
    }

    pub(super) fn settle(&mut self) {
        self.free.append(&mut self.freed);
    }

    pub(super) fn count(&self) -> usize {
        self.all.len() - self.free.len() - self.freed.len()
    }

    /// Whoever is so goes. Says how many went.
    pub(super) fn drop_all(&mut self, is_so: impl Fn(&T) -> bool) -> usize {
        let before = self.count();
        for place in 0..self.all.len() {
            if self.get(place).is_some_and(|one| is_so(one)) {
                self.take(place);
            }
        }
        self.settle();
        before - self.count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter().flatten()
    }
}
