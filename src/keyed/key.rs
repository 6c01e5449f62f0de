//! What a key may be.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use stored::{AnyKey, Stored};

/// A type of keys: `u64` or `String`. No other type can implement it.
pub trait Key: Stored<<Self as Key>::Ref> + Clone {
    /// A key as it is handed in and out: `u64` or `str`.
    type Ref: ?Sized + Debug + Eq + Hash;
}

impl Key for u64 {
    type Ref = Self;
}

impl Key for String {
    type Ref = str;
}

/// How keys are kept. Nothing outside can name it, nor implement it.
pub(super) mod stored {
    use std::borrow::Borrow;
    use std::fmt::Debug;
    use std::hash::Hash;

    /// A key of either type.
    #[derive(Clone, Copy, Debug)]
    pub enum AnyKey<'a> {
        U64(u64),
        String(&'a str),
    }

    /// Keys that are handed in and out as `R`.
    pub trait Stored<R: ?Sized> {
        /// A key as it is kept; clones share its text.
        type Shared: Borrow<R> + Clone + Debug + Eq + Hash + Send + Sync + 'static;

        /// Whether keys are texts.
        const IS_TEXT: bool;

        fn share(key: &R) -> Self::Shared;

        fn any(key: &R) -> AnyKey<'_>;

        /// Absent for a key of the other type.
        fn of_any(key: AnyKey<'_>) -> Option<Self::Shared>;
    }
}

impl Stored<Self> for u64 {
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

impl Stored<str> for String {
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
