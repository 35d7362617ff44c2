package nwfilter

import (
	"fmt"
	"strings"

	"tapgate/nwfilter/internal/document"
)

// The bounds of a chain's and of a rule's priority.
const (
	MinPriority = -1000
	MaxPriority = 1000
)

// maxChainName is what fits beside a port's name in an ebtables chain.
const maxChainName = 12

// chainPrefixes are the beginnings of chain names in the order in which
// libvirt tries them. Its documentation gives stp -810, but its table lacks
// the entry, and existing filters rely on 0.
var chainPrefixes = []struct {
	name     string
	priority int
}{
	{"mac", -800}, {"vlan", -750}, {"stp", 0}, {"arp", -500}, {"rarp", -400}, {"ipv4", -700}, {"ipv6", -600},
}

// ChainPrefix is the protocol whose frames reach a chain: "root", "mac",
// "vlan", "stp", "arp", "rarp", "ipv4" or "ipv6", or "" for no name of a chain.
func ChainPrefix(chain string) string {
	if chain == RootChain {
		return RootChain
	}
	for _, p := range chainPrefixes {
		if strings.HasPrefix(chain, p.name) {
			return p.name
		}
	}
	return ""
}

// DefaultChainPriority is the priority of a chain that gives none.
func DefaultChainPriority(chain string) int {
	prefix := ChainPrefix(chain)
	for _, p := range chainPrefixes {
		if p.name == prefix {
			return p.priority
		}
	}
	return 0
}

// checkChain returns what is wrong with a chain's name, "" if nothing.
func checkChain(chain string) string {
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-"
	quoted := document.Quote(chain)
	switch {
	case len(chain) > maxChainName:
		return fmt.Sprintf("the chain name %s is longer than %d characters", quoted, maxChainName)
	case strings.Trim(chain, characters) != "":
		return fmt.Sprintf(`the chain name %s may only hold letters, digits and "_.:-"`, quoted)
	case chain != RootChain && (strings.HasPrefix(chain, RootChain) || ChainPrefix(chain) == ""):
		return fmt.Sprintf("%s is no chain: expected root, or a name that begins with mac, vlan, stp, arp, rarp, ipv4 or ipv6", quoted)
	}
	return ""
}
