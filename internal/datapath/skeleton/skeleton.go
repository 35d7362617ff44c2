// Package skeleton holds the C side of the datapath: its sources, the compiled
// objects, and what the Go side must know of their layout, read from BTF.
//
// "go generate" needs clang-19, whose version is pinned so that the committed
// objects can be reproduced byte for byte; nothing else needs clang.
package skeleton

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"tapgate/internal/compile"
)

//go:generate go tool bpf2go -no-global-types -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3" skeleton skeleton.c -- -I/usr/include/x86_64-linux-gnu

//go:generate go tool bpf2go -no-global-types -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3" port port.c -- -I/usr/include/x86_64-linux-gnu

// Load returns the programs that all ports share.
func Load() (*ebpf.CollectionSpec, error) { return loadSkeleton() }

// LoadPort returns the programs of a generation, with stubs where its policy goes.
func LoadPort() (*ebpf.CollectionSpec, error) { return loadPort() }

// Layout reads the offsets of struct packet's members from a loaded spec.
func Layout(spec *ebpf.CollectionSpec) (compile.Layout, error) {
	var packet *btf.Struct
	if err := spec.Types.TypeByName("packet", &packet); err != nil {
		return nil, fmt.Errorf("find struct packet in the skeleton's BTF: %w", err)
	}
	layout := compile.Layout{}
	for _, m := range packet.Members {
		at := m.Offset.Bytes()
		if at > math.MaxInt16 {
			return nil, errors.New("struct packet is too large for eBPF's offsets")
		}
		layout[m.Name] = int16(at)
	}
	return layout, nil
}
