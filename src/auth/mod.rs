//! Who is asking: the token of a request, and whether to believe it.

pub mod bearer;
pub mod introspect;
pub mod jwks;
