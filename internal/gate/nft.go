package gate

import (
	"regexp"
	"slices"
	"strconv"
)

var nftVersion = regexp.MustCompile(`\bv(\d+)\.(\d+)\.(\d+)`)

// OldNft tells from what `nft --version` says whether that nft knows hooks on the beginning of names,
// which came with nftables 1.1.6 and libnftnl 1.3.1. One that does not cannot read the gate's chains,
// and 1.0.6 then asks for them again without an end: `nft list ruleset`, `nft list tables` and
// `nft -e insert rule` never return. What needs no list of chains of all families works: adding,
// deleting, `nft -f`, `nft flush ruleset`, `nft list table inet NAME`. Whoever shuts a gate should say
// so where such an nft is installed.
func OldNft(version string) bool {
	found := nftVersion.FindStringSubmatch(version)
	if found == nil {
		return false
	}
	var numbers []int
	for _, digits := range found[1:] {
		number, err := strconv.Atoi(digits)
		if err != nil {
			return false
		}
		numbers = append(numbers, number)
	}
	return slices.Compare(numbers, []int{1, 1, 6}) < 0
}
