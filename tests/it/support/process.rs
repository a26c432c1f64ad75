//! The ends of processes, which come in time or end their test: one that never ends says nothing to whoever runs it.

use std::io::Write;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take that is run for what it says.
const DEADLINE: Duration = Duration::from_mins(5);

/// How long one may take to end that was told to.
const TO_END: Duration = Duration::from_mins(1);

/// Runs a program to its end.
pub(crate) trait Finish {
    /// What it said, and how it ended.
    fn finished(&mut self) -> Output;

    /// The same of one that has something to read.
    fn fed(&mut self, input: impl Into<Vec<u8>>) -> Output;
}

impl Finish for Command {
    fn finished(&mut self) -> Output {
        self.fed("")
    }

    fn fed(&mut self, input: impl Into<Vec<u8>>) -> Output {
        let child = self.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{self:?} does not run: {error}"));
        let (id, input, mut stdin) = (child.id(), input.into(), child.stdin.take().expect("piped"));
        let feeding = thread::spawn(move || stdin.write_all(&input));
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(child.wait_with_output()));
        let output = told.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            _ = Command::new("kill").args(["-9", &id.to_string()]).status();
            // What it has started may still have its output in hand.
            panic!("{self:?} does not end: {:?}", told.recv_timeout(TO_END))
        });
        let output = output.unwrap_or_else(|error| panic!("{self:?} can't be waited for: {error}"));
        let fed = feeding.join().expect("no panic");
        assert!(fed.is_ok() || !output.status.success(), "{self:?} does not read: {fed:?}");
        output
    }
}

/// Waits for the end of a process that is to end by itself.
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + TO_END;
    loop {
        if let Some(status) = child.try_wait().expect("a state") {
            return status;
        }
        assert!(Instant::now() < deadline, "the process {} does not end", child.id());
        thread::sleep(Duration::from_millis(10));
    }
}
