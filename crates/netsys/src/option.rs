//! Socket options and requests that no library offers.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};

/// The value that switches an option on.
pub(crate) const ON: libc::c_int = 1;

/// What may be handed to the kernel as the value of a socket option: plain data.
///
/// # Safety
///
/// Every byte of a value must be initialised, padding included.
#[allow(
    unsafe_code,
    reason = "only this crate knows which layouts have no padding"
)]
pub(crate) unsafe trait OptionValue {}

#[allow(unsafe_code, reason = "an integer is plain data")]
// SAFETY: an integer has no padding.
unsafe impl OptionValue for libc::c_int {}

#[allow(unsafe_code, reason = "an array of integers is plain data")]
// SAFETY: neither has an array of integers.
unsafe impl<const N: usize> OptionValue for [u32; N] {}

/// `setsockopt(2)`.
#[allow(unsafe_code, reason = "socket2 has no way to set any option")]
pub(crate) fn set<T: OptionValue>(
    socket: &impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| ErrorKind::InvalidInput)?;
    // SAFETY: the pointer and length describe `value`, which outlives the call and is initialised
    // in every byte; the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The socket's own count of datagrams that were dropped on their way into it, by its filter or because
/// it was full (`SO_MEMINFO`). It begins anew after 4,294,967,295.
#[allow(unsafe_code, reason = "no library has this option")]
pub(crate) fn drops(socket: &impl AsFd) -> io::Result<u32> {
    /// `SK_MEMINFO_DROPS`, and how many there are (`SK_MEMINFO_VARS`).
    const DROPS: usize = 8;
    const VARIABLES: usize = 9;
    let mut all = [0_u32; VARIABLES];
    let mut length =
        libc::socklen_t::try_from(size_of_val(&all)).map_err(|_| ErrorKind::InvalidInput)?;
    // SAFETY: the pointer and length describe `all`, which outlives the call and may have any
    // content; the kernel writes no more than that length, and to `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut all).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(all[DROPS])
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `SIOCOUTQ` (the same number as `TIOCOUTQ`): of a TCP connection, how many bytes the other end has
/// not acknowledged yet.
#[allow(unsafe_code, reason = "no library has this request")]
pub(crate) fn output_queue(socket: &impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one `int` to where the pointer leads, and `bytes` is one.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 {
        Ok(usize::try_from(bytes).unwrap_or(0))
    } else {
        Err(io::Error::last_os_error())
    }
}
