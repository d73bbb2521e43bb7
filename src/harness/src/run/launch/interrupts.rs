//! Wishes to stop a run: a person's, the system's, or one of this program, in the order of their arrival.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicUsize, Ordering};

use harness_record::environment;
use jiff::Timestamp;

/// Wishes to stop. Signal handlers may touch it, because all of it is atomics.
#[derive(Clone, Debug, Default)]
pub struct Interrupts(Arc<Wishes>);

#[derive(Debug)]
struct Wishes {
    /// Whose the first wish was; [`NOBODY`]'s as long as there is none.
    first: AtomicU8,
    /// How often a person asked: whoever asks twice does not want to wait.
    by_person: AtomicUsize,
    /// The system's first signal.
    signal: AtomicI32,
    is_forced: AtomicBool,
    /// When this program has to ask by itself, in seconds since 1970.
    due_at_s: AtomicI64,
}

/// Whose wish it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Ctrl-C, or a terminal that was closed.
    Person,
    /// A signal of whoever lends the machine.
    System {
        /// Its number.
        signal: i32,
    },
    /// The end of the time that the machine is lent for.
    EndTime,
    /// This program, which has its own reason.
    Program,
}

const NOBODY: u8 = 0;
const PERSON: u8 = 1;
const SYSTEM: u8 = 2;
const END_TIME: u8 = 3;
const PROGRAM: u8 = 4;

impl Default for Wishes {
    fn default() -> Self {
        Wishes {
            first: AtomicU8::new(NOBODY),
            by_person: AtomicUsize::new(0),
            signal: AtomicI32::new(0),
            is_forced: AtomicBool::new(false),
            due_at_s: AtomicI64::new(i64::MAX),
        }
    }
}

impl Interrupts {
    /// A person asks. Gives whether it is the second time, which ends the trainer at once.
    pub fn ask_by_person(&self) -> bool {
        self.note(PERSON);
        let again = self.0.by_person.fetch_add(1, Ordering::Relaxed) > 0;
        if again {
            self.force();
        }
        again
    }

    /// The system asks, as often as it likes: it ends the trainer itself once it has waited long enough. Gives whether
    /// nobody had asked before.
    pub fn ask_by_system(&self, signal: i32) -> bool {
        let _ = self.0.signal.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
        self.note(SYSTEM)
    }

    /// This program asks, for a reason that it keeps itself.
    pub fn ask(&self) {
        self.note(PROGRAM);
    }

    /// Ends the trainer at once.
    pub fn force(&self) {
        self.note(PROGRAM);
        self.0.is_forced.store(true, Ordering::Relaxed);
    }

    /// Asks at a time that may be moved until then.
    pub fn ask_at(&self, time: Timestamp) {
        self.0.due_at_s.store(time.as_second(), Ordering::Relaxed);
    }

    /// Forgets all wishes.
    pub fn reset(&self) {
        self.0.first.store(NOBODY, Ordering::Relaxed);
        self.0.by_person.store(0, Ordering::Relaxed);
        self.0.signal.store(0, Ordering::Relaxed);
        self.0.is_forced.store(false, Ordering::Relaxed);
        self.0.due_at_s.store(i64::MAX, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        self.asker().is_some()
    }

    /// Whether the trainer is to be ended at once.
    pub fn is_forced(&self) -> bool {
        self.0.is_forced.load(Ordering::Relaxed)
    }

    /// Who asked first.
    pub fn asker(&self) -> Option<Asker> {
        if environment::now().as_second() >= self.0.due_at_s.load(Ordering::Relaxed) {
            self.note(END_TIME);
        }
        match self.0.first.load(Ordering::Relaxed) {
            PERSON => Some(Asker::Person),
            SYSTEM => Some(Asker::System { signal: self.0.signal.load(Ordering::Relaxed) }),
            END_TIME => Some(Asker::EndTime),
            PROGRAM => Some(Asker::Program),
            _ => None,
        }
    }

    fn note(&self, who: u8) -> bool {
        self.0.first.compare_exchange(NOBODY, who, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_person_who_asks_twice_ends_the_trainer_at_once() {
        let interrupts = Interrupts::default();
        assert_eq!((interrupts.asker(), interrupts.is_forced()), (None, false));
        assert!(interrupts.ask_by_system(15));
        for signal in [15, 10, 15] {
            assert!(!interrupts.ask_by_system(signal));
        }
        assert!(!interrupts.ask_by_person(), "the first wish of a person");
        assert_eq!((interrupts.asker(), interrupts.is_forced()), (Some(Asker::System { signal: 15 }), false));
        assert!(interrupts.ask_by_person() && interrupts.is_forced());
        interrupts.reset();
        assert_eq!((interrupts.asker(), interrupts.is_forced()), (None, false));
    }

    #[test]
    fn a_time_asks_once_it_is_there() {
        let interrupts = Interrupts::default();
        interrupts.ask_at("2999-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(interrupts.asker(), None);
        interrupts.ask_at("2020-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(interrupts.asker(), Some(Asker::EndTime));
        assert!(!interrupts.ask_by_system(15), "it was asked before");
    }
}
