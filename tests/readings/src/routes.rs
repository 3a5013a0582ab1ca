//! Which route follows from a Logon's fields? By looking at every route.

/// What a route asks of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// To be this.
    Value(Vec<u8>),
    /// To begin so.
    Prefix(Vec<u8>),
    /// To be there.
    Present,
}

/// A route. Without conditions it is a default route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Tags and what is asked of them.
    pub fields: Vec<(u32, Condition)>,
    /// Its priority, unless it is exact.
    pub priority: i32,
}

/// Where a Logon goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// Nowhere.
    None,
    /// To the route of this name.
    To(String),
    /// Two routes want it alike.
    Ambiguous,
}

impl Route {
    fn rank(&self) -> (u8, i32) {
        let exact = self
            .fields
            .iter()
            .all(|(_, condition)| matches!(condition, Condition::Value(_)));
        match (self.fields.len(), exact) {
            (0, _) => (0, self.priority),
            (_, false) => (1, self.priority),
            (count, true) => (2, i32::try_from(count).unwrap_or(i32::MAX)),
        }
    }

    fn takes(&self, logon: &[(u32, Vec<u8>)]) -> bool {
        self.fields.iter().all(|(tag, condition)| {
            let value = crate::value(logon, *tag).unwrap_or_default();
            // A field that is there but empty counts as absent.
            !value.is_empty()
                && match condition {
                    Condition::Value(wanted) => value == wanted,
                    Condition::Prefix(wanted) => value.starts_with(wanted),
                    Condition::Present => true,
                }
        })
    }
}

/// The route that outranks every other that takes the Logon.
pub fn decide(routes: &[Route], logon: &[(u32, Vec<u8>)]) -> Routed {
    let mut taking: Vec<&Route> = routes.iter().filter(|route| route.takes(logon)).collect();
    taking.sort_by_key(|route| route.rank());
    match taking.as_slice() {
        [] => Routed::None,
        [.., second, first] if second.rank() == first.rank() => Routed::Ambiguous,
        [.., first] => Routed::To(first.name.clone()),
    }
}
