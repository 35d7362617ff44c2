package policy

import "testing"

// Policies that decide differently have different fingerprints; those that
// only look different have the same.
func TestFingerprint(t *testing.T) {
	const base = `<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="22"/></rule></filter>`
	want := resolve(t, nil, base).Fingerprint
	for _, same := range []string{
		base,
		`<filter name="b">

  <rule action="drop" direction="in"><tcp dstportstart="22" comment="no shell"/></rule></filter>`,
		`<filter name="a" chain="ipv4"><rule action="drop" direction="in"><tcp dstportstart="22"/></rule></filter>`,
	} {
		if got := resolve(t, nil, same).Fingerprint; got != want {
			t.Errorf("%s: %x, want %x", same, got, want)
		}
	}
	seen := map[uint64]string{want: base}
	for _, other := range []string{
		`<filter name="a"/>`,
		`<filter name="a"><rule action="accept" direction="in"><tcp dstportstart="22"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="out"><tcp dstportstart="22"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="23"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><tcp match="no" dstportstart="22"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><udp dstportstart="22"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><ip protocol="tcp" dstportstart="22"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="22" state="NEW"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="22" connlimit-above="1"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="22" connlimit-above="2"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="22" ipset="x" ipsetflags="src"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="22" ipset="x" ipsetflags="dst"/></rule></filter>`,
		`<filter name="a" chain="ipv4"><rule action="drop" direction="in"><ip protocol="tcp" dstportstart="22"/></rule></filter>`,
		`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="22"/></rule><rule action="drop" direction="in"><tcp dstportstart="22"/></rule></filter>`,
	} {
		got := resolve(t, nil, other).Fingerprint
		if before, known := seen[got]; known {
			t.Errorf("%s\nhas the fingerprint of\n%s", other, before)
		}
		seen[got] = other
	}
}
