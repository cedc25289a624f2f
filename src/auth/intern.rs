//! One copy of what many tokens say: scopes, audiences, clients. It saves memory, and on a hit it is in the CPU's cache.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Values seen so far, within bounds: what is rare or long is kept by its token alone.
pub struct Interned<T: ?Sized>(Mutex<HashSet<Arc<T>>>);

impl<T: ?Sized + Eq + Hash> Interned<T> {
    /// The copy that others have, or `value` itself. Only for the way of a new token: it takes a lock.
    pub fn shared(&self, value: Arc<T>) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = known.get(&value) {
            return shared.clone();
        }
        if known.len() < MOST && size_of_val(&*value) <= LONGEST {
            known.insert(value.clone());
        }
        value
    }
}

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Interned(Mutex::default())
    }
}

/// Distinct values that are remembered, and the bytes of each.
const MOST: usize = 1024;
const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_one_copy_and_their_number_is_bounded() {
        let texts = Interned::<str>::default();
        let first = texts.shared("orders profile".into());
        assert!(Arc::ptr_eq(&first, &texts.shared("orders profile".into())));
        for number in 0..2 * MOST {
            texts.shared(number.to_string().into());
        }
        assert_eq!(texts.0.lock().unwrap().len(), MOST);
        let long: Arc<str> = "x".repeat(LONGEST + 1).into();
        assert!(!Arc::ptr_eq(&texts.shared(long.clone()), &texts.shared((&*long).into())));
    }
}
