//! What both daemons need around their decisions: client, lease, events, metrics server, readiness, shutdown
