//! The two ends of the pipe to the parent: messages go out as JSON lines on standard output, and a line `stop`,
//! the end of standard input, SIGINT, SIGTERM or SIGUSR1 comes in as a request to end in order.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness_core::contract::Message;

use crate::native;

/// What a run needs from outside.
pub trait Outside {
    /// Passes a message on.
    fn send(&self, message: &Message);
    /// Whether the run should finish its step and end.
    fn should_stop(&self) -> bool;
}

/// The parent process behind standard input and output, to which rank 0 alone speaks.
#[derive(Clone, Default)]
pub struct Parent {
    stop: Arc<AtomicBool>,
    is_mute: bool,
}

impl Parent {
    /// Starts to listen on standard input.
    pub fn listen() -> Self {
        native::catch_stop_signals();
        let parent = Parent::default();
        let stop = Arc::clone(&parent.stop);
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                match line {
                    Ok(line) if line.trim() != "stop" => {}
                    _ => break,
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        parent
    }

    /// Listens to signals only, and says nothing: what a rank does that is not the first.
    pub fn mute() -> Self {
        native::catch_stop_signals();
        Parent { is_mute: true, ..Parent::default() }
    }
}

impl Outside for Parent {
    fn send(&self, message: &Message) {
        if self.is_mute {
            return;
        }
        let mut line = serde_json::to_vec(message).expect("messages are plain structs");
        line.push(b'\n');
        let mut out = io::stdout().lock();
        // The parent is gone: end in order, as at the end of standard input.
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || native::stop_signalled()
    }
}
