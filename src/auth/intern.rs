//! One copy of what many tokens say: scopes, audiences, clients. It saves memory, and on a hit it is in the CPU's cache.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Values seen so far, within bounds: what is rare or long is kept by its token alone.
pub struct Interned<T: ?Sized>(Mutex<HashSet<Arc<T>>>);

impl<T: ?Sized + Eq + Hash> Interned<T> {
    /// The copy that others have, or a new one. Only for the way of a new token: it takes a lock.
    pub fn shared<'a>(&self, value: &'a T) -> Arc<T>
    where
        Arc<T>: From<&'a T>,
    {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = known.get(value) {
            return shared.clone();
        }
        let value: Arc<T> = value.into();
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
        let first = texts.shared("orders profile");
        assert!(Arc::ptr_eq(&first, &texts.shared("orders profile")));
        for number in 0..2 * MOST {
            texts.shared(&number.to_string());
        }
        assert_eq!(texts.0.lock().unwrap().len(), MOST);
        let long = "x".repeat(LONGEST + 1);
        assert!(!Arc::ptr_eq(&texts.shared(&long), &texts.shared(&long)));
    }
}
