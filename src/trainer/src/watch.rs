//! Watches over the ranks that train together. Each has a connection to rank 0; the system closes it when a process ends,
//! however that ends and whatever the others wait for just then: a collective of Gloo, which notices by itself, one of NCCL,
//! which may not, or a text in the store. So a rank that is lost ends all within seconds, and one that fails says why.
//!
//! A machine that loses its power closes nothing. That is left to the scheduler, which ends the job.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a rank may take to notice by itself that another is gone: what it says then is closer to the point.
const AFTER_LOSS: Duration = Duration::from_secs(2);
/// The same where the other has said why it ends: this one may be about to end for the same reason.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
const CONNECTING: Duration = Duration::from_secs(30);
/// A reason is a few sentences.
const LONGEST_REASON_BYTES: u64 = 10_000;

/// What a rank says last: that it leaves in order, or why it fails.
const LEAVES: &[u8] = b".";
const FAILS: u8 = b'!';

/// What is done once where another rank is gone, with what became of it.
type OnLost = Box<dyn Fn(&str) + Send + Sync>;

/// The connections of one rank.
pub struct Watch {
    /// Somebody has begun to say how this process ends.
    is_ending: AtomicBool,
    others: Mutex<Vec<TcpStream>>,
    on_lost: OnLost,
}

impl Watch {
    /// Rank 0's: waits for the other `size` - 1 in the background. Gives its port too.
    pub fn serve(size: u32, on_lost: OnLost) -> io::Result<(Arc<Self>, u16)> {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0));
        let listener = listener.or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
        let port = listener.local_addr()?.port();
        let watch = Watch::new(on_lost);
        let shared = Arc::clone(&watch);
        thread::spawn(move || {
            let mut seen = vec![false; size as usize];
            seen[0] = true;
            while seen.contains(&false) {
                let Ok((stream, _)) = listener.accept() else { return };
                // Something else may have found the port.
                let Ok(rank) = rank_of(&stream) else { continue };
                if seen.get(rank as usize) == Some(&false) {
                    seen[rank as usize] = true;
                    shared.listen(stream, rank);
                }
            }
        });
        Ok((watch, port))
    }

    /// Another rank's: connects to rank 0.
    pub fn connect(host: &str, port: u16, rank: u32, on_lost: OnLost) -> io::Result<Arc<Self>> {
        let mut outcome = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        for address in (host, port).to_socket_addrs()? {
            outcome = TcpStream::connect_timeout(&address, CONNECTING);
            if outcome.is_ok() {
                break;
            }
        }
        let mut stream = outcome?;
        stream.write_all(&rank.to_le_bytes())?;
        let watch = Watch::new(on_lost);
        watch.listen(stream, 0);
        Ok(watch)
    }

    fn new(on_lost: OnLost) -> Arc<Self> {
        Arc::new(Watch { is_ending: AtomicBool::new(false), others: Mutex::default(), on_lost })
    }

    /// Hears in the background how a rank ends.
    fn listen(self: &Arc<Self>, stream: TcpStream, rank: u32) {
        let Ok(reader) = stream.try_clone() else { return };
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        let watch = Arc::clone(self);
        thread::spawn(move || {
            let mut said = Vec::new();
            // What came before an error counts.
            let _ = reader.take(LONGEST_REASON_BYTES).read_to_end(&mut said);
            let (problem, patience) = match said.split_first() {
                _ if said == LEAVES => return,
                Some((&FAILS, reason)) => {
                    (format!("rank {rank} failed: {}", String::from_utf8_lossy(reason)), AFTER_FAILURE)
                }
                _ => (format!("rank {rank} has ended without a word"), AFTER_LOSS),
            };
            thread::sleep(patience);
            if !watch.is_ending.swap(true, Ordering::SeqCst) {
                (watch.on_lost)(&problem);
            }
        });
    }

    /// Tells the others that this rank leaves in order.
    pub fn leave(&self) {
        self.say_last(LEAVES);
    }

    /// From here on the caller says how this process ends, and tells the others why if it fails. Where another rank is gone and
    /// that is being said already, this does not return.
    pub fn end(&self, failure: Option<&str>) {
        if self.is_ending.swap(true, Ordering::SeqCst) {
            loop {
                thread::park();
            }
        }
        if let Some(reason) = failure {
            self.say_last(&[&[FAILS], reason.as_bytes()].concat());
        }
    }

    /// A rank that has left says no more.
    fn say_last(&self, words: &[u8]) {
        for mut stream in self.others.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Who does not hear it is gone itself.
            let _ = stream.write_all(words).and_then(|()| stream.shutdown(Shutdown::Write));
        }
    }
}

fn rank_of(mut stream: &TcpStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.set_read_timeout(Some(CONNECTING))?;
    stream.read_exact(&mut bytes)?;
    stream.set_read_timeout(None)?;
    Ok(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn told() -> (OnLost, Receiver<String>) {
        let (sender, receiver) = channel();
        (Box::new(move |problem| sender.send(problem.to_owned()).unwrap()), receiver)
    }

    /// Rank 0 and rank 1 of two, and what each is told.
    fn both() -> ([Arc<Watch>; 2], [Receiver<String>; 2]) {
        let ((on_lost, first), (on_lost_too, second)) = (told(), told());
        let (zero, port) = Watch::serve(2, on_lost).unwrap();
        // Somebody who is no rank.
        TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b"GET /").unwrap();
        let one = Watch::connect("127.0.0.1", port, 1, on_lost_too).unwrap();
        while zero.others.lock().unwrap().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        ([zero, one], [first, second])
    }

    fn drop_connections(of: &Watch) {
        for stream in of.others.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).unwrap();
        }
    }

    #[test]
    fn one_that_ends_without_a_word_is_noticed_on_both_sides() {
        let ([_zero, one], [first, second]) = both();
        drop_connections(&one);
        assert_eq!(first.recv().unwrap(), "rank 1 has ended without a word");
        assert_eq!(second.recv().unwrap(), "rank 0 has ended without a word");
    }

    #[test]
    fn one_that_fails_says_why_and_one_that_leaves_is_not_missed() {
        let ([zero, one], [first, second]) = both();
        zero.leave();
        one.end(Some("out of memory"));
        one.leave(); // Its last word stands.
        assert_eq!(first.recv().unwrap(), "rank 1 failed: out of memory");
        drop(zero);
        assert!(second.recv_timeout(AFTER_LOSS * 2).is_err());
    }

    #[test]
    fn one_that_is_ending_says_so_itself() {
        let ([zero, one], [first, _second]) = both();
        zero.end(None);
        drop_connections(&one);
        assert!(first.recv_timeout(AFTER_LOSS * 2).is_err());
    }
}
