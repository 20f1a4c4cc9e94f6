//! A value that is replaced while others use it.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// A value that follows the configuration: whoever loads it holds it as it was then, for as long as
/// it likes, and whoever loads it later gets what was set meanwhile. Clones are the same place.
///
/// Loading takes no lock and costs the count of a reference.
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    /// A place that holds `value`.
    pub fn new(value: impl Into<Arc<T>>) -> Self {
        Self(Arc::new(ArcSwap::new(value.into())))
    }

    /// The value of this moment.
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Puts another value in its place.
    pub fn set(&self, value: impl Into<Arc<T>>) {
        self.0.store(value.into());
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.load()).finish()
    }
}
