// Speakers to be measured, driven over a Unix socket: a command a line, and "ok" or what went wrong
// as the answer, when the speaker's own function has returned.
//
//	peer ADDRESS ASN                 have a session with a router
//	announce FROM COUNT COMMUNITY    announce host routes by their numbers, with 65001:COMMUNITY
//	withdraw FROM COUNT              withdraw them
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
)

const asn = 65001

type speaker interface {
	peer(address netip.Addr, asn uint32) error
	announce(from, count, community uint32) error
	withdraw(from, count uint32) error
}

// The host route with a number: 20.0.0.0 and so many further.
func address(number uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{20, byte(number >> 16), byte(number >> 8), byte(number)})
}

func obey(speaker speaker, line string) error {
	var (
		peer                  string
		from, count, argument uint32
	)
	if _, err := fmt.Sscanf(line, "peer %s %d", &peer, &argument); err == nil {
		address, err := netip.ParseAddr(peer)
		if err != nil {
			return err
		}
		return speaker.peer(address, argument)
	}
	if _, err := fmt.Sscanf(line, "announce %d %d %d", &from, &count, &argument); err == nil {
		return speaker.announce(from, count, argument)
	}
	if _, err := fmt.Sscanf(line, "withdraw %d %d", &from, &count); err == nil {
		return speaker.withdraw(from, count)
	}
	return fmt.Errorf("no command: %q", line)
}

func serve(speaker speaker, socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	connection, err := listener.Accept()
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(connection)
	for lines.Scan() {
		answer := "ok"
		if err := obey(speaker, lines.Text()); err != nil {
			answer = err.Error()
		}
		if _, err := fmt.Fprintln(connection, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		debug.PrintStack()
		os.Exit(1)
	}
}
