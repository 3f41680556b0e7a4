//! What two OPENs together allow.

use super::framing::{EXTENDED_LIMIT, STANDARD_LIMIT};
use super::{Asn, BgpId, Families, GracefulRestart, LongLived, Open, PerFamily, Role};

/// What holds for a session, from the OPENs of both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a capability of its own"
)]
pub struct Negotiated {
    /// Our AS.
    pub local_as: Asn,
    /// The peer's AS.
    pub peer_as: Asn,
    /// The peer's identifier.
    pub peer_id: BgpId,
    /// The smaller of both, in seconds; 0 is for ever (RFC 4271 4.2).
    pub hold_time: u16,
    /// The families that both have.
    pub families: Families,
    /// IPv4 unicast routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Either may ask for all routes again (RFC 2918).
    pub route_refresh: bool,
    /// Begin and end of telling again are marked (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// The longest message in bytes, in both directions: 4096, or 65,535 if both take that
    /// (RFC 8654).
    pub message_limit: usize,
    /// What the peer says about its restarts, if both have graceful restart (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
    /// A NOTIFICATION is a graceful restart, too, unless it is a hard reset: both have N (RFC 8538).
    pub notification_restart: bool,
    /// The peer's times, if both have long-lived graceful restart (RFC 9494).
    pub long_lived_graceful_restart: Option<PerFamily<Option<LongLived>>>,
    /// What the peer is to us (RFC 9234).
    pub peer_role: Option<Role>,
}

impl Negotiated {
    /// What our OPEN and the peer's, which has been [checked](Open::check), allow together.
    pub fn new(ours: &Open, theirs: &Open) -> Self {
        let (our, their) = (&ours.capabilities, &theirs.capabilities);
        let restarts = our.graceful_restart.zip(their.graceful_restart);
        Self {
            local_as: ours.my_as,
            peer_as: theirs.my_as,
            peer_id: theirs.id,
            hold_time: ours.hold_time.min(theirs.hold_time),
            families: our.usable_families().intersection(their.usable_families()),
            extended_next_hop: our.extended_next_hop && their.extended_next_hop,
            four_octet_as: our.four_octet_as && their.four_octet_as,
            route_refresh: our.route_refresh && their.route_refresh,
            enhanced_route_refresh: our.enhanced_route_refresh && their.enhanced_route_refresh,
            message_limit: if our.extended_message && their.extended_message {
                EXTENDED_LIMIT
            } else {
                STANDARD_LIMIT
            },
            graceful_restart: restarts.map(|(_, theirs)| theirs),
            notification_restart: restarts
                .is_some_and(|(ours, theirs)| ours.notification && theirs.notification),
            // It is of no use without the other one (RFC 9494 4.2).
            long_lived_graceful_restart: restarts
                .and(our.long_lived_graceful_restart)
                .and(their.long_lived_graceful_restart),
            peer_role: their.role,
        }
    }

    /// True if the peer is in our AS.
    pub fn is_internal(&self) -> bool {
        self.local_as == self.peer_as
    }
}
