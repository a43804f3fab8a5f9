//! What is wanted: policy documents become checked goals, one per service.
//!
//! [`check::check`] takes a set of files as they were read and gives goals, or everything that is
//! wrong with them, each problem at its line. [`in_force::InForce`] keeps the last good set.
//! Reading and watching files is the shell's business: nothing here touches a disk or a clock.

// From the text to the goals.
pub mod problem;
pub mod source;
pub mod reader;
pub mod document;
pub mod check;
pub mod in_force;
pub mod parts;
// The same documents, for editors.
pub mod schema;
// And as a custom resource of Kubernetes, with what is written beside it there.
pub mod crd;
pub mod status;
