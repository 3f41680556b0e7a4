//! The place of a thread among those that wait for a processor.

use std::io;

/// The nice value asked for.
const NICE: i32 = -10;

/// The slice asked for, in nanoseconds: the shortest that the kernel gives.
const SLICE: u64 = 100_000;

/// What the kernel granted a thread that is to run at once when it wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precedence {
    /// A nice value below 0: it goes before other threads of its control group. Needs the capability
    /// `SYS_NICE`, or a limit (`RLIMIT_NICE`) that allows it.
    pub nice: bool,
    /// A short slice: it asks for so little at once that it is let in before threads with the usual
    /// slice. Needs nothing but Linux 6.12.
    pub slice: bool,
}

/// Asks the kernel to run the calling thread sooner than others once it wakes up. It should do little
/// at once.
///
/// No real-time policy is asked for, though the capability would allow it: a thread of that kind that
/// is kept busy by a flood of packets would leave nothing to the rest of the node.
pub fn take_precedence() -> io::Result<Precedence> {
    let mut wanted = attributes()?;
    wanted.sched_policy = libc::SCHED_OTHER.cast_unsigned();
    wanted.sched_flags = 0;
    wanted.sched_priority = 0;
    wanted.sched_runtime = SLICE;
    let usual = wanted.sched_nice;
    wanted.sched_nice = NICE.min(usual);
    if set_attributes(&wanted).is_err() {
        wanted.sched_nice = usual;
        set_attributes(&wanted)?;
    }
    let granted = attributes()?;
    Ok(Precedence {
        nice: granted.sched_nice < 0,
        slice: granted.sched_runtime == SLICE,
    })
}

/// `sched_getattr(2)` of the calling thread.
#[allow(unsafe_code, reason = "no library has this call")]
fn attributes() -> io::Result<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: size(),
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most as many bytes as it is told, which is the size of what the
    // pointer leads to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            0,
            &raw mut attributes,
            size(),
            0_u32,
        )
    };
    if result == 0 {
        Ok(attributes)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `sched_setattr(2)` for the calling thread.
#[allow(unsafe_code, reason = "no library has this call")]
fn set_attributes(attributes: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the structure says of itself, which is its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            0,
            std::ptr::from_ref(attributes),
            0_u32,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn size() -> u32 {
    // It is 48.
    u32::try_from(size_of::<libc::sched_attr>()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_said_to_be_granted_is_so_and_of_this_thread_alone() {
        let before = attributes().expect("the kernel tells");
        let other = thread::spawn(|| {
            let granted = take_precedence().expect("the slice at least may be asked for");
            (granted, attributes().expect("the kernel tells"))
        });
        let (granted, attributes_there) = other.join().expect("it ends");
        assert_eq!(granted.nice, attributes_there.sched_nice == NICE);
        assert_eq!(granted.slice, attributes_there.sched_runtime == SLICE);
        let after = attributes().expect("the kernel tells");
        assert_eq!(before.sched_nice, after.sched_nice);
        assert_eq!(before.sched_runtime, after.sched_runtime);
    }
}
