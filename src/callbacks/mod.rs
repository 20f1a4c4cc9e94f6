mod form;
mod members;
mod queue;
pub mod request;
mod schedule;
mod signature;
