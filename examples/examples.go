// Package examples embeds the example filters, which the demo guards its port
// with.
package examples

import _ "embed"

// The filters, each one XML document.
var (
	//go:embed ftp-related.xml
	FTPRelated []byte
	//go:embed ftp-states.xml
	FTPStates []byte
	//go:embed ping-only.xml
	PingOnly []byte
)
