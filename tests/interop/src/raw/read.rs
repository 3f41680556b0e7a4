//! Reading what a speaker sent, strictly: what this refuses, a speaker should not have sent.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};

use crate::router::Prefix;

/// A speaker's OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSeen {
    /// The AS in two octets.
    pub asn: u16,
    /// The hold time in seconds.
    pub hold: u16,
    /// The BGP identifier.
    pub id: Ipv4Addr,
    /// Code and value of each capability, in order.
    pub capabilities: Vec<(u8, Vec<u8>)>,
}

/// A speaker's UPDATE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpdateSeen {
    /// All that it withdraws.
    pub withdrawn: Vec<Prefix>,
    /// All that it announces.
    pub announced: Vec<Prefix>,
    /// Flags, code and value of each attribute, in order.
    pub attributes: Vec<(u8, u8, Vec<u8>)>,
    /// AFI and SAFI of the family whose end this marks (RFC 4724, 2).
    pub end_of_rib: Option<(u16, u8)>,
}

/// Takes parts off the front of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .with_context(|| format!("{length} octets wanted, {} there", self.0.len()))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }
}

impl OpenSeen {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Result<Self> {
        let mut reader = Reader(body);
        let version = reader.u8()?;
        ensure!(version == 4, "version {version}");
        let (asn, hold) = (reader.u16()?, reader.u16()?);
        let id = Ipv4Addr::from(reader.array::<4>()?);
        let mut length = usize::from(reader.u8()?);
        let extended = length == 255 && reader.0.first() == Some(&255);
        if extended {
            reader.u8()?;
            length = usize::from(reader.u16()?);
        }
        ensure!(length == reader.0.len(), "a wrong length of parameters");
        let mut capabilities = Vec::new();
        while !reader.0.is_empty() {
            let kind = reader.u8()?;
            let length = if extended {
                usize::from(reader.u16()?)
            } else {
                usize::from(reader.u8()?)
            };
            let mut value = Reader(reader.take(length)?);
            ensure!(kind == 2, "a parameter of type {kind}");
            while !value.0.is_empty() {
                let code = value.u8()?;
                let length = usize::from(value.u8()?);
                capabilities.push((code, value.take(length)?.to_vec()));
            }
        }
        Ok(Self {
            asn,
            hold,
            id,
            capabilities,
        })
    }

    /// The values of the capability with this code.
    pub fn capability(&self, code: u8) -> Vec<&[u8]> {
        let all = self.capabilities.iter().filter(|(one, _)| *one == code);
        all.map(|(_, value)| value.as_slice()).collect()
    }

    /// AFI and SAFI of the families offered.
    pub fn families(&self) -> Vec<(u16, u8)> {
        let values = self.capability(1).into_iter();
        values
            .filter_map(|value| match value {
                [high, low, _, safi] => Some((u16::from_be_bytes([*high, *low]), *safi)),
                _ => None,
            })
            .collect()
    }
}

fn prefixes(reader: &mut Reader<'_>, v6: bool) -> Result<Vec<Prefix>> {
    let mut list = Vec::new();
    while !reader.0.is_empty() {
        let length = reader.u8()?;
        ensure!(
            length <= if v6 { 128 } else { 32 },
            "a prefix of {length} bits"
        );
        let bytes = reader.take(usize::from(length).div_ceil(8))?;
        let mut octets = [0; 16];
        octets
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        let address = if v6 {
            IpAddr::V6(Ipv6Addr::from(octets))
        } else {
            let [a, b, c, d, ..] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        };
        list.push(Prefix { address, length });
    }
    Ok(list)
}

impl UpdateSeen {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Result<Self> {
        let mut reader = Reader(body);
        let length = usize::from(reader.u16()?);
        let withdrawn = prefixes(&mut Reader(reader.take(length)?), false)?;
        let length = usize::from(reader.u16()?);
        let mut list = Reader(reader.take(length)?);
        let announced = prefixes(&mut reader, false)?;
        let mut update = Self {
            withdrawn,
            announced,
            ..Self::default()
        };
        while !list.0.is_empty() {
            let (flags, code) = (list.u8()?, list.u8()?);
            let length = if flags & super::wire::flag::EXTENDED == 0 {
                usize::from(list.u8()?)
            } else {
                usize::from(list.u16()?)
            };
            let value = list.take(length)?;
            update.attributes.push((flags, code, value.to_vec()));
        }
        update.multiprotocol()?;
        let empty = update.withdrawn.is_empty() && update.announced.is_empty();
        if empty {
            update.end_of_rib = match update.attributes.as_slice() {
                [] => Some((1, 1)),
                [(_, 15, value)] => match value.as_slice() {
                    [high, low, safi] => Some((u16::from_be_bytes([*high, *low]), *safi)),
                    _ => None,
                },
                _ => None,
            };
        }
        Ok(update)
    }

    fn multiprotocol(&mut self) -> Result<()> {
        for (_, code, value) in &self.attributes {
            let mut reader = Reader(value);
            match code {
                14 => {
                    let (afi, _safi) = (reader.u16()?, reader.u8()?);
                    let length = usize::from(reader.u8()?);
                    ensure!(
                        [4, 16, 32].contains(&length),
                        "a next hop of {length} octets"
                    );
                    reader.take(length + 1)?;
                    self.announced.extend(prefixes(&mut reader, afi == 2)?);
                }
                15 => {
                    let (afi, _safi) = (reader.u16()?, reader.u8()?);
                    self.withdrawn.extend(prefixes(&mut reader, afi == 2)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The value of an attribute.
    pub fn attribute(&self, code: u8) -> Option<&[u8]> {
        let found = self.attributes.iter().find(|(_, one, _)| *one == code);
        found.map(|(_, _, value)| value.as_slice())
    }

    /// An error for what a speaker should not send, though every receiver takes it: attributes
    /// twice or with wrong flags, attributes without routes, a prefix twice.
    pub fn check(&self) -> Result<()> {
        let mut codes = BTreeSet::new();
        for (flags, code, value) in &self.attributes {
            ensure!(codes.insert(*code), "attribute {code} is there twice");
            let optional = flags & super::wire::flag::OPTIONAL != 0;
            let transitive = flags & super::wire::flag::TRANSITIVE != 0;
            let right = match code {
                1 | 2 | 3 | 5 | 6 => (false, true),
                4 | 9 | 10 | 14 | 15 => (true, false),
                _ => (true, true),
            };
            ensure!(
                (optional, transitive) == right,
                "attribute {code} has flags {flags:#04x}"
            );
            ensure!(
                flags.trailing_zeros() >= 4,
                "attribute {code} has flags {flags:#04x}"
            );
            ensure!(*code != 1 || value.as_slice() == [0], "ORIGIN is {value:?}");
        }
        let only_unreach = codes.iter().all(|code| *code == 15);
        ensure!(
            only_unreach || !self.announced.is_empty(),
            "attributes without routes"
        );
        if !self.announced.is_empty() {
            let reach = codes.contains(&14);
            ensure!(codes.contains(&1), "no ORIGIN");
            ensure!(codes.contains(&2), "no AS_PATH");
            ensure!(codes.contains(&3) || reach, "no NEXT_HOP");
        }
        let mut seen = BTreeSet::new();
        for prefix in self.announced.iter().chain(&self.withdrawn) {
            ensure!(seen.insert(*prefix), "{prefix} is there twice");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{
        Open, as_path, capability, flag, med, mp_reach, next_hop, nlri, origin, update,
    };
    use super::*;

    fn body(message: &[u8]) -> &[u8] {
        &message[19..]
    }

    #[test]
    fn an_open_is_read_in_both_forms() -> Result<()> {
        let open = Open::new(4_200_000_001, Ipv4Addr::new(10, 0, 0, 1));
        let message = open.message();
        let seen = OpenSeen::read(body(&message))?;
        assert_eq!((seen.asn, seen.hold), (23456, 90));
        assert_eq!(seen.families(), [(1, 1), (2, 1)]);
        assert_eq!(seen.capability(65), [&4_200_000_001_u32.to_be_bytes()]);
        let extended = open.extended_body(&[(2, capability(2, &[]))]);
        assert_eq!(OpenSeen::read(&extended)?.capabilities, [(2, vec![])]);
        for length in 0..message.len() - 20 {
            assert!(OpenSeen::read(&body(&message)[..length]).is_err());
        }
        Ok(())
    }

    #[test]
    fn an_update_is_read_and_its_form_checked() -> Result<()> {
        let hop = Ipv4Addr::new(10, 0, 0, 1);
        let four = nlri("198.51.100.0".parse()?, 24);
        let six = mp_reach("fd00::1".parse()?, &nlri("fd98::".parse()?, 64));
        let good = [origin(), as_path(&[65001], true), next_hop(hop), six];
        let seen = UpdateSeen::read(body(&update(&four, &good, &[])))?;
        assert_eq!(seen.withdrawn, ["198.51.100.0/24".parse()?]);
        assert_eq!(seen.announced, ["fd98::/64".parse()?]);
        assert_eq!(seen.attribute(3), Some(hop.octets().as_slice()));
        seen.check()?;
        assert_eq!(seen.end_of_rib, None);
        let end = UpdateSeen::read(body(&update(&[], &[], &[])))?;
        assert_eq!(end.end_of_rib, Some((1, 1)));

        let bad: [(&str, Vec<Vec<u8>>); 4] = [
            ("twice", vec![med(1), med(1)]),
            (
                "flags",
                vec![super::super::wire::attribute(flag::TRANSITIVE, 4, &[0; 4])],
            ),
            ("no ORIGIN", vec![as_path(&[], true), next_hop(hop)]),
            ("no NEXT_HOP", vec![origin(), as_path(&[], true)]),
        ];
        for (what, attributes) in bad {
            let seen = UpdateSeen::read(body(&update(&[], &attributes, &four)))?;
            let error = seen.check().expect_err(what).to_string();
            assert!(error.contains(what), "{error}");
        }
        Ok(())
    }
}
