//! The speaker: watches, decides what this node announces, drives the wire
