//! Which Events are told, and how do they get to the API server?
