package skeleton

import (
	"crypto/sha256"
	"encoding/hex"
)

// Version names the compiled object.
func Version() string {
	sum := sha256.Sum256(_PortBytes)
	return hex.EncodeToString(sum[:6])
}
