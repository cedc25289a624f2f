//! The wire of token APIs: bytes to [`crate::model::TokenRequest`] and back, nothing else.
