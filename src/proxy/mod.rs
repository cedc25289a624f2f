//! To come.

<<<<<<< HEAD
pub mod upstream;
=======
pub mod path;
mod readings;
pub mod routes;
>>>>>>> path
