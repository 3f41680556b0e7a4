//! Sockets, socket options and netlink: the only unsafe code of Herald
