//! ARP and NDP: frames and the responder, without I/O
