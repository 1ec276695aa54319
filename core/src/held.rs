//! What only the build with all kernels holds.
//!
//! In every other build it is nothing at all: neither what makes it nor what frees it is compiled, which an `Option` that is
//! always empty does not achieve.

use crate::error::Result;

/// A `T` or none; always none in a build without the feature `all-kernels`.
#[derive(Clone, Debug)]
pub(crate) struct Held<T>(
    #[cfg(feature = "all-kernels")] Option<T>,
    #[cfg(not(feature = "all-kernels"))] core::marker::PhantomData<fn() -> T>,
);

#[cfg(feature = "all-kernels")]
impl<T> Held<T> {
    /// Makes it.
    pub(crate) fn new(make: impl FnOnce() -> Result<Option<T>>) -> Result<Self> {
        make().map(Self)
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    pub(crate) fn into_option(self) -> Option<T> {
        self.0
    }
}

#[cfg(not(feature = "all-kernels"))]
impl<T> Held<T> {
    /// Makes nothing.
    pub(crate) fn new(_: impl FnOnce() -> Result<Option<T>>) -> Result<Self> {
        Ok(Self(core::marker::PhantomData))
    }

    pub(crate) fn get(&self) -> Option<&T> {
        None
    }

    pub(crate) fn into_option(self) -> Option<T> {
        None
    }
}
