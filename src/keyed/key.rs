//! What a key may be.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

/// A type of keys: `u64` or `String`. No other type can implement it.
pub trait Key: sealed::Sealed + Clone {
    /// A key as it is handed in and out: `u64` or `str`.
    type Ref: ?Sized + Debug + Eq + Hash;

    /// A key as it is kept; clones share its text.
    #[doc(hidden)]
    type Shared: Borrow<Self::Ref> + Clone + Debug + Eq + Hash + Send + Sync;

    /// Whether keys are texts.
    #[doc(hidden)]
    const IS_TEXT: bool;

    #[doc(hidden)]
    fn share(key: &Self::Ref) -> Self::Shared;

    #[doc(hidden)]
    fn any(key: &Self::Ref) -> AnyKey<'_>;

    /// Absent for a key of the other type.
    #[doc(hidden)]
    fn of_any(key: AnyKey<'_>) -> Option<Self::Shared>;
}

/// A key of either type.
#[derive(Clone, Copy, Debug)]
pub enum AnyKey<'a> {
    /// A number.
    U64(u64),
    /// A text.
    String(&'a str),
}

impl Key for u64 {
    type Ref = Self;
    type Shared = Self;
    const IS_TEXT: bool = false;

    fn share(key: &Self) -> Self {
        *key
    }

    fn any(key: &Self) -> AnyKey<'_> {
        AnyKey::U64(*key)
    }

    fn of_any(key: AnyKey<'_>) -> Option<Self> {
        match key {
            AnyKey::U64(key) => Some(key),
            AnyKey::String(_) => None,
        }
    }
}

impl Key for String {
    type Ref = str;
    type Shared = Arc<str>;
    const IS_TEXT: bool = true;

    fn share(key: &str) -> Arc<str> {
        key.into()
    }

    fn any(key: &str) -> AnyKey<'_> {
        AnyKey::String(key)
    }

    fn of_any(key: AnyKey<'_>) -> Option<Arc<str>> {
        match key {
            AnyKey::String(key) => Some(key.into()),
            AnyKey::U64(_) => None,
        }
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for u64 {}

    impl Sealed for String {}
}
