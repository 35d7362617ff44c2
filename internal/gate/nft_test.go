package gate

import "testing"

func TestOldNft(t *testing.T) {
	for version, want := range map[string]bool{
		"nftables v1.0.6 (Lester Gooch #5)\n": true,
		"nftables v1.1.5 (Commodore)":         true,
		"nftables v0.9.8 (E.D.S.)":            true,
		"nftables v1.1.6 (Commodore)":         false,
		"nftables v1.2.0":                     false,
		"nftables v2.0.0":                     false,
		"":                                    false,
		"command not found":                   false,
	} {
		if got := OldNft(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
