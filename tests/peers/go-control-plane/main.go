// Command go-control-plane serves what stands in a file over aggregated discovery, from the
// snapshot cache that most control planes written in Go stand on: go-control-plane ADDRESS FILE
//
// The file is an object of lists named "listeners", "clusters", "endpoints" and "routes", whose
// items are resources in protobuf's JSON. It is read again whenever it has changed.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3" // in listeners
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
)

// One snapshot serves every node.
const everybody = "everybody"

type hash struct{}

func (hash) ID(*core.Node) string { return everybody }

// How often the file is looked at: far below what a test notices.
const lookEvery = 20 * time.Millisecond

var kinds = map[string]struct {
	url  resource.Type
	make func() types.Resource
}{
	"clusters":  {resource.ClusterType, func() types.Resource { return &cluster.Cluster{} }},
	"endpoints": {resource.EndpointType, func() types.Resource { return &endpoint.ClusterLoadAssignment{} }},
	"listeners": {resource.ListenerType, func() types.Resource { return &listener.Listener{} }},
	"routes":    {resource.RouteType, func() types.Resource { return &route.RouteConfiguration{} }},
}

// The file's content as a snapshot, whose version is the content's hash.
func snapshotOf(text []byte) (*cache.Snapshot, error) {
	var lists map[string][]json.RawMessage
	if err := json.Unmarshal(text, &lists); err != nil {
		return nil, err
	}
	resources := map[resource.Type][]types.Resource{}
	for name, list := range lists {
		kind, known := kinds[name]
		if !known {
			return nil, fmt.Errorf("unknown list %q", name)
		}
		for _, item := range list {
			made := kind.make()
			if err := protojson.Unmarshal(item, made); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			resources[kind.url] = append(resources[kind.url], made)
		}
	}
	sum := sha256.Sum256(text)
	return cache.NewSnapshot(hex.EncodeToString(sum[:8]), resources)
}

// follow keeps the cache as the file is. A file that is half written is read again.
func follow(file string, snapshots cache.SnapshotCache) {
	var last []byte
	for ; ; time.Sleep(lookEvery) {
		text, err := os.ReadFile(file)
		if err != nil || bytes.Equal(text, last) {
			continue
		}
		last = text
		snapshot, err := snapshotOf(text)
		if err == nil {
			err = snapshots.SetSnapshot(context.Background(), everybody, snapshot)
		}
		log.Printf("read %s: %d bytes, error %v", file, len(text), err)
	}
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: go-control-plane ADDRESS FILE")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	snapshots := cache.NewSnapshotCache(true, hash{}, nil)
	go follow(os.Args[2], snapshots)
	serving := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(
		serving, server.NewServer(context.Background(), snapshots, nil))
	log.Fatal(serving.Serve(listener))
}
