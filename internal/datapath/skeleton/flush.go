package skeleton

import "github.com/cilium/ebpf"

//go:generate go tool bpf2go -no-global-types -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3" flush flush.c -- -I/usr/include/x86_64-linux-gnu

// LoadFlush returns the program that ends connections.
func LoadFlush() (*ebpf.CollectionSpec, error) { return loadFlush() }
