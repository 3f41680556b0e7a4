// MetalLB's native speaker: its session manager, told what its announcer would tell it.
package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/go-kit/log"
	"go.universe.tf/metallb/internal/bgp"
	"go.universe.tf/metallb/internal/bgp/community"
	"go.universe.tf/metallb/internal/bgp/native"
)

type metallb struct {
	manager  bgp.SessionManager
	id       net.IP
	sessions []bgp.Session
	routes   map[uint32]*bgp.Advertisement
}

func (m *metallb) peer(peer netip.Addr, peerASN uint32) error {
	hold, keepalive, connect := 90*time.Second, 30*time.Second, time.Second
	session, err := m.manager.NewSession(log.NewNopLogger(), bgp.SessionParameters{
		PeerAddress:   peer.String(),
		PeerPort:      179,
		MyASN:         asn,
		RouterID:      m.id,
		PeerASN:       peerASN,
		HoldTime:      &hold,
		KeepAliveTime: &keepalive,
		ConnectTime:   &connect,
		CurrentNode:   "bench",
		SessionName:   peer.String(),
	})
	if err != nil {
		return err
	}
	m.sessions = append(m.sessions, session)
	return session.Set(m.all()...)
}

func (m *metallb) announce(from, count, value uint32) error {
	parsed, err := community.New(fmt.Sprintf("%d:%d", asn, value))
	if err != nil {
		return err
	}
	communities := []community.BGPCommunity{parsed}
	for number := from; number < from+count; number++ {
		m.routes[number] = &bgp.Advertisement{
			Prefix:      &net.IPNet{IP: address(number).AsSlice(), Mask: net.CIDRMask(32, 32)},
			Communities: communities,
		}
	}
	return m.set()
}

func (m *metallb) withdraw(from, count uint32) error {
	for number := from; number < from+count; number++ {
		delete(m.routes, number)
	}
	return m.set()
}

func (m *metallb) set() error {
	all := m.all()
	for _, session := range m.sessions {
		if err := session.Set(all...); err != nil {
			return err
		}
	}
	return nil
}

func (m *metallb) all() []*bgp.Advertisement {
	all := make([]*bgp.Advertisement, 0, len(m.routes))
	for _, route := range m.routes {
		all = append(all, route)
	}
	return all
}

func main() {
	check(serve(&metallb{
		manager: native.NewSessionManager(log.NewNopLogger()),
		id:      net.ParseIP(os.Args[2]),
		routes:  map[uint32]*bgp.Advertisement{},
	}, os.Args[1]))
}
