//! gRPC against a replica in this process, with a real client: calls, streams, and what is told of the service.

mod calling;
mod conversing;
mod deadlines;
mod describing;
mod example;
mod leaving;
mod limits;
mod telling;
mod walk;
