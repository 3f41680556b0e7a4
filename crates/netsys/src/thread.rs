//! The place of a thread among those that wait for a processor.

use std::io;

/// The nice value asked for.
const NICE: i32 = -10;

/// The slice asked for, in nanoseconds: the shortest that the kernel gives.
const SLICE: u64 = 100_000;

/// What the kernel granted a thread that is to run at once when it wakes up, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// It goes before all threads that are not real-time, whatever control group they are in. Needs the
    /// capability `SYS_NICE`, or a limit (`RLIMIT_RTPRIO`) that allows it.
    RealTime,
    /// A nice value below 0: it goes before other threads of its control group. Needs the capability or
    /// `RLIMIT_NICE`, where the kernel does not give real time to a control group.
    Nice,
    /// A short slice: it asks for so little at once that it is let in before threads with the usual
    /// slice. Needs nothing but Linux 6.12.
    Slice,
    /// Nothing.
    Usual,
}

/// Asks the kernel to run the calling thread sooner than others once it wakes up. It must do little at
/// once and then sleep: with [`Precedence::RealTime`] a thread that does not leaves the processor to
/// nobody.
pub fn take_precedence() -> io::Result<Precedence> {
    let before = attributes()?;
    let real_time = libc::sched_attr {
        sched_policy: libc::SCHED_RR.cast_unsigned(),
        // Threads that it starts are ordinary ones.
        sched_flags: libc::SCHED_FLAG_RESET_ON_FORK.cast_unsigned().into(),
        sched_nice: 0,
        sched_priority: 1,
        sched_runtime: 0,
        ..before
    };
    if set_attributes(&real_time).is_ok() {
        return Ok(Precedence::RealTime);
    }
    let short = |nice| libc::sched_attr {
        sched_policy: libc::SCHED_OTHER.cast_unsigned(),
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE,
        ..before
    };
    if set_attributes(&short(NICE.min(before.sched_nice))).is_err() {
        set_attributes(&short(before.sched_nice))?;
    }
    let granted = attributes()?;
    // An older kernel takes the slice and does not heed it.
    Ok(match granted {
        _ if granted.sched_nice < 0 => Precedence::Nice,
        _ if granted.sched_runtime == SLICE => Precedence::Slice,
        _ => Precedence::Usual,
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
        let (granted, there) = other.join().expect("it ends");
        match granted {
            Precedence::RealTime => assert_eq!(there.sched_policy, libc::SCHED_RR.cast_unsigned()),
            Precedence::Nice => assert_eq!(there.sched_nice, NICE),
            Precedence::Slice => assert_eq!(there.sched_runtime, SLICE),
            Precedence::Usual => assert_eq!(there.sched_nice, before.sched_nice),
        }
        let after = attributes().expect("the kernel tells");
        let place = |a: libc::sched_attr| (a.sched_policy, a.sched_nice, a.sched_runtime);
        assert_eq!(place(before), place(after));
    }
}
