// GoBGP as a library, as those speakers have it that are made with it.
package main

import (
	"context"
	"log/slog"
	"net/netip"
	"os"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

type gobgp struct {
	server *server.BgpServer
	// How many paths one call has.
	batch uint32
}

func (g *gobgp) peer(peer netip.Addr, peerASN uint32) error {
	return g.server.AddPeer(context.Background(), &api.AddPeerRequest{Peer: &api.Peer{
		Conf:   &api.PeerConf{NeighborAddress: peer.String(), PeerAsn: peerASN},
		Timers: &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1, HoldTime: 90, IdleHoldTimeAfterReset: 1}},
	}})
}

func paths(from, count, community uint32) ([]*apiutil.Path, error) {
	nextHop, err := bgp.NewPathAttributeNextHop(netip.IPv4Unspecified())
	if err != nil {
		return nil, err
	}
	attributes := []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(0), nextHop,
		bgp.NewPathAttributeCommunities([]uint32{asn<<16 | community}),
	}
	paths := make([]*apiutil.Path, 0, count)
	for number := from; number < from+count; number++ {
		prefix, err := bgp.NewIPAddrPrefix(netip.PrefixFrom(address(number), 32))
		if err != nil {
			return nil, err
		}
		paths = append(paths, &apiutil.Path{Family: bgp.RF_IPv4_UC, Nlri: prefix, Attrs: attributes})
	}
	return paths, nil
}

func (g *gobgp) announce(from, count, community uint32) error {
	return g.inBatches(from, count, community, func(paths []*apiutil.Path) error {
		_, err := g.server.AddPath(apiutil.AddPathRequest{Paths: paths})
		return err
	})
}

func (g *gobgp) withdraw(from, count uint32) error {
	return g.inBatches(from, count, 0, func(paths []*apiutil.Path) error {
		return g.server.DeletePath(apiutil.DeletePathRequest{Paths: paths})
	})
}

func (g *gobgp) inBatches(from, count, community uint32, call func([]*apiutil.Path) error) error {
	for count > 0 {
		now := min(count, g.batch)
		paths, err := paths(from, now, community)
		if err != nil {
			return err
		}
		if err := call(paths); err != nil {
			return err
		}
		from, count = from+now, count-now
	}
	return nil
}

func main() {
	batch := uint32(1)
	if len(os.Args) > 3 && os.Args[3] == "bulk" {
		batch = 1 << 30
	}
	level := &slog.LevelVar{}
	level.Set(slog.LevelError)
	server := server.NewBgpServer(server.LoggerOption(slog.Default(), level))
	go server.Serve()
	check(server.StartBgp(context.Background(), &api.StartBgpRequest{
		Global: &api.Global{Asn: asn, RouterId: os.Args[2], ListenPort: -1},
	}))
	check(serve(&gobgp{server: server, batch: batch}, os.Args[1]))
}
