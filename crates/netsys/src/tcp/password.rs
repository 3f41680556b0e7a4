//! Keys for TCP MD5 signatures (RFC 2385).

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use crate::option::{self, OptionValue};
use crate::{Error, SocketStep};

/// The longest password that the kernel takes, in bytes.
pub const MAX_PASSWORD: usize = libc::TCP_MD5SIG_MAXKEYLEN;

/// The tag that says that `tcpm_prefixlen` counts (`TCP_MD5SIG_FLAG_PREFIX`).
const FLAG_PREFIX: u8 = 1;

/// A password of 1 to 80 bytes. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        if (1..=MAX_PASSWORD).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(Error::PasswordLength {
                length: bytes.len(),
                max: MAX_PASSWORD,
            })
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// `struct tcp_md5sig`.
#[repr(C)]
struct Md5Signature {
    address: StorageAddress,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: u32,
    key: [u8; MAX_PASSWORD],
}

/// `struct sockaddr_storage` with the fields of `sockaddr_in` or `sockaddr_in6` that the kernel reads
/// here: the family and the address.
#[repr(C, align(8))]
struct StorageAddress {
    family: u16,
    rest: [u8; 126],
}

const _: () = assert!(size_of::<StorageAddress>() == size_of::<libc::sockaddr_storage>());
const _: () = assert!(align_of::<StorageAddress>() == align_of::<libc::sockaddr_storage>());
const _: () = assert!(
    size_of::<Md5Signature>() == size_of::<libc::sockaddr_storage>() + 8 + MAX_PASSWORD,
    "there is no padding"
);

#[allow(
    unsafe_code,
    reason = "a structure of integers without padding is plain data"
)]
// SAFETY: by the assertion above the fields, all integers, fill the whole of it.
unsafe impl OptionValue for Md5Signature {}

/// Where `sockaddr_in` has its address, behind the family and the port.
const V4_OFFSET: usize = 2;
/// Where `sockaddr_in6` has it, behind the family, the port and the flow label.
const V6_OFFSET: usize = 6;

impl StorageAddress {
    fn new(address: IpAddr) -> Self {
        let (family, offset) = match address {
            IpAddr::V4(_) => (libc::AF_INET, V4_OFFSET),
            IpAddr::V6(_) => (libc::AF_INET6, V6_OFFSET),
        };
        let mut rest = [0; 126];
        let places = rest.iter_mut().skip(offset);
        match address {
            IpAddr::V4(v4) => places.zip(v4.octets()).for_each(|(to, from)| *to = from),
            IpAddr::V6(v6) => places.zip(v6.octets()).for_each(|(to, from)| *to = from),
        }
        Self {
            family: u16::try_from(family).expect("the families are small numbers"),
            rest,
        }
    }
}

/// Sets, replaces or removes the key for the peers in a prefix. To remove one that is not there is no
/// error.
pub(super) fn set(
    socket: &impl AsFd,
    address: IpAddr,
    length: u8,
    password: Option<&Password>,
) -> io::Result<()> {
    // The kernel keeps the address as it is given and would not find it by another of the prefix.
    let address = masked(address, length).ok_or(ErrorKind::InvalidInput)?;
    let bytes = password.map_or(&[][..], |password| &password.0);
    let mut key = [0; MAX_PASSWORD];
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    // The older option does for one address.
    let whole = length == full_length(address);
    let (name, flags) = if whole {
        (libc::TCP_MD5SIG, 0)
    } else {
        (libc::TCP_MD5SIG_EXT, FLAG_PREFIX)
    };
    let value = Md5Signature {
        address: StorageAddress::new(address),
        flags,
        prefix_length: if whole { 0 } else { length },
        key_length: u16::try_from(bytes.len()).map_err(|_| ErrorKind::InvalidInput)?,
        interface: 0,
        key,
    };
    match option::set(socket, libc::IPPROTO_TCP, name, &value) {
        Err(error) if password.is_none() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// The length of the prefix that is `address` alone.
pub(super) const fn full_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The first address of the prefix; `None` if the length is too large.
fn masked(address: IpAddr, length: u8) -> Option<IpAddr> {
    let host_bits = u32::from(full_length(address).checked_sub(length)?);
    Some(match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    })
}

/// [`set`] with the words for an error.
pub(super) fn set_named(
    socket: &impl AsFd,
    name: &str,
    (address, length): (IpAddr, u8),
    password: Option<&Password>,
) -> Result<(), Error> {
    set(socket, address, length, password).map_err(|source| Error::Socket {
        socket: name.to_owned(),
        step: SocketStep::Password(address, length),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_1_to_80_bytes_and_is_not_shown() {
        Password::new("").expect_err("is empty");
        let error = Password::new([b'x'; 81]).expect_err("is too long");
        assert_eq!(
            error.to_string(),
            "a BGP password of 81 bytes: it must have 1 to 80; change it on both sides"
        );
        let password = Password::new([b'x'; 80]).expect("the longest");
        assert_eq!(format!("{password:?}"), "Password(…)");
    }

    #[test]
    fn a_prefix_is_masked() {
        let masked = |address: &str, length| {
            masked(address.parse().expect("an address"), length).map(|a| a.to_string())
        };
        assert_eq!(masked("192.0.2.129", 25).as_deref(), Some("192.0.2.128"));
        assert_eq!(masked("192.0.2.129", 0).as_deref(), Some("0.0.0.0"));
        assert_eq!(masked("192.0.2.129", 33), None);
        assert_eq!(masked("fe80::1:2", 112).as_deref(), Some("fe80::1:0"));
        assert_eq!(masked("fe80::1", 0).as_deref(), Some("::"));
        assert_eq!(masked("fe80::1", 129), None);
    }
}
