//! UPDATEs that are received: checked (RFC 7606), counted and dropped.
//!
//! What is wrong with one is answered as mildly as the fields allow: the attribute is discarded, the
//! message's routes are taken as withdrawn, or, where it is not certain which routes these are, the
//! session ends.

mod attribute;
mod multiprotocol;
mod problem;
mod rules;
mod values;

pub use problem::{AttributeProblem, Consequence};

use attribute::{Attribute, Attributes, Next};
use multiprotocol::Reach;

use super::nlri;
use super::number::{AS_PATH, MP_REACH_NLRI, MP_UNREACH_NLRI, NEXT_HOP, ORIGIN};
use crate::wire::bytes::Reader;
use crate::wire::{ErrorCode, Family, Negotiated, Notification, PerFamily, Prefix};

/// Problems of one message beyond these are not told: they would only repeat themselves.
const PROBLEMS: usize = 8;

/// What an UPDATE was about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// How many routes were announced; of a message that is treated as withdraw, none.
    pub announced: PerFamily<usize>,
    /// How many were withdrawn, including those that are treated so.
    pub withdrawn: PerFamily<usize>,
    /// The peer has told all its routes of the family (RFC 4724).
    pub end_of_rib: Option<Family>,
    /// What is wrong with it: the first few.
    pub problems: Vec<AttributeProblem>,
    /// The announced routes of the message were taken as withdrawn (RFC 7606).
    pub treat_as_withdraw: bool,
}

/// What an UPDATE says about a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// There is a route to it.
    Announced(Prefix),
    /// There is none any more.
    Withdrawn(Prefix),
}

/// Reads the body of an UPDATE. The error is what to close the session with.
pub fn parse(body: &[u8], negotiated: &Negotiated) -> Result<Received, Notification> {
    Update::read(body, negotiated).map(|update| update.received)
}

/// Reads the body of an UPDATE as [`parse`] does, and tells `each` all its prefixes, unless the
/// session is to be closed.
pub fn visit(
    body: &[u8],
    negotiated: &Negotiated,
    mut each: impl FnMut(Change),
) -> Result<Received, Notification> {
    let update = Update::read(body, negotiated)?;
    for (family, field) in update.withdrawn.into_iter().flatten() {
        nlri::decode(field, family, |prefix| each(Change::Withdrawn(prefix)));
    }
    for (family, field) in update.announced.into_iter().flatten() {
        nlri::decode(field, family, |prefix| {
            each(if update.received.treat_as_withdraw {
                Change::Withdrawn(prefix)
            } else {
                Change::Announced(prefix)
            });
        });
    }
    Ok(update.received)
}

/// The field of a message that has the prefixes of a family.
type Field<'a> = (Family, &'a [u8]);

/// A message that is being read.
struct Update<'a> {
    received: Received,
    negotiated: &'a Negotiated,
    /// The classic field, and that of `MP_UNREACH_NLRI`.
    withdrawn: [Option<Field<'a>>; 2],
    /// The classic field, and that of `MP_REACH_NLRI`.
    announced: [Option<Field<'a>>; 2],
    seen: Seen,
    /// There are attributes other than `MP_UNREACH_NLRI`.
    describes_routes: bool,
    /// There is an `MP_REACH_NLRI`, of whatever family.
    reach: bool,
    /// The error of the first attribute that takes the routes away.
    withdraw: Option<Notification>,
}

impl<'a> Update<'a> {
    fn read(body: &'a [u8], negotiated: &'a Negotiated) -> Result<Self, Notification> {
        let (withdrawn, attributes, announced) =
            split(body).ok_or_else(|| Notification::new(ErrorCode::MALFORMED_ATTRIBUTE_LIST))?;
        let mut update = Self {
            received: Received::default(),
            negotiated,
            withdrawn: [None, None],
            announced: [None, None],
            seen: Seen::default(),
            describes_routes: false,
            reach: false,
            withdraw: None,
        };
        update.read_classic(withdrawn, announced)?;
        update.read_attributes(attributes)?;
        if !announced.is_empty() {
            update.require(&[ORIGIN, AS_PATH, NEXT_HOP]);
        } else if let [_, Some(_)] = update.announced {
            update.require(&[ORIGIN, AS_PATH]);
        }
        update.conclude(body, announced.is_empty())
    }

    /// The fields of IPv4 unicast are checked also where that is not exchanged, but then of no use.
    fn read_classic(
        &mut self,
        withdrawn: &'a [u8],
        announced: &'a [u8],
    ) -> Result<(), Notification> {
        let family = Family::Ipv4Unicast;
        let count = |field| {
            count(field, family).ok_or_else(|| Notification::new(ErrorCode::INVALID_NETWORK_FIELD))
        };
        let counts = (count(withdrawn)?, count(announced)?);
        if self.negotiated.families.contains(family) {
            (self.received.withdrawn.ipv4, self.received.announced.ipv4) = counts;
            self.withdrawn[0] = Some((family, withdrawn));
            self.announced[0] = Some((family, announced));
        }
        Ok(())
    }

    fn read_attributes(&mut self, field: &'a [u8]) -> Result<(), Notification> {
        let mut attributes = Attributes::new(field);
        loop {
            match attributes.next() {
                Next::End => return Ok(()),
                Next::Attribute(attribute) => self.read_attribute(&attribute)?,
                // Where the prefixes are is said by the length of all attributes, which is relied
                // on (RFC 7606 section 4).
                Next::Broken { number, rest } => {
                    self.describes_routes = true;
                    self.problem(
                        AttributeProblem::withdraw(number, "does not end within the attributes"),
                        ErrorCode::ATTRIBUTE_LENGTH_ERROR,
                        rest,
                    );
                    return Ok(());
                }
            }
        }
    }

    fn read_attribute(&mut self, attribute: &Attribute<'a>) -> Result<(), Notification> {
        let number = attribute.number;
        self.describes_routes |= number != MP_UNREACH_NLRI;
        if !self.seen.insert(number) {
            if matches!(number, MP_REACH_NLRI | MP_UNREACH_NLRI) {
                return Err(Notification::new(ErrorCode::MALFORMED_ATTRIBUTE_LIST));
            }
            // The first one counts (RFC 7606 section 3 g).
            self.discard(AttributeProblem::discard(number, "is there more than once"));
            return Ok(());
        }
        match rules::check(attribute, self.negotiated) {
            rules::Verdict::Fine => {}
            rules::Verdict::Unrecognized => {
                return Err(Notification::with_data(
                    ErrorCode::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE,
                    attribute.whole,
                ));
            }
            rules::Verdict::Problem(problem, error) => {
                self.problem(problem, error, attribute.whole);
            }
        }
        match number {
            MP_REACH_NLRI => self.read_reach(attribute),
            MP_UNREACH_NLRI => self.read_unreach(attribute),
            _ => Ok(()),
        }
    }

    /// Errors end the session: it is not certain then which routes are meant (RFC 7606 7.11).
    fn read_reach(&mut self, attribute: &Attribute<'a>) -> Result<(), Notification> {
        self.reach = true;
        match multiprotocol::reach(attribute.value, self.negotiated) {
            Reach::Routes(family, field) => {
                *self.received.announced.get_mut(family) +=
                    count(field, family).ok_or_else(|| attribute.error())?;
                self.announced[1] = Some((family, field));
                Ok(())
            }
            Reach::OtherFamily => {
                self.discard(multiprotocol::other_family(attribute.number));
                Ok(())
            }
            Reach::Malformed => Err(attribute.error()),
        }
    }

    fn read_unreach(&mut self, attribute: &Attribute<'a>) -> Result<(), Notification> {
        match multiprotocol::unreach(attribute.value, self.negotiated) {
            Reach::Routes(family, field) => {
                *self.received.withdrawn.get_mut(family) +=
                    count(field, family).ok_or_else(|| attribute.error())?;
                self.withdrawn[1] = Some((family, field));
                Ok(())
            }
            Reach::OtherFamily => {
                self.discard(multiprotocol::other_family(attribute.number));
                Ok(())
            }
            Reach::Malformed => Err(attribute.error()),
        }
    }

    /// Attributes that every announced route has (RFC 7606 section 3 d).
    fn require(&mut self, numbers: &[u8]) {
        for number in numbers {
            if !self.seen.contains(*number) {
                self.problem(
                    AttributeProblem::withdraw(*number, "is missing"),
                    ErrorCode::MISSING_WELL_KNOWN_ATTRIBUTE,
                    &[*number],
                );
            }
        }
    }

    fn problem(&mut self, problem: AttributeProblem, error: ErrorCode, data: &[u8]) {
        if problem.consequence == Consequence::Withdraw && self.withdraw.is_none() {
            self.withdraw = Some(Notification::with_data(error, data));
        }
        self.discard(problem);
    }

    fn discard(&mut self, problem: AttributeProblem) {
        if self.received.problems.len() < PROBLEMS {
            self.received.problems.push(problem);
        }
    }

    fn conclude(mut self, body: &[u8], no_classic: bool) -> Result<Self, Notification> {
        if let Some(error) = self.withdraw.take() {
            // Attributes without routes: the routes may be where they could not be found
            // (RFC 7606 5.2).
            if self.describes_routes && no_classic && !self.reach {
                return Err(error);
            }
            self.received.treat_as_withdraw = true;
            for family in Family::ALL {
                let announced = std::mem::take(self.received.announced.get_mut(family));
                *self.received.withdrawn.get_mut(family) += announced;
            }
        }
        self.received.end_of_rib = self.end_of_rib(body);
        Ok(self)
    }

    /// An empty message, or one with nothing but an empty `MP_UNREACH_NLRI` (RFC 4724 section 2).
    fn end_of_rib(&self, body: &[u8]) -> Option<Family> {
        const EMPTY: usize = 4;
        let family = match (self.withdrawn, self.announced) {
            _ if body.len() == EMPTY => Family::Ipv4Unicast,
            ([None | Some((_, [])), Some((family, []))], [None | Some((_, [])), None])
                if !self.describes_routes =>
            {
                family
            }
            _ => return None,
        };
        self.negotiated.families.contains(family).then_some(family)
    }
}

/// The attributes that were there.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    /// Adds an attribute; false if it was there.
    fn insert(&mut self, number: u8) -> bool {
        let new = !self.contains(number);
        if let Some(word) = self.0.get_mut(usize::from(number / 64)) {
            *word |= 1 << (number % 64);
        }
        new
    }

    fn contains(&self, number: u8) -> bool {
        let word = self.0.get(usize::from(number / 64));
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }
}

/// How many prefixes there are, if all are well-formed.
fn count(field: &[u8], family: Family) -> Option<usize> {
    let mut count = 0;
    nlri::decode(field, family, |_| count += 1)?;
    Some(count)
}

/// Withdrawn routes, attributes and announced routes, if their lengths fit (RFC 4271 6.3).
fn split(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut reader = Reader::new(body);
    let len = reader.u16()?;
    let withdrawn = reader.take(len.into())?;
    let len = reader.u16()?;
    let attributes = reader.take(len.into())?;
    Some((withdrawn, attributes, reader.rest()))
}
