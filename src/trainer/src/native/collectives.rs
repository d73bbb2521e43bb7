//! Ranks over libtorch's c10d (`native/collectives.cpp`): words left in a store, sums over all, gradients that are added up
//! while the backward pass goes on. Whatever fails here means that a rank was lost.

use std::ffi::{CString, c_char, c_int, c_void};
use std::time::Duration;

use tch::Tensor;
use torch_sys::C_tensor;

use super::{check, pointers, text};
use crate::error::Error;

unsafe extern "C" {
    fn harness_group_join(
        host: *const c_char,
        port: c_int,
        serves: c_int,
        listening: c_int,
        prefix: *const c_char,
        rank: c_int,
        size: c_int,
        patience_ms: i64,
        timeout_ms: i64,
        group: *mut *mut c_void,
    ) -> c_int;
    fn harness_group_set(group: *mut c_void, key: *const c_char, bytes: *const u8, count: i64) -> c_int;
    fn harness_group_get(group: *mut c_void, key: *const c_char, bytes: *mut *mut C_tensor) -> c_int;
    fn harness_group_has(group: *mut c_void, key: *const c_char, has: *mut c_int) -> c_int;
    fn harness_group_connect(
        group: *mut c_void,
        nccl: *const c_char,
        interface: *const c_char,
        address: *const c_char,
    ) -> c_int;
    fn harness_nccl_version(path: *const c_char, out: *mut c_char, capacity: usize);
    fn harness_group_sum(group: *mut c_void, tensor: *const C_tensor) -> c_int;
    fn harness_group_broadcast(group: *mut c_void, from: c_int, tensors: *const *const C_tensor, count: i64) -> c_int;
    fn harness_group_leave(group: *mut c_void);
    fn harness_reducer_new(
        group: *mut c_void,
        parameters: *const *const C_tensor,
        count: i64,
        reducer: *mut *mut c_void,
    ) -> c_int;
    fn harness_reducer_announce(reducer: *mut c_void) -> c_int;
    fn harness_gradient_complete(parameter: *const C_tensor) -> c_int;
    fn harness_reducer_delete(reducer: *mut c_void);
}

/// The shared object of NCCL's group, where this trainer was built with it (feature `nccl`).
const NCCL: &str = match option_env!("HARNESS_NCCL_LIBRARY") {
    Some(path) => path,
    None => "",
};

/// Whether this trainer was built with NCCL.
pub fn has_nccl() -> bool {
    !NCCL.is_empty()
}

/// Version of NCCL.
pub fn nccl_version() -> Option<String> {
    let path = c_text(NCCL);
    // SAFETY: writes at most `n` bytes, terminated.
    let version = text(|out, n| unsafe { harness_nccl_version(path.as_ptr(), out, n) });
    (!version.is_empty()).then_some(version)
}

/// Where the ranks of a job find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The machine of rank 0.
    pub host: String,
    /// The port of its store.
    pub port: u16,
    /// Whether this process keeps the store.
    pub serves: bool,
    /// A socket that listens at that port already.
    pub listening: Option<i32>,
    /// What tells apart this job from others in one store.
    pub prefix: String,
    /// This process.
    pub rank: u32,
    /// How many there are.
    pub size: u32,
}

/// The ranks of a job.
pub struct Group(*mut c_void);

impl Group {
    /// Finds the store of rank 0, for so long; later calls wait `timeout` for others.
    pub fn join(meeting: &Meeting, patience: Duration, timeout: Duration) -> Result<Self, Error> {
        let (host, prefix) = (c_text(&meeting.host), c_text(&meeting.prefix));
        let mut group = std::ptr::null_mut();
        // SAFETY: the texts outlive the call.
        check_rank(unsafe {
            harness_group_join(
                host.as_ptr(),
                c_int::from(meeting.port),
                c_int::from(meeting.serves),
                meeting.listening.unwrap_or(-1),
                prefix.as_ptr(),
                meeting.rank as c_int,
                meeting.size as c_int,
                patience.as_millis() as i64,
                timeout.as_millis() as i64,
                &mut group,
            )
        })?;
        Ok(Group(group))
    }

    /// Leaves bytes under a key.
    pub fn set(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        // SAFETY: key and bytes outlive the call.
        check_rank(unsafe { harness_group_set(self.0, c_text(key).as_ptr(), bytes.as_ptr(), bytes.len() as i64) })
    }

    /// What was left under a key; waits for it.
    pub fn get(&self, key: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = std::ptr::null_mut();
        // SAFETY: the key outlives the call.
        check_rank(unsafe { harness_group_get(self.0, c_text(key).as_ptr(), &mut bytes) })?;
        // SAFETY: the shim succeeded, so it passed on a tensor that is ours.
        let bytes = unsafe { Tensor::from_ptr(bytes) };
        Ok(Vec::try_from(bytes).expect("a vector of bytes"))
    }

    /// Whether something was left under a key.
    pub fn has(&self, key: &str) -> Result<bool, Error> {
        let mut has = 0;
        // SAFETY: the key outlives the call.
        check_rank(unsafe { harness_group_has(self.0, c_text(key).as_ptr(), &mut has) })?;
        Ok(has != 0)
    }

    /// Connects all ranks: with NCCL, or over Gloo from a network interface or, where none is named, an address of this machine.
    pub fn connect(&self, nccl: bool, interface: Option<&str>, address: &str) -> Result<(), Error> {
        let (nccl, address) = (c_text(if nccl { NCCL } else { "" }), c_text(address));
        let interface = c_text(interface.unwrap_or_default());
        // SAFETY: the texts outlive the call.
        check_rank(unsafe { harness_group_connect(self.0, nccl.as_ptr(), interface.as_ptr(), address.as_ptr()) })
    }

    /// Puts into a tensor the sum of what all ranks have in it.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), Error> {
        // SAFETY: the tensor outlives the call.
        check_rank(unsafe { harness_group_sum(self.0, tensor.as_ptr()) })
    }

    /// Copies tensors of rank `from` into those of the others, which are of the same shapes.
    pub fn broadcast(&self, from: u32, tensors: &[Tensor]) -> Result<(), Error> {
        if tensors.is_empty() {
            return Ok(());
        }
        let list = pointers(tensors);
        // SAFETY: the tensors outlive the call.
        check_rank(unsafe { harness_group_broadcast(self.0, from as c_int, list.as_ptr(), list.len() as i64) })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: the group is ours.
        unsafe { harness_group_leave(self.0) }
    }
}

/// Adds up the gradients of all ranks during a backward pass. The parameters' gradients are then those of all.
pub struct Reducer(*mut c_void);

impl Reducer {
    /// Over parameters, in the same order on every rank.
    pub fn new(group: &Group, parameters: &[Tensor]) -> Result<Self, Error> {
        let (list, mut reducer) = (pointers(parameters), std::ptr::null_mut());
        // SAFETY: the parameters outlive the call, and the reducer counts its own references to group and tensors.
        check_rank(unsafe { harness_reducer_new(group.0, list.as_ptr(), list.len() as i64, &mut reducer) })?;
        Ok(Reducer(reducer))
    }

    /// Before the forward pass whose backward pass adds up; one that was not announced does not.
    pub fn announce(&self) -> Result<(), Error> {
        // SAFETY: the reducer is ours.
        check_rank(unsafe { harness_reducer_announce(self.0) })
    }
}

/// Tells a reducer, if there is one, that the gradient of a parameter is complete which no backward pass comes to. To be told
/// in every pass, before the backward pass of the other parameters.
pub fn gradient_complete(parameter: &Tensor) -> Result<(), Error> {
    // SAFETY: the parameter outlives the call.
    check_rank(unsafe { harness_gradient_complete(parameter.as_ptr()) })
}

impl Drop for Reducer {
    fn drop(&mut self) {
        // SAFETY: the reducer is ours.
        unsafe { harness_reducer_delete(self.0) }
    }
}

fn check_rank(code: c_int) -> Result<(), Error> {
    check(code).map_err(|error| match error {
        Error::Libtorch(problem) => Error::Rank(problem),
        other => other,
    })
}

fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).expect("there is no NUL left")
}
